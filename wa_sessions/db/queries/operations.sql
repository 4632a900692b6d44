-- name: open
INSERT INTO wa_sessions.operation (id, action, reason, actor)
VALUES (%(id)s, %(action)s, %(reason)s, %(actor)s)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: begin
WITH opened AS (
    INSERT INTO wa_sessions.operation (id, action, reason, actor)
    VALUES (%(operation)s, %(action)s, %(reason)s, %(actor)s)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
INSERT INTO wa_sessions.operation_phone
    (operation_id, phone_id, organization_id, number, phone_jid_before, status_before, status_after, pairing)
SELECT %(operation)s, %(phone_id)s::int, %(organization_id)s::int, %(number)s, %(phone_jid)s, %(status)s,
       %(status_after)s, %(pairing)s
WHERE %(goes_on)s::boolean OR EXISTS (SELECT FROM opened)
RETURNING operation_id;

-- name: add_phone
INSERT INTO wa_sessions.operation_phone
    (operation_id, phone_id, organization_id, number, phone_jid_before, status_before, status_after, pairing)
VALUES
    (%(operation)s, %(phone_id)s, %(organization_id)s, %(number)s, %(phone_jid)s, %(status)s, %(status_after)s,
     %(pairing)s);

-- name: operation
SELECT * FROM wa_sessions.operation WHERE id = %(id)s;

-- name: phones_of
SELECT * FROM wa_sessions.operation_phone WHERE operation_id = ANY(%(ids)s) ORDER BY phone_id;

-- name: undoable
SELECT operation_id FROM wa_sessions.operation_phone
WHERE phone_id = %(phone_id)s AND operation_id = ANY(%(ids)s)
  AND restored_at IS NULL AND unlinked_at IS NULL AND purged_at IS NULL;

-- name: lock_phone
SELECT * FROM wa_sessions.operation_phone
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s FOR UPDATE;

-- name: latest
SELECT * FROM wa_sessions.operation
WHERE (%(phone_id)s::int IS NULL AND %(organization_id)s::int IS NULL
       OR EXISTS (
           SELECT FROM wa_sessions.operation_phone
           WHERE operation_id = operation.id
             AND (%(phone_id)s::int IS NULL OR phone_id = %(phone_id)s)
             AND (%(organization_id)s::int IS NULL OR organization_id = %(organization_id)s)
       ))
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
ORDER BY at DESC, id LIMIT %(limit)s;

-- name: later_operation
SELECT operation.id, operation.action
FROM wa_sessions.operation_phone AS part JOIN wa_sessions.operation ON operation.id = part.operation_id
WHERE part.number = %(number)s AND part.restored_at IS NULL
  AND operation.at > %(at)s AND operation.id <> %(operation)s AND NOT starts_with(operation.action, 'undo_')
  AND (string_to_array(part.pairing, ',') && %(pairings)s::text[] OR EXISTS (
      SELECT FROM wa_sessions.event
      WHERE event.phone_id = part.phone_id AND event.operation_id = part.operation_id
        AND (event.detail ->> 'device' = ANY(%(pairings)s) OR event.detail ->> 'pairing' = ANY(%(pairings)s)
             OR event.detail -> 'devices' ?| %(pairings)s::text[])
  ))
ORDER BY operation.action = ANY(%(moving)s) DESC, operation.at DESC LIMIT 1;

-- name: discard_phone
DELETE FROM wa_sessions.operation_phone
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s AND keys = 0 AND status_after IS NULL;

-- name: forget_phone
DELETE FROM wa_sessions.operation_phone
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s AND keys = 0;

-- name: discard
DELETE FROM wa_sessions.operation
WHERE id = %(id)s AND NOT EXISTS (SELECT FROM wa_sessions.operation_phone WHERE operation_id = operation.id);

-- name: restored
UPDATE wa_sessions.operation_phone SET restored_at = clock_timestamp(), restored_by = %(actor)s
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s;

-- name: unlinked
UPDATE wa_sessions.operation_phone SET unlinked_at = clock_timestamp(), unlinked_by = %(actor)s
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s;

-- name: gone
UPDATE wa_sessions.operation_phone SET purged_at = clock_timestamp(), purged_by = %(actor)s
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s;

-- name: closes
SELECT phone_id, operation_id FROM (
    SELECT DISTINCT ON (part.phone_id) part.*
    FROM wa_sessions.operation_phone AS part JOIN wa_sessions.operation ON operation.id = part.operation_id
    WHERE operation.action IN ('force_close', 'close') AND part.keys > 0
      AND (%(phone_id)s::int IS NULL OR part.phone_id = %(phone_id)s)
    ORDER BY part.phone_id, operation.at DESC
) AS last
WHERE restored_at IS NULL AND unlinked_at IS NULL AND purged_at IS NULL;

-- name: now
SELECT clock_timestamp() AS now;

-- name: purgeable
SELECT part.operation_id AS id, count(*) AS keys
FROM wa_sessions.operation
JOIN wa_sessions.operation_phone AS part ON part.operation_id = operation.id
JOIN wa_sessions.quarantine AS kept ON kept.operation_id = part.operation_id AND kept.phone_id = part.phone_id
WHERE operation.at < %(at)s::timestamptz - make_interval(secs => %(age)s)
  AND (%(organization_id)s::int IS NULL OR part.organization_id = %(organization_id)s)
GROUP BY part.operation_id, operation.at ORDER BY operation.at, part.operation_id;

-- name: lock_parts
SELECT phone_id FROM wa_sessions.operation_phone
WHERE operation_id = %(id)s AND (%(organization_id)s::int IS NULL OR organization_id = %(organization_id)s)
ORDER BY phone_id FOR UPDATE;

-- name: purge
WITH gone AS (
    DELETE FROM wa_sessions.quarantine WHERE operation_id = %(id)s AND phone_id = ANY(%(phones)s) RETURNING phone_id
), noted AS (
    UPDATE wa_sessions.operation_phone SET purged_at = clock_timestamp(), purged_by = %(actor)s
    WHERE operation_id = %(id)s AND phone_id IN (SELECT phone_id FROM gone)
)
SELECT count(*) AS keys FROM gone;

-- name: kept_keys
SELECT count(*) AS keys
FROM wa_sessions.quarantine AS kept
JOIN wa_sessions.operation_phone AS part ON part.operation_id = kept.operation_id AND part.phone_id = kept.phone_id
WHERE %(organization_id)s::int IS NULL OR part.organization_id = %(organization_id)s;
