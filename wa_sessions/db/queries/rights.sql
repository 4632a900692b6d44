-- name: missing
SELECT wanted.table_name AS "table", wanted.privilege
FROM unnest(%(tables)s::text[], %(privileges)s::text[]) AS wanted (table_name, privilege)
WHERE NOT has_table_privilege(wanted.table_name, wanted.privilege);

-- name: schema_usage
SELECT has_schema_privilege(oid, 'USAGE') AS usable FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s;

-- name: role
SELECT current_user AS name, has_database_privilege(current_database(), 'CREATE') AS may_create;
