-- name: all
SELECT * FROM {phones}
WHERE coalesce("organizationId" = %(organization_id)s, TRUE)
ORDER BY "organizationId", "id";

-- name: by_number
SELECT phone.*, {keyed} AS keyed FROM {phones} AS phone
WHERE split_part(split_part("phoneJid", '@', 1), ':', 1) = ANY(%(numbers)s::text[])
ORDER BY "organizationId", "id";

-- name: jids
SELECT "phoneJid" AS jid FROM {phones} WHERE "phoneJid" IS NOT NULL;

-- name: by_id
SELECT * FROM {phones} WHERE "id" = %(phone_id)s;

-- name: organizations_with_keys
WITH RECURSIVE organization (id) AS (
    SELECT min("organizationId") FROM {auth_table}
    UNION ALL
    SELECT (SELECT min("organizationId") FROM {auth_table} WHERE "organizationId" > organization.id)
    FROM organization WHERE organization.id IS NOT NULL
)
SELECT id FROM organization
WHERE EXISTS (SELECT FROM {auth_table} WHERE "organizationId" = organization.id AND "phoneJid" = {number})

-- name: number
split_part(split_part(split_part(phone."phoneJid", '@', 1), ':', 1), '.', 1)

-- name: insert
INSERT INTO {phones} ({columns}) VALUES ({values}) RETURNING *;

-- name: status_as_it_is_spelled
CASE WHEN "status" = upper("status") AND "status" <> lower("status") THEN upper(%(status)s) ELSE %(status)s END

-- name: update
UPDATE {phones} SET {changes} WHERE "id" = %(phone_id)s AND (
    %(numbers)s::text[] IS NULL OR substring("phoneJid" FROM '^[^@:.]*') = ANY(%(numbers)s::text[])
) RETURNING "id";

-- name: assignment_exists
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'wa_sessions' AND c.relname = 'assignment'
      AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
) AS present;

-- name: assignments
SELECT phone_id, connection_type FROM wa_sessions.assignment;

-- name: assign
INSERT INTO wa_sessions.assignment (phone_id, connection_type) VALUES (%(phone_id)s, %(connection_type)s)
ON CONFLICT (phone_id) DO UPDATE SET connection_type = excluded.connection_type;

-- name: referring_tables
SELECT DISTINCT conrelid::regclass::text AS name FROM pg_catalog.pg_constraint
WHERE contype = 'f' AND confrelid = to_regclass(%(phones)s) AND conrelid <> confrelid
ORDER BY name;
