-- What was read of the Node backend's logs, so that each of their lines counts once, and whom that observes.

-- The history by time: what is read from a log is older than what was written before it.
CREATE INDEX event_at ON wa_sessions.event (at);

CREATE TABLE wa_sessions.log_file (
    host    text NOT NULL,
    path    text NOT NULL,
    scope   integer NOT NULL,
    device  numeric NOT NULL,
    inode   numeric NOT NULL,
    read_to bigint NOT NULL,
    tail    bytea NOT NULL,
    zone    integer,
    waiting jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    read_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (host, path, scope)
);
COMMENT ON COLUMN wa_sessions.log_file.scope IS 'The organization whose phones the log was read for; 0: all.';
COMMENT ON COLUMN wa_sessions.log_file.tail IS 'SHA-256 of what stands before read_to: by it a log is known again that was renamed, copied or packed.';
COMMENT ON COLUMN wa_sessions.log_file.waiting IS 'Failures whose other half was not there yet: senders, times, hashes of message ids. No text.';

CREATE TABLE wa_sessions.log_watch (
    phone_id     integer PRIMARY KEY,
    own_lines_at timestamptz,
    read_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN wa_sessions.log_watch.own_lines_at IS 'The backend''s last counter line of the phone, while it writes any: until then the library''s lines count nothing.';

CREATE TABLE wa_sessions.log_failure (
    phone_id  integer NOT NULL,
    message   bigint NOT NULL,
    failed_at timestamptz NOT NULL,
    counted   boolean NOT NULL,
    PRIMARY KEY (phone_id, message)
);
COMMENT ON TABLE wa_sessions.log_failure IS 'Messages of the last day that failed, by a hash of their ids: a retried copy is known by it.';
