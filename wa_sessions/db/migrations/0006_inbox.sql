-- Messages until their handler has taken them. A queue and not an archive: a row goes when its message is handled.

CREATE TABLE wa_sessions.inbox (
    phone_id    integer NOT NULL,
    chat        text NOT NULL,
    id          bigint GENERATED ALWAYS AS IDENTITY,
    sender      text NOT NULL,
    message_id  text NOT NULL,
    sender_alt  text,
    from_me     boolean NOT NULL,
    is_group    boolean NOT NULL,
    sent_at     bigint NOT NULL,
    kind        text NOT NULL,
    text        text NOT NULL,
    raw         bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts    integer NOT NULL DEFAULT 0,
    next_at     timestamptz,
    error       text,
    dead_at     timestamptz,
    PRIMARY KEY (phone_id, chat, id),
    UNIQUE (phone_id, chat, sender, message_id)
);
COMMENT ON TABLE wa_sessions.inbox IS 'Messages that no handler has taken yet. The only table with texts of messages; no backup takes it.';
COMMENT ON COLUMN wa_sessions.inbox.id IS 'The order in which they came; of each chat they are handled in it.';
COMMENT ON COLUMN wa_sessions.inbox.sent_at IS 'In seconds since 1970, as WhatsApp tells it.';
COMMENT ON COLUMN wa_sessions.inbox.attempts IS 'Attempts that failed. What a receiver that is away refuses is none.';
COMMENT ON COLUMN wa_sessions.inbox.next_at IS 'When it is tried again; its chat waits until then.';
COMMENT ON COLUMN wa_sessions.inbox.error IS 'How the last attempt failed: the name of a type, an exit status. Never a text.';
COMMENT ON COLUMN wa_sessions.inbox.dead_at IS 'When it was set aside after too many attempts.';

-- Every row that comes goes again, so nearly all that was ever written is dead. By its defaults autovacuum waits for a share
-- of the rows, which says nothing of a table that is empty most of the time: here it comes after 10,000 dead ones, however
-- many live, does not pause (a queue that is scanned past its dead rows gets slower with each of them), and gives the end
-- of the file back. A message of over 2 kB stands in the TOAST table, which has settings of its own.
ALTER TABLE wa_sessions.inbox SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 10000,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 10000,
    toast.autovacuum_vacuum_cost_delay = 0
);
