-- name: prepare
SELECT pg_catalog.set_config('TimeZone', 'UTC', true),
       pg_catalog.set_config(
           'wa_sessions.search_path',
           COALESCE(%(search_path)s::pg_catalog.text, pg_catalog.current_setting('search_path')), true
       ),
       pg_catalog.set_config(
           'statement_timeout',
           CASE WHEN pg_catalog.current_setting('statement_timeout') OPERATOR(pg_catalog.=) '0'
                THEN %(statement_timeout)s::pg_catalog.text
                ELSE pg_catalog.current_setting('statement_timeout') END, true
       ),
       pg_catalog.set_config(
           'lock_timeout',
           CASE WHEN pg_catalog.current_setting('lock_timeout') OPERATOR(pg_catalog.=) '0'
                THEN %(lock_timeout)s::pg_catalog.text
                ELSE pg_catalog.current_setting('lock_timeout') END, true
       ),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- name: schemas
SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('wa_sessions.search_path'), true),
       pg_catalog.current_schemas(false) AS names,
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- name: pin
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- name: pin_within
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
       pg_catalog.set_config('statement_timeout', %(within)s, true),
       pg_catalog.set_config('lock_timeout', %(patience)s, true);

-- name: keepalives
SELECT pg_catalog.set_config('tcp_keepalives_idle', %(probe)s::pg_catalog.text, false),
       pg_catalog.set_config('tcp_keepalives_interval', %(probe)s::pg_catalog.text, false),
       pg_catalog.set_config('tcp_keepalives_count', %(count)s::pg_catalog.text, false);

-- name: user_timeout
SELECT pg_catalog.set_config('tcp_user_timeout', %(milliseconds)s::pg_catalog.text, false);

-- name: read_only
SELECT pg_catalog.current_setting('transaction_read_only') AS read_only;
