-- name: lock
SELECT pg_advisory_xact_lock(%(class)s::int, hashtext(%(account)s));

-- name: note
WITH noted AS (
    UPDATE wa_sessions.lease SET account = %(account)s
    WHERE phone_id = %(phone_id)s AND account IS DISTINCT FROM %(account)s
)
SELECT phone_id AS other FROM wa_sessions.lease
WHERE account = %(account)s AND phone_id <> %(phone_id)s AND expires_at > clock_timestamp()
ORDER BY other;
