-- name: moment
SELECT now() AS at;

-- name: phone_rows
SELECT "id", to_jsonb(phone) - 'qrCode' AS row FROM {phones} AS phone WHERE "id" = ANY(%(ids)s);

-- name: devices
SELECT jid FROM whatsmeow.whatsmeow_device ORDER BY jid;

-- name: auth_rows
SELECT {name}::text AS table_name, to_jsonb(kept)::text AS row FROM {table} AS kept
WHERE "organizationId" = %(organization_id)s AND "phoneJid" = %(number)s

-- name: store_rows
SELECT {name}::text AS table_name, to_jsonb(kept)::text AS row FROM {table} AS kept WHERE {owner} = ANY(%(devices)s)

-- name: without_phone
SELECT count(*) AS keys FROM {table} AS kept
WHERE NOT EXISTS (
    SELECT FROM unnest(%(organizations)s::int[], %(numbers)s::text[]) AS phone (organization_id, number)
    WHERE phone.organization_id::text = kept."organizationId"::text AND phone.number = kept."phoneJid"
);

-- name: devices_now
SELECT jid, to_jsonb(device) ->> 'noise_key' AS noise_key FROM whatsmeow.whatsmeow_device AS device
WHERE split_part(split_part(split_part(jid, '@', 1), ':', 1), '.', 1) = ANY(%(numbers)s);

-- name: stage
CREATE TEMPORARY TABLE wa_sessions_backup_row (table_name text NOT NULL, row jsonb NOT NULL) ON COMMIT DROP;

-- name: stage_rows
COPY pg_temp.wa_sessions_backup_row (table_name, row) FROM STDIN;

-- name: staged
SELECT DISTINCT table_name FROM pg_temp.wa_sessions_backup_row;

-- name: staged_columns
SELECT name FROM (SELECT row FROM pg_temp.wa_sessions_backup_row WHERE table_name = %(table)s LIMIT 1) AS one
CROSS JOIN LATERAL jsonb_object_keys(one.row) AS name;

-- name: insert
WITH back AS (
    INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {values}
    FROM pg_temp.wa_sessions_backup_row AS staged
    CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, {row}) AS r
    WHERE staged.table_name = %(table)s
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*) AS rows FROM back;

-- name: as_it_is
staged.row

-- name: bytes_as_text
jsonb_set(staged.row, '{value}', to_jsonb(convert_from((staged.row ->> 'value')::bytea, 'UTF8')))

-- name: text_as_bytes
jsonb_set(staged.row, '{value}', to_jsonb('\x' || encode(convert_to(staged.row ->> 'value', 'UTF8'), 'hex')))

-- name: new_id
gen_random_uuid()::text
