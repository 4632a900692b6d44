-- name: counts
SELECT phone_id, max(organization_id) AS organization_id,
       width_bucket(at, %(starts)s::timestamptz[]) - 1 AS step,
       kind || coalesce('.' || (detail ->> 'error_kind'), '') AS kind, count(*) AS times
FROM wa_sessions.event
WHERE at >= %(since)s AND at < %(until)s AND kind = ANY(%(kinds)s)
  AND (%(phone_id)s::int IS NULL OR phone_id = %(phone_id)s)
  AND (%(organization_id)s::int IS NULL OR organization_id = %(organization_id)s)
GROUP BY phone_id, step, 4
UNION ALL
SELECT phone_id, max(organization_id), width_bucket(at, %(starts)s::timestamptz[]) - 1, %(node_qr)s::text, count(*)
FROM wa_sessions.event
WHERE at >= %(since)s AND at < %(until)s AND kind IN ('session_closed', 'backend_closed') AND detail ->> 'source' = 'logs'
  AND (%(phone_id)s::int IS NULL OR phone_id = %(phone_id)s)
  AND (%(organization_id)s::int IS NULL OR organization_id = %(organization_id)s)
GROUP BY 1, 3;

-- name: changes
WITH earlier AS MATERIALIZED (SELECT max(id) AS last FROM wa_sessions.event WHERE at < %(since)s)
SELECT phone_id, at, kind, worker_id, down_seconds FROM (
    SELECT before.* FROM unnest(%(phones)s::int[]) AS known (id)
    CROSS JOIN LATERAL (
        SELECT id, phone_id, at, kind, worker_id, 0 AS down_seconds FROM wa_sessions.event
        WHERE phone_id = known.id AND id <= (SELECT last FROM earlier) AND at < %(since)s AND kind = ANY(%(kinds)s) AND worker_id IS NOT NULL
        ORDER BY id DESC LIMIT 1
    ) AS before
    UNION ALL
    SELECT id, phone_id, at, kind, worker_id,
           CASE WHEN kind = 'store_lost' THEN coalesce((detail ->> 'down_seconds')::float8, 0) ELSE 0 END
    FROM wa_sessions.event
    WHERE at >= %(since)s AND at < %(until)s AND kind = ANY(%(kinds)s) AND worker_id IS NOT NULL
      AND phone_id = ANY(%(phones)s)
) AS found
ORDER BY phone_id, id;

-- name: signs
SELECT worker_id, max(at) AS at FROM (
    SELECT worker_id, at FROM wa_sessions.event WHERE at >= %(since)s AND worker_id IS NOT NULL
    UNION ALL
    SELECT id, heartbeat_at FROM wa_sessions.worker
) AS sign
GROUP BY worker_id;

-- name: pruned
SELECT max(coalesce((detail ->> 'until')::timestamptz, at - interval '1 day')) AS until
FROM wa_sessions.event
WHERE kind = 'history_pruned'
  AND (%(phone_id)s::int IS NULL OR phone_id = %(phone_id)s)
  AND (%(organization_id)s::int IS NULL OR organization_id = %(organization_id)s);
