-- name: register
INSERT INTO wa_sessions.worker (id, host, pid, version) VALUES (%(worker_id)s, %(host)s, %(pid)s, %(version)s);

-- name: heartbeat
UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp() WHERE id = %(worker_id)s RETURNING id;

-- name: forget
DELETE FROM wa_sessions.worker WHERE id = %(worker_id)s;

-- name: forget_stale
DELETE FROM wa_sessions.worker
WHERE heartbeat_at < clock_timestamp() - make_interval(secs => %(age)s)
  AND NOT EXISTS (
      SELECT FROM wa_sessions.lease WHERE lease.worker_id = worker.id AND lease.expires_at > clock_timestamp()
  );
