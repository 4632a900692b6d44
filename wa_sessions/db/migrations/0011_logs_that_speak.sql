ALTER TABLE wa_sessions.log_watch ADD COLUMN seen_at timestamptz, ADD COLUMN doubt_at timestamptz;
COMMENT ON COLUMN wa_sessions.log_watch.seen_at IS 'When the newest line was written that is the backend''s or its library''s for certain.';
COMMENT ON COLUMN wa_sessions.log_watch.doubt_at IS 'When that was written which makes the doubt; NULL where it is that nothing was written.';
