-- name: register
INSERT INTO wa_sessions.worker
    (id, host, pid, version, boot_id, pid_namespace, pid_started, lease_seconds, scope, handles, draining)
VALUES (%(worker_id)s, %(host)s, %(pid)s, %(version)s, %(boot_id)s, %(pid_namespace)s, %(pid_started)s, %(lease)s,
        %(scope)s, %(handles)s, %(draining)s)
ON CONFLICT (id) DO UPDATE SET heartbeat_at = clock_timestamp();

-- name: renew
WITH renewed AS (
    UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp(), hosts = %(hosts)s
    WHERE id = %(worker_id)s AND heartbeat_at + make_interval(secs => lease_seconds * %(free_after)s) > clock_timestamp()
    RETURNING id
)
SELECT ARRAY(
    SELECT phone_id FROM wa_sessions.lease WHERE worker_id = %(worker_id)s AND expires_at > clock_timestamp()
) AS mine
FROM renewed;

-- name: forget
DELETE FROM wa_sessions.worker WHERE id = %(worker_id)s;

-- name: forget_stale
DELETE FROM wa_sessions.worker
WHERE heartbeat_at < clock_timestamp() - make_interval(secs => %(age)s)
  AND NOT EXISTS (
      SELECT FROM wa_sessions.lease
      WHERE lease.worker_id = worker.id AND lease.expires_at > clock_timestamp()
  );

-- name: date_back
UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp()
WHERE heartbeat_at > clock_timestamp() + make_interval(secs => %(ahead)s);

-- name: roster
SELECT id, host, pid, version, started_at, heartbeat_at, boot_id, pid_namespace, pid_started, lease_seconds, scope,
       draining, handles, hosts, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent_for,
       (SELECT count(*) FROM wa_sessions.lease
        WHERE lease.worker_id = worker.id AND lease.expires_at > clock_timestamp())::int AS held
FROM wa_sessions.worker ORDER BY host, pid, started_at, id;

-- name: connected
SELECT phone_id FROM wa_sessions.health WHERE state = 'connected';

-- name: drain_alone
SELECT pg_advisory_xact_lock(%(class)s::int, 0);

-- name: set_draining
UPDATE wa_sessions.worker SET draining = %(draining)s
WHERE id = %(worker_id)s AND draining <> %(draining)s
RETURNING id;

-- name: draining
SELECT draining, lease_seconds, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent_for,
       (SELECT count(*) FROM wa_sessions.lease
        WHERE worker_id = worker.id AND expires_at > clock_timestamp()) AS phones
FROM wa_sessions.worker WHERE id = %(worker_id)s;

-- name: want
INSERT INTO wa_sessions.lease AS lease (phone_id, worker_id, epoch, expires_at, wanted_by, wanted_until)
VALUES (%(phone_id)s, %(nobody)s, 1, clock_timestamp(), %(worker_id)s,
        clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (phone_id) DO UPDATE SET wanted_by = excluded.wanted_by, wanted_until = excluded.wanted_until;

-- name: unwant
UPDATE wa_sessions.lease SET wanted_by = NULL, wanted_until = NULL
WHERE phone_id = %(phone_id)s AND wanted_by = %(worker_id)s;

-- name: holding
SELECT worker_id, wanted_by, taken_at, ends_at, clock_timestamp() AS seen_at FROM (
    SELECT lease.worker_id, lease.wanted_by, lease.taken_at,
           CASE WHEN lease.expires_at < 'infinity' THEN lease.expires_at
                ELSE coalesce(worker.heartbeat_at + make_interval(secs => worker.lease_seconds), lease.taken_at, 'epoch')
           END AS ends_at
    FROM wa_sessions.lease LEFT JOIN wa_sessions.worker ON worker.id = lease.worker_id
    WHERE lease.phone_id = %(phone_id)s
) AS held;
