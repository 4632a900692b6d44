-- name: try_lock
SELECT pg_catalog.pg_try_advisory_lock(%(class)s::int, %(phone_id)s::int) AS locked;

-- name: try_free
SELECT CASE WHEN pg_catalog.pg_try_advisory_lock(%(class)s::int, %(phone_id)s::int)
            THEN pg_catalog.pg_advisory_unlock(%(class)s::int, %(phone_id)s::int) ELSE false END AS locked;

-- name: unlock
SELECT pg_catalog.pg_advisory_unlock(%(class)s::int, %(phone_id)s::int);

-- name: end_holder
SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2
  AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND classid = %(class)s::oid AND objid = %(phone_id)s::oid AND pid <> pg_backend_pid();

-- name: current
SELECT worker_id, epoch, expires_at > clock_timestamp() AS stands, expires_at = 'infinity' AS while_renewed
FROM wa_sessions.lease WHERE phone_id = %(phone_id)s FOR UPDATE;

-- name: date_back
UPDATE wa_sessions.lease SET expires_at = clock_timestamp()
WHERE expires_at < 'infinity' AND expires_at > clock_timestamp() + CASE
    WHEN EXISTS (SELECT FROM wa_sessions.worker WHERE lease_seconds IS NULL) THEN make_interval(secs => %(longest)s)
    ELSE interval '0' END;

-- name: date_back_reserved
UPDATE wa_sessions.lease SET wanted_until = clock_timestamp()
WHERE wanted_by = %(operator)s AND wanted_until < 'infinity'
  AND wanted_until > clock_timestamp() + make_interval(secs => %(longest)s);

-- name: silence
SELECT (extract(epoch FROM statement_timestamp() - heartbeat_at) / nullif(lease_seconds, 0))::float8 AS leases
FROM wa_sessions.worker WHERE id = %(worker_id)s;

-- name: take
INSERT INTO wa_sessions.lease AS lease (phone_id, worker_id, epoch, expires_at, taken_at)
VALUES (%(phone_id)s, %(worker_id)s, 1, 'infinity', clock_timestamp())
ON CONFLICT (phone_id) DO UPDATE
SET worker_id = excluded.worker_id, epoch = lease.epoch + 1, expires_at = 'infinity', alive_at = NULL,
    taken_at = CASE WHEN lease.worker_id = excluded.worker_id THEN lease.taken_at ELSE excluded.taken_at END,
    wanted_by = CASE WHEN lease.wanted_by NOT IN (excluded.worker_id, %(operator)s) THEN lease.wanted_by END
RETURNING epoch;

-- name: ensure
WITH made AS (
    INSERT INTO wa_sessions.lease (phone_id, worker_id, epoch, expires_at)
    VALUES (%(phone_id)s, %(holder)s, 0, clock_timestamp()) ON CONFLICT (phone_id) DO NOTHING
    RETURNING phone_id
)
SELECT CASE WHEN pg_catalog.pg_try_advisory_lock(%(class)s::int, phone_id)
            THEN pg_catalog.pg_advisory_unlock(%(class)s::int, phone_id) ELSE false END AS free
FROM made;

-- name: block
WITH blocked AS (
    UPDATE wa_sessions.lease
    SET worker_id = %(holder)s, epoch = epoch + 1, expires_at = clock_timestamp(),
        wanted_by = nullif(wanted_by, %(operator)s)
    WHERE phone_id = %(phone_id)s RETURNING phone_id
)
SELECT pg_notify('wa_sessions_fleet', '') FROM blocked;

-- name: reserve
UPDATE wa_sessions.lease
SET wanted_by = %(operator)s, wanted_until = coalesce(clock_timestamp() + make_interval(secs => %(seconds)s), 'infinity')
WHERE phone_id = %(phone_id)s;

-- name: reserved
SELECT 1 FROM wa_sessions.lease
WHERE phone_id = %(phone_id)s AND wanted_by = %(operator)s AND wanted_until > clock_timestamp();

-- name: announce
SELECT pg_notify('wa_sessions_fleet', '');

-- name: listen
LISTEN wa_sessions_fleet;

-- name: mark_silent
UPDATE wa_sessions.lease SET alive_at = CASE WHEN phone_id = ANY(%(silent)s::int[]) THEN clock_timestamp() END
WHERE worker_id = %(worker_id)s AND (alive_at IS NOT NULL) IS DISTINCT FROM (phone_id = ANY(%(silent)s::int[]));

-- name: release
UPDATE wa_sessions.lease SET expires_at = clock_timestamp()
WHERE phone_id = %(phone_id)s AND worker_id = %(worker_id)s;

-- name: release_all
UPDATE wa_sessions.lease SET expires_at = clock_timestamp()
WHERE worker_id = %(worker_id)s AND expires_at > clock_timestamp();

-- name: fence
SELECT worker_id, epoch FROM wa_sessions.lease WHERE phone_id = %(phone_id)s FOR KEY SHARE;

-- name: last_holder
SELECT lease.worker_id, lease.epoch, lease.expires_at < 'infinity' AS given_up, lease.account,
       worker.host, worker.pid, worker.boot_id, worker.pid_namespace, worker.pid_started,
       extract(epoch FROM clock_timestamp() - worker.heartbeat_at)::float8 AS silent_for
FROM wa_sessions.lease LEFT JOIN wa_sessions.worker ON worker.id = lease.worker_id
WHERE lease.phone_id = %(phone_id)s;

-- name: owners
SELECT * FROM (
    SELECT lease.phone_id, lease.worker_id, lease.epoch,
           CASE WHEN lease.expires_at < 'infinity' THEN lease.expires_at
                ELSE worker.heartbeat_at + make_interval(secs => worker.lease_seconds) END AS expires_at,
           worker.host, worker.pid, worker.boot_id, worker.pid_namespace, worker.pid_started,
           worker.started_at,
           extract(epoch FROM clock_timestamp() - lease.alive_at)::float8 AS silent_for,
           worker.lease_seconds, worker.draining,
           extract(epoch FROM clock_timestamp() - worker.heartbeat_at)::float8 AS worker_silent_for
    FROM wa_sessions.lease LEFT JOIN wa_sessions.worker ON worker.id = lease.worker_id
    WHERE %(phone_id)s::int IS NULL OR lease.phone_id = %(phone_id)s
) AS owner
WHERE expires_at > clock_timestamp();
