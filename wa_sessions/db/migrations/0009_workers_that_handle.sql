-- Of workers that share phones those have them that hand messages to a handler: the others would let them go by.

ALTER TABLE wa_sessions.worker ADD COLUMN handles boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN wa_sessions.worker.handles IS 'Whether messages are handed to a handler. Of versions before 0009 that is not known.';
