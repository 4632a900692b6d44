-- What is left of the inbox beside its rows: no text, and little to read past. When it is vacuumed is stated in 0006.

-- ANALYZE keeps samples of each column, in pg_statistic, long after their rows are gone. No query needs those of a message.
ALTER TABLE wa_sessions.inbox
    ALTER COLUMN text SET STATISTICS 0,
    ALTER COLUMN raw SET STATISTICS 0;

-- What is set aside: asked for as each message joins it, at each load of a chat with --on-dead hold, and by operators, who
-- would all read everything that waits. A message that is handled as it should be never comes into it.
CREATE INDEX inbox_dead ON wa_sessions.inbox (phone_id, chat) WHERE dead_at IS NOT NULL;
