-- name: auth_rows
SELECT "key", "value", "type" FROM {auth_table}
WHERE "organizationId" = %(organization_id)s AND "phoneJid" = %(number)s ORDER BY "key";

-- name: creds
SELECT "key", "value", "type" FROM {auth_table}
WHERE "organizationId" = %(organization_id)s AND "phoneJid" = %(number)s AND "key" = 'creds';

-- name: kept_auth_rows
SELECT row ->> 'key' AS "key", row ->> 'value' AS "value", row ->> 'type' AS "type"
FROM wa_sessions.quarantine
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s AND store = 'baileys' ORDER BY "key";

-- name: last_adoption
SELECT part.operation_id AS id
FROM wa_sessions.operation_phone AS part JOIN wa_sessions.operation ON operation.id = part.operation_id
WHERE part.phone_id = %(phone_id)s AND operation.action = 'adopt' AND part.restored_at IS NULL
ORDER BY operation.at DESC LIMIT 1;

-- name: uses_seven
SELECT EXISTS (
    SELECT FROM {auth_table} WHERE "organizationId" = %(organization_id)s
    AND (starts_with("key", 'lid-mapping-') OR starts_with("key", 'device-list-'))
) AS present;

-- name: store_version
SELECT version FROM whatsmeow.whatsmeow_version;

-- name: device_rows
SELECT * FROM {table} WHERE {owner} = %(device)s;

-- name: lid_map
SELECT lid, pn FROM whatsmeow.whatsmeow_lid_map;

-- name: lid_map_of_device
SELECT lid, pn FROM whatsmeow.whatsmeow_lid_map
WHERE lid IN (
    SELECT split_part(split_part(their_id, ':', 1), '_', 1) FROM whatsmeow.whatsmeow_sessions WHERE our_jid = %(device)s
    UNION
    SELECT split_part(split_part(sender_id, ':', 1), '_', 1) FROM whatsmeow.whatsmeow_sender_keys
    WHERE our_jid = %(device)s
    UNION
    SELECT split_part(split_part(lid, ':', 1), '@', 1) FROM whatsmeow.whatsmeow_device WHERE jid = %(device)s
);

-- name: insert
INSERT INTO {table} ({columns})
SELECT {columns} FROM json_populate_recordset(NULL::{table}, %(rows)s::json)
ON CONFLICT DO NOTHING;

-- name: digest
SELECT {place}::int AS place, coalesce(md5(string_agg(row, '' ORDER BY row COLLATE "C")), '') AS digest
FROM (SELECT md5(found::text) AS row FROM {table} AS found WHERE {condition}) AS digested

-- name: of_device
{owner} = ANY(%(devices)s)

-- name: of_number
"organizationId" = %(organization_id)s AND "phoneJid" = %(number)s

-- name: moved_after
SELECT event.kind, event.operation_id AS operation
FROM wa_sessions.event JOIN wa_sessions.operation_phone AS part USING (operation_id, phone_id)
WHERE event.phone_id = %(phone_id)s AND part.restored_at IS NULL
  AND CASE event.kind
      WHEN 'exported' THEN event.at > %(made_at)s
      WHEN 'imported' THEN (event.detail ->> 'made_at')::timestamptz >= %(made_at)s
      ELSE false
  END
ORDER BY event.id DESC LIMIT 1;

-- name: move_record
SELECT detail FROM wa_sessions.event
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s AND detail ? 'mark' ORDER BY id DESC LIMIT 1;
