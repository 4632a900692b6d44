ALTER TABLE wa_sessions.log_watch ADD COLUMN doubt text;
COMMENT ON COLUMN wa_sessions.log_watch.doubt IS 'Why the logs do not tell how the phone is, although they were read; NULL: they do.';
