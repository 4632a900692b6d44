-- How often lines of the Node backend's logs name each phone, so that one that falls silent beside others is seen.

CREATE TABLE wa_sessions.log_habit (
    phone_id       integer PRIMARY KEY,
    first_named_at timestamptz NOT NULL,
    last_named_at  timestamptz NOT NULL,
    lines          integer NOT NULL,
    silences       smallint[] NOT NULL
);
COMMENT ON COLUMN wa_sessions.log_habit.lines IS 'In how many minutes lines named it that tell of no trouble.';
COMMENT ON COLUMN wa_sessions.log_habit.silences IS 'For each hour of the week (UTC, from the one in which 1970 began) the minutes that it had been silent at most when that hour was last over; -1: not known.';
