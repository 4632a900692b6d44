-- One number, one lease: a row of the backend's that is deleted and made anew has another id, and is the same account.

ALTER TABLE wa_sessions.lease ADD COLUMN account text;
COMMENT ON COLUMN wa_sessions.lease.account IS 'The number with which the session runs, in its shortest spelling; NULL: of a version before 0012.';

CREATE INDEX lease_account ON wa_sessions.lease (account);
