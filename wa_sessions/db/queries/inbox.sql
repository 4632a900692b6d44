-- name: write
INSERT INTO wa_sessions.inbox
    (phone_id, chat, sender, message_id, sender_alt, from_me, is_group, sent_at, kind, text, raw)
SELECT phone_id, chat, sender, message_id, sender_alt, from_me, is_group, sent_at, kind, text, raw
FROM unnest(
    %(phone_ids)s::int[], %(chats)s::text[], %(senders)s::text[], %(message_ids)s::text[], %(senders_alt)s::text[],
    %(from_me)s::boolean[], %(is_group)s::boolean[], %(sent_at)s::bigint[], %(kinds)s::text[], %(texts)s::text[],
    %(raws)s::bytea[]
) WITH ORDINALITY AS told
    (phone_id, chat, sender, message_id, sender_alt, from_me, is_group, sent_at, kind, text, raw, nth)
ORDER BY nth
ON CONFLICT DO NOTHING
RETURNING id, phone_id, chat, sender, message_id;

-- name: delete
DELETE FROM wa_sessions.inbox AS kept
USING unnest(%(phone_ids)s::int[], %(chats)s::text[], %(ids)s::bigint[]) AS handled (phone_id, chat, id)
WHERE kept.phone_id = handled.phone_id AND kept.chat = handled.chat AND kept.id = handled.id;

-- name: fail
UPDATE wa_sessions.inbox AS kept
SET attempts = failed.attempts, error = failed.error,
    next_at = clock_timestamp() + make_interval(secs => failed.pause),
    dead_at = CASE WHEN failed.dead THEN clock_timestamp() END
FROM unnest(
    %(phone_ids)s::int[], %(chats)s::text[], %(ids)s::bigint[], %(attempts)s::int[], %(errors)s::text[],
    %(pauses)s::float8[], %(dead)s::boolean[]
) AS failed (phone_id, chat, id, attempts, error, pause, dead)
WHERE kept.phone_id = failed.phone_id AND kept.chat = failed.chat AND kept.id = failed.id;

-- name: due_chats
WITH RECURSIVE found AS (
    (
        SELECT phone_id, chat FROM wa_sessions.inbox WHERE phone_id = ANY(%(phone_ids)s::int[])
        ORDER BY phone_id, chat LIMIT 1
    )
    UNION ALL
    SELECT next.phone_id, next.chat FROM found CROSS JOIN LATERAL (
        SELECT phone_id, chat FROM wa_sessions.inbox AS kept
        WHERE (kept.phone_id, kept.chat) > (found.phone_id, found.chat) AND kept.phone_id = ANY(%(phone_ids)s::int[])
        ORDER BY phone_id, chat LIMIT 1
    ) AS next
)
SELECT phone_id, chat FROM found WHERE (
    SELECT next_at IS NULL OR next_at <= clock_timestamp() FROM wa_sessions.inbox AS kept
    WHERE kept.phone_id = found.phone_id AND kept.chat = found.chat AND kept.dead_at IS NULL
    ORDER BY kept.id LIMIT 1
);

-- name: load
SELECT row.id, row.phone_id, row.chat, row.sender, row.message_id, row.sender_alt, row.from_me, row.is_group,
       row.sent_at, row.kind, row.text, row.raw, row.attempts,
       greatest(0, extract(epoch FROM row.next_at - clock_timestamp()))::float8 AS pause
FROM unnest(%(phone_ids)s::int[], %(chats)s::text[]) WITH ORDINALITY AS wanted (phone_id, chat, nth)
CROSS JOIN LATERAL (
    SELECT * FROM wa_sessions.inbox AS kept
    WHERE kept.phone_id = wanted.phone_id AND kept.chat = wanted.chat AND kept.dead_at IS NULL
      AND NOT (%(hold)s AND EXISTS (
          SELECT FROM wa_sessions.inbox AS dead
          WHERE dead.phone_id = wanted.phone_id AND dead.chat = wanted.chat AND dead.dead_at IS NOT NULL
      ))
    ORDER BY kept.id LIMIT %(most)s
) AS row
ORDER BY wanted.nth, row.id;

-- name: has_dead
SELECT DISTINCT phone_id FROM wa_sessions.inbox WHERE phone_id = ANY(%(phone_ids)s::int[]) AND dead_at IS NOT NULL;

-- name: depths
SELECT phone_id, count(*) FILTER (WHERE dead_at IS NULL) AS waiting, count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
       greatest(0, extract(epoch FROM clock_timestamp() - min(received_at) FILTER (WHERE dead_at IS NULL)))::float8
           AS oldest_seconds
FROM wa_sessions.inbox
WHERE %(phone_id)s::int IS NULL OR phone_id = %(phone_id)s
GROUP BY phone_id;

-- name: rows
SELECT id, phone_id, chat, sender, message_id, kind, received_at, attempts, next_at, error, dead_at
FROM wa_sessions.inbox
WHERE (%(phone_ids)s::int[] IS NULL OR phone_id = ANY(%(phone_ids)s)) AND (NOT %(dead)s OR dead_at IS NOT NULL)
ORDER BY id LIMIT %(limit)s;

-- name: retry
UPDATE wa_sessions.inbox SET attempts = 0, next_at = NULL, error = NULL, dead_at = NULL
WHERE phone_id = %(phone_id)s AND (%(chat)s::text IS NULL OR chat = %(chat)s)
  AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s) AND (dead_at IS NOT NULL OR next_at IS NOT NULL)
RETURNING id;

-- name: drop
DELETE FROM wa_sessions.inbox
WHERE phone_id = %(phone_id)s AND (%(chat)s::text IS NULL OR chat = %(chat)s)
  AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s) AND (NOT %(dead)s OR dead_at IS NOT NULL)
RETURNING id;
