-- name: present
WITH path AS MATERIALIZED (
    SELECT set_config('search_path', current_setting('wa_sessions.search_path'), true) AS unpinned,
           current_schemas(false)::text[] AS schemas,
           set_config('search_path', 'pg_catalog, pg_temp', true) AS pinned
), named AS (
    SELECT n.oid, n.nspname::text AS name, array_position(path.schemas, n.nspname::text) AS place,
           n.nspname IN ('wa_sessions', 'whatsmeow') AS ours
    FROM pg_catalog.pg_namespace AS n CROSS JOIN path
)
SELECT named.name AS schema, c.relname AS table, c.relowner AS owner,
       has_schema_privilege(named.oid, 'USAGE') AS usable,
       ARRAY(
           SELECT privilege FROM unnest(%(privileges)s::text[]) AS privilege
           WHERE has_table_privilege(c.oid, privilege)
       ) AS privileges,
       CASE WHEN named.place IS NOT NULL AND c.relname = ANY(%(known)s::text[]) THEN (
           SELECT jsonb_object_agg(a.attname, jsonb_build_object(
               'type', format_type(a.atttypid, a.atttypmod),
               'words', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)
                         FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = a.atttypid)
           ))
           FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       ) END AS columns
FROM named LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = named.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
WHERE named.ours OR named.place IS NOT NULL AND c.relname = ANY(%(known)s::text[])
ORDER BY named.place, c.relname;

-- name: any_row
SELECT EXISTS (SELECT FROM {auth_table}) AS present;

-- name: lock
SELECT pg_advisory_xact_lock(1463898450, 1);

-- name: create
CREATE TABLE IF NOT EXISTS {schema}."baileys_auth" (
    "organizationId" INTEGER NOT NULL,
    "phoneJid" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "value" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    CONSTRAINT "baileys_auth_pkey" PRIMARY KEY ("organizationId", "phoneJid", "key")
);
CREATE TABLE IF NOT EXISTS {schema}."OrganizationPhone" (
    "id" SERIAL NOT NULL,
    "organizationId" INTEGER NOT NULL,
    "phoneJid" TEXT NOT NULL,
    "displayName" TEXT,
    "status" TEXT NOT NULL DEFAULT 'pending',
    "lastConnectedAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "qrCode" TEXT,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    "connectionType" TEXT NOT NULL DEFAULT 'baileys',
    CONSTRAINT "OrganizationPhone_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX IF NOT EXISTS "OrganizationPhone_phoneJid_key" ON {schema}."OrganizationPhone" ("phoneJid");
