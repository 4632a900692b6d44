-- name: lock
SELECT pg_advisory_xact_lock(%(class)s::int, hashtext(%(account)s));

-- name: forget_another_number
before AS (
    SELECT phone_id FROM wa_sessions.lease WHERE phone_id = %(phone_id)s AND account <> %(account)s
), counters AS (
    DELETE FROM wa_sessions.health USING before WHERE health.phone_id = before.phone_id
), messages AS (
    DELETE FROM wa_sessions.message USING before WHERE message.phone_id = before.phone_id
)

-- name: note
WITH {forget}, noted AS (
    UPDATE wa_sessions.lease SET account = %(account)s
    WHERE phone_id = %(phone_id)s AND account IS DISTINCT FROM %(account)s
)
SELECT phone_id AS other FROM wa_sessions.lease
WHERE account = %(account)s AND phone_id <> %(phone_id)s AND expires_at > clock_timestamp()
ORDER BY other;

-- name: block
WITH {forget}, blocked AS (
    UPDATE wa_sessions.lease
    SET worker_id = %(holder)s, epoch = epoch + 1, expires_at = clock_timestamp(),
        wanted_by = nullif(wanted_by, %(operator)s), account = coalesce(%(account)s, account)
    WHERE phone_id = %(phone_id)s RETURNING phone_id
)
SELECT pg_notify('wa_sessions_fleet', ''), pg_advisory_xact_lock(%(class)s::int, hashtext(%(account)s)) FROM blocked;

-- name: others
SELECT phone_id AS other FROM wa_sessions.lease
WHERE account = %(account)s AND phone_id <> %(phone_id)s AND expires_at > clock_timestamp()
ORDER BY other;
