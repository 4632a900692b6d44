-- name: ask
INSERT INTO wa_sessions.command (phone_id, worker_id, verb, arguments, actor)
VALUES (%(phone_id)s, %(worker_id)s, %(verb)s, %(arguments)s, %(actor)s)
RETURNING id;

-- name: notify_request
SELECT pg_notify('wa_sessions_command', %(payload)s);

-- name: notify_answer
SELECT pg_notify('wa_sessions_answer', %(payload)s);

-- name: take
UPDATE wa_sessions.command SET taken_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM wa_sessions.command
    WHERE worker_id = %(worker_id)s AND taken_at IS NULL
    ORDER BY id FOR UPDATE SKIP LOCKED
)
RETURNING id, phone_id, verb, arguments, actor, requested_at;

-- name: unanswered
SELECT id, phone_id, verb, arguments, actor, requested_at FROM wa_sessions.command
WHERE worker_id = %(worker_id)s AND taken_at IS NOT NULL AND finished_at IS NULL ORDER BY id;

-- name: finish
UPDATE wa_sessions.command
SET finished_at = clock_timestamp(), answer = %(answer)s, error = %(error)s, exit_code = %(exit_code)s
WHERE id = %(id)s AND finished_at IS NULL
RETURNING id;

-- name: answer
SELECT id, answer, error, exit_code, taken_at, finished_at FROM wa_sessions.command WHERE id = %(id)s;

-- name: finished
SELECT id FROM wa_sessions.command WHERE id = ANY(%(ids)s) AND finished_at IS NOT NULL;

-- name: withdraw
UPDATE wa_sessions.command
SET taken_at = clock_timestamp(), finished_at = clock_timestamp(), error = 'withdrawn: nobody took it', exit_code = 1
WHERE id = %(id)s AND taken_at IS NULL
RETURNING id;

-- name: listen_requests
LISTEN wa_sessions_command;

-- name: listen_answers
LISTEN wa_sessions_answer;
