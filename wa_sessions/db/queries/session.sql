-- name: prepare
SELECT set_config('TimeZone', 'UTC', %(local)s),
       set_config('search_path', coalesce(%(search_path)s::text, current_setting('search_path')), %(local)s);
