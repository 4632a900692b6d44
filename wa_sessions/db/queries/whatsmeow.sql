-- name: schema_exists
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'whatsmeow') AS present;

-- name: create_schema
CREATE SCHEMA whatsmeow;

-- name: tables
SELECT c.relname AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'whatsmeow' AND c.relkind IN ('r', 'p');

-- name: devices
SELECT jid FROM whatsmeow.whatsmeow_device
WHERE split_part(split_part(split_part(jid, '@', 1), ':', 1), '.', 1) = ANY(%(numbers)s::text[])
ORDER BY jid;

-- name: lid_of
SELECT lid AS user FROM whatsmeow.whatsmeow_lid_map WHERE pn = %(user)s;

-- name: number_of
SELECT pn AS user FROM whatsmeow.whatsmeow_lid_map WHERE lid = %(user)s;

-- name: session
SELECT their_id AS address, session AS record FROM whatsmeow.whatsmeow_sessions
WHERE our_jid = %(device)s AND their_id = ANY(%(addresses)s)
ORDER BY array_position(%(addresses)s, their_id) LIMIT 1;

-- name: session_locked
SELECT their_id AS address, session AS record FROM whatsmeow.whatsmeow_sessions
WHERE our_jid = %(device)s AND their_id = ANY(%(addresses)s)
ORDER BY array_position(%(addresses)s, their_id) LIMIT 1
FOR UPDATE;

-- name: sender_key
SELECT sender_id AS address, sender_key AS record FROM whatsmeow.whatsmeow_sender_keys
WHERE our_jid = %(device)s AND chat_id = %(chat)s AND sender_id = ANY(%(addresses)s)
ORDER BY array_position(%(addresses)s, sender_id) LIMIT 1;

-- name: sender_key_locked
SELECT sender_id AS address, sender_key AS record FROM whatsmeow.whatsmeow_sender_keys
WHERE our_jid = %(device)s AND chat_id = %(chat)s AND sender_id = ANY(%(addresses)s)
ORDER BY array_position(%(addresses)s, sender_id) LIMIT 1
FOR UPDATE;

-- name: app_state_versions
SELECT name, version FROM whatsmeow.whatsmeow_app_state_version WHERE jid = %(device)s;

-- name: forget_rows
DELETE FROM {table} WHERE {owner} = %(device)s;

-- name: forget_mapping
DELETE FROM whatsmeow.whatsmeow_lid_map AS mapping
WHERE pn = %(number)s
  AND NOT EXISTS (SELECT FROM whatsmeow.whatsmeow_sessions WHERE split_part(their_id, '_', 1) = mapping.lid);

-- name: sums
SELECT {type}::text AS type, count(*) AS rows, coalesce(sum(pg_column_size(found.*)), 0) AS bytes
FROM {table} AS found WHERE {owner} = ANY(%(devices)s)

-- name: counts_by_device
SELECT {type}::text AS type, {owner} AS device, count(*) AS rows FROM {table} GROUP BY 2

-- name: row_names
SELECT {type}::text || coalesce('-' || nullif(concat_ws('::', {parts}), ''), '') COLLATE "C" AS name
FROM {table} WHERE {owner} = ANY(%(devices)s)

-- name: names
SELECT name FROM ({rows}) AS named
WHERE %(after)s::text IS NULL OR name > %(after)s
ORDER BY name LIMIT %(limit)s;
