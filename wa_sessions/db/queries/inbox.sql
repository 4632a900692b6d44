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

-- name: chats
SELECT asked.phone_id, its.chat, CASE WHEN NOT (%(hold)s AND EXISTS (
    SELECT FROM wa_sessions.inbox AS dead
    WHERE dead.phone_id = asked.phone_id AND dead.chat = its.chat AND dead.dead_at IS NOT NULL
)) THEN (
    SELECT next_at IS NULL OR next_at <= clock_timestamp()
        OR next_at > clock_timestamp() + make_interval(secs => %(longest)s)
    FROM wa_sessions.inbox AS kept
    WHERE kept.phone_id = asked.phone_id AND kept.chat = its.chat AND kept.dead_at IS NULL
    ORDER BY kept.id LIMIT 1
) END AS due
FROM unnest(%(phone_ids)s::int[], %(after)s::text[]) WITH ORDINALITY AS asked (phone_id, after, nth)
CROSS JOIN LATERAL (
    WITH RECURSIVE found AS (
        SELECT asked.after AS chat
        UNION ALL
        SELECT (
            SELECT kept.chat FROM wa_sessions.inbox AS kept
            WHERE kept.phone_id = asked.phone_id AND kept.chat > found.chat ORDER BY kept.chat LIMIT 1
        )
        FROM found WHERE found.chat IS NOT NULL
    )
    SELECT chat FROM found WHERE chat IS NOT NULL OFFSET 1
) AS its
LIMIT %(most)s;

-- name: load
SELECT row.id, row.phone_id, row.chat, row.sender, row.message_id, row.sender_alt, row.from_me, row.is_group,
       row.sent_at, row.kind, row.text, row.raw, row.attempts,
       CASE WHEN row.next_at <= clock_timestamp() + make_interval(secs => %(longest)s)
           THEN greatest(0, extract(epoch FROM row.next_at - clock_timestamp()))::float8 END AS pause
FROM unnest(%(phone_ids)s::int[], %(chats)s::text[]) WITH ORDINALITY AS wanted (phone_id, chat, nth)
CROSS JOIN LATERAL (
    SELECT *, sum(octet_length(first.raw)) OVER (ORDER BY first.id) - octet_length(first.raw) AS before
    FROM (
        SELECT * FROM wa_sessions.inbox AS kept
        WHERE kept.phone_id = wanted.phone_id AND kept.chat = wanted.chat AND kept.dead_at IS NULL
          AND NOT (%(hold)s AND EXISTS (
              SELECT FROM wa_sessions.inbox AS dead
              WHERE dead.phone_id = wanted.phone_id AND dead.chat = wanted.chat AND dead.dead_at IS NOT NULL
          ))
        ORDER BY kept.id LIMIT %(most)s
    ) AS first
) AS row
WHERE row.before < %(bytes)s
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
SELECT id, phone_id, chat, sender, message_id, kind, received_at, attempts, next_at, error, dead_at,
    CASE
        WHEN EXISTS (SELECT FROM wa_sessions.inbox AS before WHERE before.phone_id = one.phone_id
                     AND before.chat = one.chat AND before.id < one.id AND before.dead_at IS NULL) THEN 'waiting'
        WHEN EXISTS (SELECT FROM wa_sessions.inbox AS before WHERE before.phone_id = one.phone_id
                     AND before.chat = one.chat AND before.id < one.id AND before.dead_at IS NOT NULL) THEN 'dead'
    END AS behind
FROM wa_sessions.inbox AS one
WHERE (%(phone_ids)s::int[] IS NULL OR phone_id = ANY(%(phone_ids)s)) AND (NOT %(dead)s OR dead_at IS NOT NULL)
ORDER BY id LIMIT %(limit)s;

-- name: count
SELECT phone_id, count(*) AS messages, max(id) AS newest, statement_timestamp() AS at FROM wa_sessions.inbox
WHERE phone_id = ANY(%(phone_ids)s::int[]) AND (%(chat)s::text IS NULL OR chat = %(chat)s)
  AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s) AND (NOT %(dead)s OR dead_at IS NOT NULL)
GROUP BY phone_id;

-- name: retry
WITH chosen AS (
    SELECT phone_id, chat, id FROM wa_sessions.inbox
    WHERE phone_id = ANY(%(phone_ids)s::int[]) AND (%(chat)s::text IS NULL OR chat = %(chat)s)
      AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s) AND (dead_at IS NOT NULL OR next_at IS NOT NULL)
      AND (NOT %(dead)s OR dead_at IS NOT NULL)
      AND (phone_id, chat, id) > (%(after_phone)s::int, %(after_chat)s::text, %(after_id)s::bigint)
    ORDER BY phone_id, chat, id LIMIT %(most)s FOR UPDATE SKIP LOCKED
), retried AS (
    UPDATE wa_sessions.inbox AS kept SET attempts = 0, next_at = NULL, error = NULL, dead_at = NULL
    FROM chosen WHERE kept.phone_id = chosen.phone_id AND kept.chat = chosen.chat AND kept.id = chosen.id
)
SELECT phone_id, chat, id FROM chosen ORDER BY phone_id, chat, id;

-- name: drop
WITH chosen AS (
    SELECT phone_id, chat, id FROM wa_sessions.inbox
    WHERE phone_id = ANY(%(phone_ids)s::int[]) AND (%(chat)s::text IS NULL OR chat = %(chat)s)
      AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s) AND (NOT %(dead)s OR dead_at <= coalesce(%(until)s::timestamptz, 'infinity'))
      AND (%(up_to)s::bigint IS NULL OR id <= %(up_to)s)
      AND (phone_id, chat, id) > (%(after_phone)s::int, %(after_chat)s::text, %(after_id)s::bigint)
    ORDER BY phone_id, chat, id LIMIT %(most)s FOR UPDATE SKIP LOCKED
), dropped AS (
    DELETE FROM wa_sessions.inbox AS kept USING chosen
    WHERE kept.phone_id = chosen.phone_id AND kept.chat = chosen.chat AND kept.id = chosen.id
)
SELECT phone_id, chat, id FROM chosen ORDER BY phone_id, chat, id;
