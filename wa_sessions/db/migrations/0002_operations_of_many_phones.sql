-- One operation can touch many phones; what it did to each of them stands in `operation_phone`.

DROP INDEX wa_sessions.operation_phone;
CREATE TABLE wa_sessions.operation_phone (
    operation_id     text NOT NULL REFERENCES wa_sessions.operation (id) ON DELETE CASCADE,
    phone_id         integer NOT NULL,
    organization_id  integer NOT NULL,
    number           text NOT NULL,
    phone_jid_before text,
    status_before    text,
    status_after     text,
    pairing          text,
    keys             integer NOT NULL DEFAULT 0,
    restored_at      timestamptz,
    restored_by      text,
    unlinked_at      timestamptz,
    unlinked_by      text,
    purged_at        timestamptz,
    purged_by        text,
    PRIMARY KEY (operation_id, phone_id)
);
CREATE INDEX operation_phone_phone ON wa_sessions.operation_phone (phone_id);
COMMENT ON COLUMN wa_sessions.operation_phone.pairing IS 'Which pairing the keys belonged to: the device''s JID, or a mark of the public keys in creds.';
COMMENT ON COLUMN wa_sessions.operation_phone.status_after IS 'The status that the operation gave the phone; null where it gave none.';

INSERT INTO wa_sessions.operation_phone
    (operation_id, phone_id, organization_id, number, phone_jid_before, status_before, status_after, keys, restored_at,
     restored_by)
SELECT id, phone_id, organization_id, number, phone_jid_before, status_before,
       CASE WHEN action IN ('close', 'force_close') THEN 'logged_out' END, keys, restored_at, restored_by
FROM wa_sessions.operation;

ALTER TABLE wa_sessions.quarantine ADD COLUMN phone_id integer;
UPDATE wa_sessions.quarantine SET phone_id = operation.phone_id
FROM wa_sessions.operation WHERE operation.id = quarantine.operation_id;
ALTER TABLE wa_sessions.quarantine ALTER COLUMN phone_id SET NOT NULL;
CREATE INDEX quarantine_phone ON wa_sessions.quarantine (operation_id, phone_id);
ALTER TABLE wa_sessions.quarantine DROP CONSTRAINT quarantine_store_check;
ALTER TABLE wa_sessions.quarantine ADD CONSTRAINT quarantine_store_check
    CHECK (store IN ('whatsmeow', 'baileys', 'backend'));

ALTER TABLE wa_sessions.operation
    DROP COLUMN phone_id,
    DROP COLUMN organization_id,
    DROP COLUMN number,
    DROP COLUMN status_before,
    DROP COLUMN phone_jid_before,
    DROP COLUMN keys,
    DROP COLUMN restored_at,
    DROP COLUMN restored_by;
CREATE INDEX operation_at ON wa_sessions.operation (at);
