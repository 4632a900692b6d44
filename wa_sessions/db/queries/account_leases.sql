-- name: lock
SELECT pg_advisory_xact_lock(%(class)s::int, hashtext(%(account)s));

-- name: note
UPDATE wa_sessions.lease SET account = %(account)s
WHERE phone_id = %(phone_id)s AND account IS DISTINCT FROM %(account)s;

-- name: others
SELECT phone_id FROM wa_sessions.lease
WHERE account = %(account)s AND phone_id <> %(phone_id)s AND expires_at > clock_timestamp()
ORDER BY phone_id;
