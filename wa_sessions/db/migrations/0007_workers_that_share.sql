-- Workers that share the phones: whose lease stands is told by the worker's own row, which alone is renewed.

ALTER TABLE wa_sessions.worker
    ADD COLUMN boot_id       text,
    ADD COLUMN pid_namespace text,
    ADD COLUMN pid_started   bigint,
    ADD COLUMN lease_seconds double precision,
    ADD COLUMN scope         text,
    ADD COLUMN draining      boolean NOT NULL DEFAULT false,
    ADD COLUMN hosts         integer;
COMMENT ON COLUMN wa_sessions.worker.pid_started IS 'With host, boot, pid namespace and pid: which process it is. In clock ticks since the boot.';
COMMENT ON COLUMN wa_sessions.worker.lease_seconds IS 'Silence after which its phones may be taken; NULL: a version before 0007, whose leases end by themselves.';
COMMENT ON COLUMN wa_sessions.worker.scope IS 'Which phones it shares with workers of the same scope: all, or org:N; NULL: the phones it was given by name.';
COMMENT ON COLUMN wa_sessions.worker.draining IS 'An operator wants it to give its phones to others and to take none.';

ALTER TABLE wa_sessions.lease
    ADD COLUMN taken_at     timestamptz,
    ADD COLUMN wanted_by    uuid,
    ADD COLUMN wanted_until timestamptz;
COMMENT ON COLUMN wa_sessions.lease.expires_at IS 'infinity: for as long as the worker renews its own row. Else the end: by release, or of a version before 0007.';
COMMENT ON COLUMN wa_sessions.lease.alive_at IS 'The last sign of life of this very session, of its task and of the process that has its socket; NULL: it has one now, as its worker has.';
COMMENT ON COLUMN wa_sessions.lease.wanted_by IS 'The worker that an operator wants to have the phone, until wanted_until.';

CREATE INDEX lease_worker ON wa_sessions.lease (worker_id);
