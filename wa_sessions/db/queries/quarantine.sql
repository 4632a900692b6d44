-- name: lock_rows
SELECT 1 FROM {table} WHERE {owner} = %(device)s FOR UPDATE;

-- name: lock_version
SELECT 1 FROM whatsmeow.whatsmeow_app_state_version WHERE jid = %(device)s AND name = %(name)s FOR UPDATE;

-- name: take
WITH gone AS (
    DELETE FROM {table} AS doomed WHERE {condition} RETURNING to_jsonb(doomed) AS row
), kept AS (
    INSERT INTO wa_sessions.quarantine (operation_id, store, table_name, row)
    SELECT %(operation)s, %(store)s, %(table)s, gone.row FROM gone
    RETURNING 1
), noted AS (
    UPDATE wa_sessions.operation SET keys = keys + (SELECT count(*) FROM kept)
    WHERE id = %(operation)s AND EXISTS (SELECT FROM kept)
)
SELECT count(*) AS keys FROM kept;

-- name: kept_tables
SELECT store, table_name, array_agg(DISTINCT column_name) AS columns, count(DISTINCT seq) AS rows
FROM wa_sessions.quarantine, jsonb_object_keys(row) AS column_name
WHERE operation_id = %(operation)s
GROUP BY store, table_name;

-- name: kept_devices
SELECT DISTINCT row ->> {owner} AS jid FROM wa_sessions.quarantine
WHERE operation_id = %(operation)s AND store = 'whatsmeow' AND table_name = %(table)s;

-- name: columns
SELECT attname AS name FROM pg_catalog.pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped AND attgenerated = '';

-- name: conflicts
SELECT count(*) AS rows
FROM wa_sessions.quarantine AS q
CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, q.row) AS r
JOIN {table} AS present USING ({key})
WHERE q.operation_id = %(operation)s AND q.table_name = %(kept_as)s AND NOT to_jsonb(present) @> q.row;

-- name: put_back
INSERT INTO {table} ({columns})
SELECT {columns}
FROM wa_sessions.quarantine AS q
CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, q.row) AS r
WHERE q.operation_id = %(operation)s AND q.table_name = %(kept_as)s
ORDER BY q.seq
ON CONFLICT ({key}) DO NOTHING;
