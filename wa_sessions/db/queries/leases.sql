-- name: try_lock
SELECT pg_catalog.pg_try_advisory_lock(%(class)s::int, %(phone_id)s::int) AS locked;

-- name: unlock
SELECT pg_catalog.pg_advisory_unlock(%(class)s::int, %(phone_id)s::int);

-- name: end_holder
SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2
  AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND classid = %(class)s::oid AND objid = %(phone_id)s::oid AND pid <> pg_backend_pid();

-- name: current
SELECT worker_id, epoch, expires_at, expires_at > clock_timestamp() AS live
FROM wa_sessions.lease WHERE phone_id = %(phone_id)s FOR UPDATE;

-- name: take
INSERT INTO wa_sessions.lease AS lease (phone_id, worker_id, epoch, expires_at, alive_at)
VALUES (%(phone_id)s, %(worker_id)s, 1, clock_timestamp() + make_interval(secs => %(ttl)s), clock_timestamp())
ON CONFLICT (phone_id) DO UPDATE
SET worker_id = excluded.worker_id, epoch = lease.epoch + 1, expires_at = excluded.expires_at, alive_at = clock_timestamp()
RETURNING epoch;

-- name: keep_off
INSERT INTO wa_sessions.lease AS lease (phone_id, worker_id, epoch, expires_at)
VALUES (%(phone_id)s, %(holder)s, 1, clock_timestamp())
ON CONFLICT (phone_id) DO UPDATE
SET worker_id = excluded.worker_id, epoch = lease.epoch + 1, expires_at = clock_timestamp()
WHERE lease.expires_at <= clock_timestamp() OR %(dead)s
RETURNING epoch;

-- name: renew
UPDATE wa_sessions.lease SET expires_at = clock_timestamp() + make_interval(secs => %(ttl)s),
    alive_at = CASE WHEN phone_id = ANY(%(alive)s::int[]) THEN clock_timestamp() ELSE alive_at END
WHERE worker_id = %(worker_id)s AND expires_at > clock_timestamp()
RETURNING phone_id;

-- name: release
UPDATE wa_sessions.lease SET expires_at = clock_timestamp()
WHERE phone_id = %(phone_id)s AND worker_id = %(worker_id)s;

-- name: fence
SELECT worker_id, epoch FROM wa_sessions.lease WHERE phone_id = %(phone_id)s FOR KEY SHARE;

-- name: owners
SELECT lease.phone_id, lease.worker_id, lease.epoch, lease.expires_at,
       worker.host, worker.pid, worker.version, worker.started_at, worker.heartbeat_at,
       extract(epoch FROM clock_timestamp() - lease.alive_at)::float8 AS silent_for
FROM wa_sessions.lease LEFT JOIN wa_sessions.worker ON worker.id = lease.worker_id
WHERE lease.expires_at > clock_timestamp()
  AND (%(phone_id)s::int IS NULL OR lease.phone_id = %(phone_id)s);
