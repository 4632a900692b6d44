-- A message that fails again and again is no health, though its reason counts towards no limit.

CREATE TABLE wa_sessions.log_uncounted (
    phone_id  integer NOT NULL,
    message   bigint NOT NULL,
    failed_at timestamptz NOT NULL,
    reason    text NOT NULL,
    again     boolean NOT NULL,
    PRIMARY KEY (phone_id, message)
);
COMMENT ON TABLE wa_sessions.log_uncounted IS 'Messages of the last day of which a copy failed for a reason that counts towards no limit, by a hash of their ids.';
COMMENT ON COLUMN wa_sessions.log_uncounted.again IS 'Another copy of it failed too, for whatever reason.';
