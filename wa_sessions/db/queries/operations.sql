-- name: open
INSERT INTO wa_sessions.operation (id, action, reason, actor)
VALUES (%(id)s, %(action)s, %(reason)s, %(actor)s)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: add_phone
INSERT INTO wa_sessions.operation_phone
    (operation_id, phone_id, organization_id, number, phone_jid_before, status_before, status_after, pairing)
VALUES
    (%(operation)s, %(phone_id)s, %(organization_id)s, %(number)s, %(phone_jid)s, %(status)s, %(status_after)s,
     %(pairing)s);

-- name: operation
SELECT * FROM wa_sessions.operation WHERE id = %(id)s;

-- name: phones_of
SELECT * FROM wa_sessions.operation_phone WHERE operation_id = ANY(%(ids)s) ORDER BY organization_id, phone_id;

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

-- name: purgeable
SELECT operation.id, count(*) AS keys
FROM wa_sessions.operation JOIN wa_sessions.quarantine ON operation_id = operation.id
WHERE operation.at < clock_timestamp() - make_interval(secs => %(age)s)
  AND (%(organization_id)s::int IS NULL OR EXISTS (
      SELECT FROM wa_sessions.operation_phone
      WHERE operation_id = operation.id AND organization_id = %(organization_id)s
  ))
GROUP BY operation.id, operation.at ORDER BY operation.at, operation.id;

-- name: lock_phones
SELECT 1 AS locked FROM wa_sessions.operation_phone WHERE operation_id = %(id)s ORDER BY phone_id FOR UPDATE;

-- name: purge
WITH gone AS (
    DELETE FROM wa_sessions.quarantine WHERE operation_id = %(id)s RETURNING 1
), noted AS (
    UPDATE wa_sessions.operation SET purged_at = clock_timestamp(), purged_by = %(actor)s
    WHERE id = %(id)s AND EXISTS (SELECT FROM gone)
)
SELECT count(*) AS keys FROM gone;

-- name: kept_keys
SELECT count(*) AS keys FROM wa_sessions.quarantine
WHERE %(organization_id)s::int IS NULL OR EXISTS (
    SELECT FROM wa_sessions.operation_phone AS part
    WHERE part.operation_id = quarantine.operation_id AND part.phone_id = quarantine.phone_id
      AND part.organization_id = %(organization_id)s
);
