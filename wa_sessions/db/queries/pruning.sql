-- name: old_events
SELECT count(*) AS rows FROM wa_sessions.event
WHERE at < clock_timestamp() - make_interval(secs => %(age)s)
  AND kind NOT IN ('history_pruned', 'exported') AND NOT detail ? 'mark';

-- name: old_messages
SELECT count(*) AS rows FROM wa_sessions.message
WHERE ended_at < clock_timestamp() - make_interval(secs => %(age)s) AND outcome IS NOT NULL;

-- name: old_commands
SELECT count(*) AS rows FROM wa_sessions.command
WHERE coalesce(finished_at, requested_at) < clock_timestamp() - make_interval(secs => %(age)s);

-- name: prune_events
WITH gone AS (
    DELETE FROM wa_sessions.event
    WHERE id IN (
        SELECT id FROM wa_sessions.event
        WHERE at < clock_timestamp() - make_interval(secs => %(age)s)
          AND kind NOT IN ('history_pruned', 'exported') AND NOT detail ? 'mark'
        ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
    )
    RETURNING at, phone_id, organization_id, kind, detail
), before AS (
    DELETE FROM wa_sessions.event
    WHERE kind = 'history_pruned' AND phone_id IN (SELECT phone_id FROM gone)
    RETURNING phone_id, detail
), counted AS (
    SELECT phone_id, kind, sum(times) AS times, sum(seconds) AS seconds
    FROM (
        SELECT phone_id, kind || coalesce('.' || (detail ->> 'error_kind'), '') AS kind, 1 AS times,
               CASE WHEN kind = 'message_recovered' THEN (detail ->> 'seconds')::float8 END AS seconds
        FROM gone
        UNION ALL
        SELECT phone_id, total.key, (total.value ->> 0)::bigint, (total.value ->> 1)::float8
        FROM before, jsonb_each(detail -> 'totals') AS total
    ) AS every
    GROUP BY phone_id, kind
), noted AS (
    INSERT INTO wa_sessions.event (phone_id, organization_id, kind, detail)
    SELECT phone_id, (SELECT max(organization_id) FROM gone WHERE gone.phone_id = counted.phone_id), 'history_pruned',
           jsonb_build_object(
               'totals', jsonb_object_agg(kind, jsonb_build_array(times, seconds)),
               'until', (SELECT to_char(max(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM gone
                         WHERE gone.phone_id = counted.phone_id)
           )
    FROM counted GROUP BY phone_id
)
SELECT count(*) AS rows FROM gone;

-- name: prune_messages
WITH gone AS (
    DELETE FROM wa_sessions.message
    WHERE (phone_id, message_id) IN (
        SELECT phone_id, message_id FROM wa_sessions.message
        WHERE ended_at < clock_timestamp() - make_interval(secs => %(age)s) AND outcome IS NOT NULL
        LIMIT %(batch)s FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) AS rows FROM gone;

-- name: prune_commands
WITH gone AS (
    DELETE FROM wa_sessions.command
    WHERE id IN (
        SELECT id FROM wa_sessions.command
        WHERE coalesce(finished_at, requested_at) < clock_timestamp() - make_interval(secs => %(age)s)
        ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) AS rows FROM gone;
