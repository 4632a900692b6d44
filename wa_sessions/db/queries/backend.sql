-- name: columns
SELECT attname AS name, format_type(atttypid, atttypmod) AS type
FROM pg_catalog.pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped;

-- name: any_row
SELECT EXISTS (SELECT FROM {auth_table}) AS present;

-- name: lock
SELECT pg_advisory_xact_lock(1463898450, 1);

-- name: create
CREATE TABLE IF NOT EXISTS "baileys_auth" (
    "organizationId" INTEGER NOT NULL,
    "phoneJid" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "value" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    CONSTRAINT "baileys_auth_pkey" PRIMARY KEY ("organizationId", "phoneJid", "key")
);
CREATE TABLE IF NOT EXISTS "OrganizationPhone" (
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
CREATE UNIQUE INDEX IF NOT EXISTS "OrganizationPhone_phoneJid_key" ON "OrganizationPhone" ("phoneJid");
