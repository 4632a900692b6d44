-- name: prepare
SELECT pg_catalog.set_config('TimeZone', 'UTC', true),
       pg_catalog.set_config(
           'wa_sessions.search_path',
           COALESCE(%(search_path)s::pg_catalog.text, pg_catalog.current_setting('search_path')), true
       ),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- name: unpin
SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('wa_sessions.search_path'), true);

-- name: schemas
SELECT pg_catalog.current_schemas(false) AS names;

-- name: pin
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
