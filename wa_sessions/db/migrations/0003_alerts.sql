-- Alerts go to several targets, to each at its own pace and in order.

ALTER TABLE wa_sessions.alert DROP COLUMN sent_at;
CREATE INDEX alert_phone ON wa_sessions.alert (phone_id, id);
CREATE INDEX alert_at ON wa_sessions.alert (at);

CREATE TABLE wa_sessions.alert_target (
    name          text PRIMARY KEY,
    since         timestamptz NOT NULL DEFAULT now() - interval '1 hour',
    claimed_by    uuid,
    claimed_until timestamptz,
    next_at       timestamptz,
    failures      integer NOT NULL DEFAULT 0,
    last_error    text
);
COMMENT ON COLUMN wa_sessions.alert_target.since IS 'Alerts before that have been sent to it, or were never meant for it.';
COMMENT ON COLUMN wa_sessions.alert_target.failures IS 'Attempts that failed since the last one that did not.';

CREATE TABLE wa_sessions.alert_message (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target      text NOT NULL REFERENCES wa_sessions.alert_target (name) ON DELETE CASCADE,
    key         uuid NOT NULL UNIQUE,
    made_at     timestamptz NOT NULL DEFAULT now(),
    attempts    integer NOT NULL DEFAULT 0,
    sent_at     timestamptz,
    given_up_at timestamptz,
    error       text
);
COMMENT ON COLUMN wa_sessions.alert_message.key IS 'The idempotency key: the same at every attempt.';
CREATE UNIQUE INDEX alert_message_open ON wa_sessions.alert_message (target)
    WHERE sent_at IS NULL AND given_up_at IS NULL;

CREATE TABLE wa_sessions.alert_delivery (
    alert_id   bigint NOT NULL REFERENCES wa_sessions.alert (id) ON DELETE CASCADE,
    target     text NOT NULL,
    message_id bigint NOT NULL REFERENCES wa_sessions.alert_message (id) ON DELETE CASCADE,
    PRIMARY KEY (alert_id, target)
);
CREATE INDEX alert_delivery_message ON wa_sessions.alert_delivery (message_id);
