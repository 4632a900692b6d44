-- What a worker needs to know whether a write of its went through, and others to know whether a session lives.

ALTER TABLE wa_sessions.health ADD COLUMN version bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN wa_sessions.health.version IS 'Grows with every write of the worker: after a connection that broke in a commit it tells whether that stands.';

ALTER TABLE wa_sessions.lease ADD COLUMN alive_at timestamptz;
COMMENT ON COLUMN wa_sessions.lease.alive_at IS 'The last sign of life of this very session: of its task and of the process that has its socket.';
