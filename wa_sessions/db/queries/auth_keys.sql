-- name: key_type
CASE
    WHEN "key" = 'creds' THEN 'creds'
    WHEN starts_with("key", 'session-') THEN 'session'
    WHEN starts_with("key", 'pre-key-') THEN 'pre-key'
    WHEN starts_with("key", 'sender-key-memory-') THEN 'sender-key-memory'
    WHEN starts_with("key", 'sender-key-') THEN 'sender-key'
    WHEN starts_with("key", 'app-state-sync-version-') THEN 'app-state-sync-version'
    WHEN starts_with("key", 'app-state-sync-key-') THEN 'app-state-sync-key'
    WHEN starts_with("key", 'lid-mapping-') THEN 'lid-mapping'
    WHEN starts_with("key", 'device-list-') THEN 'device-list'
    WHEN starts_with("key", 'tctoken-') THEN 'tctoken'
    WHEN starts_with("key", 'identity-key-') THEN 'identity-key'
    ELSE 'other'
END
