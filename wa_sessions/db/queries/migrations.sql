-- name: exists
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'wa_sessions' AND c.relname = 'migration'
) AS present;

-- name: current
SELECT max(number) AS number FROM wa_sessions.migration;

-- name: lock
SELECT pg_advisory_xact_lock(1463898450, 0);

-- name: create
CREATE SCHEMA IF NOT EXISTS wa_sessions;
CREATE TABLE wa_sessions.migration (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: record
INSERT INTO wa_sessions.migration (number, name) VALUES (%(number)s, %(name)s);
