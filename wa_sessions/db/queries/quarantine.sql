-- name: lock_rows
SELECT 1 AS locked FROM {table} WHERE {owner} = %(device)s FOR UPDATE;

-- name: lock_version
SELECT 1 AS locked FROM whatsmeow.whatsmeow_app_state_version WHERE jid = %(device)s AND name = %(name)s FOR UPDATE;

-- name: take
WITH gone AS (
    DELETE FROM {table} AS doomed {using} WHERE {condition} RETURNING to_jsonb(doomed) AS row, {kind}::text AS kind
), kept AS (
    INSERT INTO wa_sessions.quarantine (operation_id, phone_id, store, table_name, row)
    SELECT %(operation)s, %(phone_id)s, %(store)s, %(table)s, gone.row FROM gone
    RETURNING 1
), noted AS (
    UPDATE wa_sessions.operation_phone SET keys = keys + (SELECT count(*) FROM kept)
    WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s AND EXISTS (SELECT FROM kept)
), met AS (
    {met}
)
SELECT gone.kind, count(gone.kind) AS keys, min(met.keys) AS met FROM met LEFT JOIN gone ON TRUE GROUP BY gone.kind;

-- name: met
SELECT count(*) AS keys FROM {table} AS doomed WHERE {condition}

-- name: not_counted
SELECT 0::bigint AS keys

-- name: count
SELECT {kind}::text AS kind, count(*) AS keys FROM {table} AS doomed WHERE {condition} GROUP BY kind;

-- name: baileys_rows
doomed."organizationId" = %(organization_id)s AND doomed."phoneJid" = %(number)s
AND (%(types)s::text[] IS NULL OR {key_type} = ANY(%(types)s::text[]))
AND (%(names)s::text[] IS NULL OR CASE {key_type}
    WHEN 'session' THEN split_part(substr("key", 9), '.', 1)
    WHEN 'sender-key' THEN split_part("key", '::', 2)
END = ANY(%(names)s::text[]))

-- name: store_rows
doomed.{owner} = %(device)s

-- name: store_rows_of_peer
doomed.{owner} = %(device)s AND split_part(doomed.{peer}, ':', 1) = ANY(%(names)s::text[])

-- name: under_devices
doomed.{owner} = ANY(%(devices)s::text[])

-- name: phone_row
doomed."id" = %(phone_id)s

-- name: using_kept
USING wa_sessions.quarantine AS q CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, q.row) AS r

-- name: overwritten
q.operation_id = %(from_operation)s AND q.phone_id = %(phone_id)s AND q.table_name = %(kept_as)s
AND ({present}) = ({kept}) AND NOT to_jsonb(doomed) @> q.row

-- name: kept_tables
SELECT store, table_name, array_agg(DISTINCT column_name) AS columns, count(DISTINCT seq) AS rows
FROM wa_sessions.quarantine, jsonb_object_keys(row) AS column_name
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s
GROUP BY store, table_name;

-- name: kept_devices
SELECT DISTINCT row ->> {owner} AS jid FROM wa_sessions.quarantine
WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s AND store = 'whatsmeow' AND table_name = %(table)s;

-- name: kept_creds
SELECT EXISTS (
    SELECT FROM wa_sessions.quarantine
    WHERE operation_id = %(operation)s AND phone_id = %(phone_id)s AND store = 'baileys' AND row ->> 'key' = 'creds'
) AS present;

-- name: creds
SELECT "value" FROM {auth_table}
WHERE "organizationId" = %(organization_id)s AND "phoneJid" = %(number)s AND "key" = 'creds';

-- name: lid_mapping
SELECT "key", "value" FROM {auth_table}
WHERE "organizationId" = %(organization_id)s AND "phoneJid" = %(number)s AND "key" = %(key)s;

-- name: columns
SELECT attname AS name FROM pg_catalog.pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped AND attgenerated = '';

-- name: conflicts
SELECT count(*) AS rows
FROM wa_sessions.quarantine AS q
CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, q.row) AS r
JOIN {table} AS present USING ({key})
WHERE q.operation_id = %(operation)s AND q.phone_id = %(phone_id)s AND q.table_name = %(kept_as)s
  AND NOT to_jsonb(present) @> q.row;

-- name: put_back
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns}
FROM wa_sessions.quarantine AS q
CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, q.row) AS r
WHERE q.operation_id = %(operation)s AND q.phone_id = %(phone_id)s AND q.table_name = %(kept_as)s
ORDER BY q.seq
ON CONFLICT ({key}) DO NOTHING;
