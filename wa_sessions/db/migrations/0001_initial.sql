-- Everything that wa-sessions keeps of its own. No key material outside `quarantine`.

CREATE TABLE wa_sessions.assignment (
    phone_id        integer PRIMARY KEY,
    connection_type text NOT NULL CHECK (connection_type IN ('baileys', 'neonize', 'waba'))
);
COMMENT ON TABLE wa_sessions.assignment IS 'Whose a phone is, where "OrganizationPhone" has no column "connectionType".';

CREATE TABLE wa_sessions.worker (
    id           uuid PRIMARY KEY,
    host         text NOT NULL,
    pid          integer NOT NULL,
    version      text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE wa_sessions.lease (
    phone_id   integer PRIMARY KEY,
    worker_id  uuid NOT NULL,
    epoch      bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE wa_sessions.lease IS 'Who owns a session. Taken together with an advisory lock; epoch grows with every owner and is never reused.';

CREATE TABLE wa_sessions.health (
    phone_id           integer PRIMARY KEY,
    organization_id    integer NOT NULL,
    bad_mac_errors     integer NOT NULL DEFAULT 0,
    bad_decrypt_errors integer NOT NULL DEFAULT 0,
    counted_senders    text[] NOT NULL DEFAULT '{}',
    last_error_at      timestamptz,
    last_error_kind    text,
    messages_recovered bigint NOT NULL DEFAULT 0,
    messages_lost      bigint NOT NULL DEFAULT 0,
    state              text NOT NULL DEFAULT 'idle',
    state_detail       text,
    state_since        timestamptz NOT NULL DEFAULT now(),
    retry_at           timestamptz,
    closing            text,
    max_bad_mac        integer NOT NULL DEFAULT 3,
    max_bad_decrypt    integer NOT NULL DEFAULT 5,
    updated_at         timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN wa_sessions.health.closing IS 'The kind of error whose limit was reached, from that moment until the close is done.';

CREATE TABLE wa_sessions.message (
    phone_id        integer NOT NULL,
    message_id      text NOT NULL,
    sender          text NOT NULL,
    chat            text NOT NULL,
    is_group        boolean NOT NULL,
    cause           text NOT NULL,
    encryption      text NOT NULL,
    connection      text NOT NULL,
    copies          integer NOT NULL,
    counted         boolean NOT NULL DEFAULT false,
    sender_worked   boolean NOT NULL DEFAULT false,
    session_mark    text,
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL,
    ended_at        timestamptz,
    outcome         text CHECK (outcome IN ('recovered', 'lost')),
    PRIMARY KEY (phone_id, message_id)
);
COMMENT ON TABLE wa_sessions.message IS 'Messages that did not decrypt: pending while outcome is null.';
CREATE INDEX message_pending ON wa_sessions.message (phone_id) WHERE outcome IS NULL;

CREATE TABLE wa_sessions.operation (
    id              text PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT now(),
    phone_id        integer NOT NULL,
    organization_id integer NOT NULL,
    number          text NOT NULL,
    action          text NOT NULL,
    reason          text NOT NULL,
    actor           text NOT NULL,
    keys            integer NOT NULL DEFAULT 0,
    status_before   text,
    phone_jid_before text,
    restored_at     timestamptz,
    restored_by     text
);
CREATE INDEX operation_phone ON wa_sessions.operation (phone_id, at);

CREATE TABLE wa_sessions.quarantine (
    operation_id text NOT NULL REFERENCES wa_sessions.operation (id) ON DELETE CASCADE,
    seq          bigint GENERATED ALWAYS AS IDENTITY,
    store        text NOT NULL CHECK (store IN ('whatsmeow', 'baileys')),
    table_name   text NOT NULL,
    row          jsonb NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (operation_id, seq)
);
COMMENT ON TABLE wa_sessions.quarantine IS 'Deleted keys, one row a key, whole. As secret as the tables they come from.';

CREATE TABLE wa_sessions.event (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT now(),
    phone_id        integer NOT NULL,
    organization_id integer NOT NULL,
    kind            text NOT NULL,
    detail          jsonb NOT NULL DEFAULT '{}',
    operation_id    text,
    worker_id       uuid
);
CREATE INDEX event_phone ON wa_sessions.event (phone_id, id);

CREATE TABLE wa_sessions.command (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phone_id     integer NOT NULL,
    worker_id    uuid NOT NULL,
    verb         text NOT NULL,
    arguments    jsonb NOT NULL DEFAULT '{}',
    actor        text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    taken_at     timestamptz,
    finished_at  timestamptz,
    error        text,
    exit_code    integer,
    answer       jsonb
);
CREATE INDEX command_open ON wa_sessions.command (worker_id) WHERE taken_at IS NULL;

CREATE TABLE wa_sessions.alert (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    phone_id   integer NOT NULL,
    kind       text NOT NULL,
    payload    jsonb NOT NULL,
    sent_at    timestamptz
);
