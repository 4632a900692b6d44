-- name: ages
SELECT phone_id, extract(epoch FROM greatest(clock_timestamp() - coalesce(
           worker.heartbeat_at, CASE WHEN lease.expires_at < 'infinity' THEN clock_timestamp() END, log_watch.read_at,
           health.updated_at
       ), interval '0')) AS seconds
FROM wa_sessions.health
FULL JOIN wa_sessions.log_watch USING (phone_id)
LEFT JOIN (SELECT * FROM wa_sessions.lease WHERE expires_at > clock_timestamp()) AS lease USING (phone_id)
LEFT JOIN wa_sessions.worker ON worker.id = lease.worker_id
WHERE %(phone_id)s::int IS NULL OR phone_id = %(phone_id)s;

-- name: history
SELECT * FROM (
    SELECT * FROM wa_sessions.event
    WHERE (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s)) AND at >= %(since)s
      AND (%(phone_id)s::int IS NULL OR phone_id = %(phone_id)s)
      AND (%(organization_id)s::int IS NULL OR organization_id = %(organization_id)s)
    ORDER BY at DESC, id DESC LIMIT %(limit)s
) AS newest ORDER BY at, id;

-- name: history_after
SELECT * FROM (
    SELECT * FROM wa_sessions.event
    WHERE (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s)) AND id > %(since_id)s AND at >= %(since)s
      AND (%(phone_id)s::int IS NULL OR phone_id = %(phone_id)s)
      AND (%(organization_id)s::int IS NULL OR organization_id = %(organization_id)s)
    ORDER BY id DESC LIMIT %(limit)s
) AS newest ORDER BY id;

-- name: totals
SELECT phone_id, kind, times, seconds FROM wa_sessions.event_total;

-- name: errors_by_minute
SELECT phone_id, floor(extract(epoch FROM now() - at) / 60)::int AS minutes_ago, count(*)::int AS errors
FROM wa_sessions.event
WHERE id > (SELECT max(id) FROM wa_sessions.event) - %(newest)s::bigint
  AND kind = 'error_counted' AND at > now() - make_interval(mins => %(minutes)s::int)
  AND (%(organization_id)s::int IS NULL OR organization_id = %(organization_id)s)
GROUP BY phone_id, minutes_ago;
