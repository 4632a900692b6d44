-- name: backend
SELECT pid, backend_start FROM pg_stat_get_activity(pg_backend_pid());

-- name: limits
WITH others AS (
    SELECT datid, usesysid FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND usesysid IS NOT NULL
      AND (backend_type = 'client backend' OR backend_type IS NULL AND datid IS NOT NULL)
)
SELECT 'the server' AS whose, current_setting('max_connections')::int AS most,
       CASE WHEN me.rolsuper THEN 0 ELSE
           current_setting('superuser_reserved_connections')::int
           + CASE WHEN EXISTS (
                 SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections' AND pg_has_role(oid, 'USAGE')
             ) THEN 0 ELSE coalesce(current_setting('reserved_connections', true)::int, 0) END
       END AS reserved,
       (SELECT count(*) FROM others)::int AS used
FROM pg_roles AS me WHERE me.rolname = session_user
UNION ALL
SELECT 'the role ' || me.rolname, me.rolconnlimit, 0, (SELECT count(*) FROM others WHERE usesysid = me.oid)::int
FROM pg_roles AS me WHERE me.rolname = session_user AND me.rolconnlimit >= 0 AND NOT me.rolsuper
UNION ALL
SELECT 'the database ' || datname, datconnlimit, 0, (SELECT count(*) FROM others WHERE datid = base.oid)::int
FROM pg_database AS base JOIN pg_roles AS me ON me.rolname = session_user
WHERE datname = current_database() AND datconnlimit >= 0 AND NOT me.rolsuper;
