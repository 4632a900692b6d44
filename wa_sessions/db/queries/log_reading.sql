-- name: positions
SELECT host, path, scope, device, inode, read_to, tail, zone, waiting, version FROM wa_sessions.log_file
WHERE path = ANY(%(paths)s) ORDER BY host = %(host)s DESC, read_at DESC;

-- name: begin
INSERT INTO wa_sessions.log_file (host, path, scope, device, inode, read_to, tail, zone, waiting)
VALUES (%(host)s, %(path)s, %(scope)s, %(device)s, %(inode)s, %(read_to)s, %(tail)s, %(zone)s, %(waiting)s)
ON CONFLICT (host, path, scope) DO NOTHING
RETURNING version;

-- name: advance
UPDATE wa_sessions.log_file SET
    host = %(host)s,
    device = %(device)s,
    inode = %(inode)s,
    read_to = %(read_to)s,
    tail = %(tail)s,
    zone = %(zone)s,
    waiting = %(waiting)s,
    version = version + 1,
    read_at = clock_timestamp()
WHERE host = %(before)s AND path = %(path)s AND scope = %(scope)s AND version = %(version)s
RETURNING version;

-- name: watch
INSERT INTO wa_sessions.log_watch (phone_id, own_lines_at, read_at, doubt, doubt_at, seen_at)
VALUES (%(phone_id)s, %(own_lines_at)s, clock_timestamp(), %(doubt)s, %(doubt_at)s, %(seen_at)s)
ON CONFLICT (phone_id) DO UPDATE SET
    own_lines_at = excluded.own_lines_at,
    read_at = excluded.read_at,
    doubt = excluded.doubt,
    doubt_at = excluded.doubt_at,
    seen_at = excluded.seen_at;

-- name: watches
SELECT phone_id, own_lines_at, read_at, doubt, doubt_at, seen_at FROM wa_sessions.log_watch
WHERE %(phone_id)s::int IS NULL OR phone_id = %(phone_id)s;

-- name: failures
SELECT message, counted FROM wa_sessions.log_failure WHERE phone_id = %(phone_id)s AND message = ANY(%(messages)s);

-- name: save_failure
INSERT INTO wa_sessions.log_failure (phone_id, message, failed_at, counted)
VALUES (%(phone_id)s, %(message)s, %(failed_at)s, %(counted)s)
ON CONFLICT (phone_id, message) DO UPDATE SET failed_at = excluded.failed_at, counted = excluded.counted;

-- name: forget_failures
DELETE FROM wa_sessions.log_failure WHERE failed_at < %(before)s;

-- name: uncounted
SELECT message, failed_at AS at, reason, again FROM wa_sessions.log_uncounted
WHERE phone_id = %(phone_id)s AND message = ANY(%(messages)s);

-- name: save_uncounted
INSERT INTO wa_sessions.log_uncounted (phone_id, message, failed_at, reason, again)
VALUES (%(phone_id)s, %(message)s, %(at)s, %(reason)s, %(again)s)
ON CONFLICT (phone_id, message) DO UPDATE SET
    failed_at = excluded.failed_at,
    reason = excluded.reason,
    again = excluded.again;

-- name: forget_uncounted
DELETE FROM wa_sessions.log_uncounted WHERE failed_at < %(before)s;

-- name: failing_again
SELECT phone_id, reason, count(*)::int AS messages FROM wa_sessions.log_uncounted
WHERE again AND failed_at > clock_timestamp() - %(stands)s::interval
    AND (%(phone_id)s::int IS NULL OR phone_id = %(phone_id)s)
GROUP BY phone_id, reason;

-- name: habits
SELECT phone_id, extract(epoch FROM first_named_at)::bigint / 60 AS first,
       extract(epoch FROM last_named_at)::bigint / 60 AS last, lines, silences
FROM wa_sessions.log_habit;

-- name: save_habit
INSERT INTO wa_sessions.log_habit (phone_id, first_named_at, last_named_at, lines, silences)
VALUES (%(phone_id)s, to_timestamp(%(first)s::bigint * 60), to_timestamp(%(last)s::bigint * 60), %(lines)s,
        %(silences)s::smallint[])
ON CONFLICT (phone_id) DO UPDATE SET
    first_named_at = excluded.first_named_at,
    last_named_at = excluded.last_named_at,
    lines = excluded.lines,
    silences = excluded.silences;

-- name: forget_habits
DELETE FROM wa_sessions.log_habit WHERE phone_id = ANY(%(phones)s);
