-- name: devices
SELECT part.phone_id, part.organization_id, part.number, q.row ->> 'jid' AS jid
FROM wa_sessions.quarantine AS q JOIN wa_sessions.operation_phone AS part USING (operation_id, phone_id)
WHERE q.operation_id = %(operation)s AND q.store = 'whatsmeow' AND q.table_name = %(table)s
ORDER BY q.seq;

-- name: baileys_numbers
SELECT part.number FROM wa_sessions.operation_phone AS part
WHERE part.operation_id = %(operation)s AND part.restored_at IS NULL AND EXISTS (
    SELECT FROM wa_sessions.quarantine AS q
    WHERE q.operation_id = part.operation_id AND q.phone_id = part.phone_id AND q.store = 'baileys'
)
ORDER BY part.organization_id, part.phone_id;

-- name: no_idle_timeout
SET LOCAL idle_in_transaction_session_timeout = 0;

-- name: try_lock
SELECT pg_catalog.pg_try_advisory_lock(%(class)s::int, %(number)s::int) AS locked;

-- name: unlock
SELECT pg_catalog.pg_advisory_unlock(%(class)s::int, %(number)s::int);

-- name: leftovers
SELECT nspname AS name FROM pg_catalog.pg_namespace
WHERE nspname ~ '^wa_sessions_unlink_[0-7][0-9a-f]{7}$' AND pg_has_role(nspowner, 'MEMBER');

-- name: store_tables
SELECT c.relname AS name
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'whatsmeow' AND c.relkind IN ('r', 'p') AND starts_with(c.relname, 'whatsmeow_');

-- name: create_scratch
CREATE SCHEMA {schema};

-- name: copy_table
CREATE TABLE {target} (LIKE {source} INCLUDING ALL);

-- name: copy_version
INSERT INTO {target} SELECT * FROM whatsmeow.whatsmeow_version;

-- name: drop_scratch
DROP SCHEMA IF EXISTS {schema} CASCADE;

-- name: columns
SELECT DISTINCT name
FROM wa_sessions.quarantine AS q CROSS JOIN LATERAL jsonb_object_keys(q.row) AS name
JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = to_regclass(%(target)s) AND a.attname = name AND a.attnum > 0 AND NOT a.attisdropped
WHERE q.operation_id = %(operation)s AND q.phone_id = %(phone_id)s AND q.table_name = %(table)s
ORDER BY name;

-- name: copy_rows
INSERT INTO {target} ({columns})
SELECT {columns}
FROM wa_sessions.quarantine AS q CROSS JOIN LATERAL jsonb_populate_record(NULL::{target}, q.row) AS r
WHERE q.operation_id = %(operation)s AND q.phone_id = %(phone_id)s AND q.table_name = %(table)s
  AND q.row ->> {owner} = %(device)s;
