-- name: holders
WITH RECURSIVE waits (pid) AS (
    SELECT %(waiting)s::int
    UNION
    SELECT unnest(pg_blocking_pids(waits.pid)) FROM waits
), holds AS (
    SELECT pid, cardinality(pg_blocking_pids(pid)) = 0 AS at_rest FROM waits WHERE pid <> %(waiting)s::int
)
SELECT holds.pid, activity.application_name AS application, activity.usename AS role,
       host(activity.client_addr) AS address, activity.backend_type AS kind
FROM holds LEFT JOIN pg_stat_activity AS activity USING (pid)
WHERE at_rest OR NOT EXISTS (SELECT FROM holds WHERE at_rest)
ORDER BY activity.xact_start NULLS LAST, holds.pid;
