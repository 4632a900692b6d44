-- name: columns
SELECT n.nspname AS schema, c.relname AS table, c.relowner AS owner, a.attname AS name,
       format_type(a.atttypid, a.atttypmod) AS type,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = a.atttypid) AS words
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relname = ANY(%(tables)s::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname = ANY(%(schemas)s::text[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY array_position(%(schemas)s::text[], n.nspname::text), c.relname, a.attnum;

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
