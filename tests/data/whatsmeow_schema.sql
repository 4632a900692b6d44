-- What neonize 0.5.2 makes in an empty database (whatsmeow's schema version 15).
CREATE SCHEMA whatsmeow;
CREATE TABLE whatsmeow.whatsmeow_app_state_mutation_macs (
    jid text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    index_mac bytea NOT NULL,
    value_mac bytea NOT NULL,
    CONSTRAINT whatsmeow_app_state_mutation_macs_index_mac_check CHECK ((length(index_mac) = 32)),
    CONSTRAINT whatsmeow_app_state_mutation_macs_value_mac_check CHECK ((length(value_mac) = 32))
);
CREATE TABLE whatsmeow.whatsmeow_app_state_sync_keys (
    jid text NOT NULL,
    key_id bytea NOT NULL,
    key_data bytea NOT NULL,
    "timestamp" bigint NOT NULL,
    fingerprint bytea NOT NULL
);
CREATE TABLE whatsmeow.whatsmeow_app_state_version (
    jid text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT whatsmeow_app_state_version_hash_check CHECK ((length(hash) = 128))
);
CREATE TABLE whatsmeow.whatsmeow_chat_settings (
    our_jid text NOT NULL,
    chat_jid text NOT NULL,
    muted_until bigint DEFAULT 0 NOT NULL,
    pinned boolean DEFAULT false NOT NULL,
    archived boolean DEFAULT false NOT NULL
);
CREATE TABLE whatsmeow.whatsmeow_contacts (
    our_jid text NOT NULL,
    their_jid text NOT NULL,
    first_name text,
    full_name text,
    push_name text,
    business_name text,
    redacted_phone text
);
CREATE TABLE whatsmeow.whatsmeow_device (
    jid text NOT NULL,
    lid text,
    facebook_uuid uuid,
    registration_id bigint NOT NULL,
    noise_key bytea NOT NULL,
    identity_key bytea NOT NULL,
    signed_pre_key bytea NOT NULL,
    signed_pre_key_id integer NOT NULL,
    signed_pre_key_sig bytea NOT NULL,
    adv_key bytea NOT NULL,
    adv_details bytea NOT NULL,
    adv_account_sig bytea NOT NULL,
    adv_account_sig_key bytea NOT NULL,
    adv_device_sig bytea NOT NULL,
    platform text DEFAULT ''::text NOT NULL,
    business_name text DEFAULT ''::text NOT NULL,
    push_name text DEFAULT ''::text NOT NULL,
    lid_migration_ts bigint DEFAULT 0 NOT NULL,
    companion_meta_nonce text DEFAULT ''::text NOT NULL,
    CONSTRAINT whatsmeow_device_adv_account_sig_check CHECK ((length(adv_account_sig) = 64)),
    CONSTRAINT whatsmeow_device_adv_account_sig_key_check CHECK ((length(adv_account_sig_key) = 32)),
    CONSTRAINT whatsmeow_device_adv_device_sig_check CHECK ((length(adv_device_sig) = 64)),
    CONSTRAINT whatsmeow_device_identity_key_check CHECK ((length(identity_key) = 32)),
    CONSTRAINT whatsmeow_device_noise_key_check CHECK ((length(noise_key) = 32)),
    CONSTRAINT whatsmeow_device_registration_id_check CHECK (((registration_id >= 0) AND (registration_id < '4294967296'::bigint))),
    CONSTRAINT whatsmeow_device_signed_pre_key_check CHECK ((length(signed_pre_key) = 32)),
    CONSTRAINT whatsmeow_device_signed_pre_key_id_check CHECK (((signed_pre_key_id >= 0) AND (signed_pre_key_id < 16777216))),
    CONSTRAINT whatsmeow_device_signed_pre_key_sig_check CHECK ((length(signed_pre_key_sig) = 64))
);
CREATE TABLE whatsmeow.whatsmeow_event_buffer (
    our_jid text NOT NULL,
    ciphertext_hash bytea NOT NULL,
    plaintext bytea,
    server_timestamp bigint NOT NULL,
    insert_timestamp bigint NOT NULL,
    CONSTRAINT whatsmeow_event_buffer_ciphertext_hash_check CHECK ((length(ciphertext_hash) = 32))
);
CREATE TABLE whatsmeow.whatsmeow_identity_keys (
    our_jid text NOT NULL,
    their_id text NOT NULL,
    identity bytea NOT NULL,
    CONSTRAINT whatsmeow_identity_keys_identity_check CHECK ((length(identity) = 32))
);
CREATE TABLE whatsmeow.whatsmeow_lid_map (
    lid text NOT NULL,
    pn text NOT NULL
);
CREATE TABLE whatsmeow.whatsmeow_message_secrets (
    our_jid text NOT NULL,
    chat_jid text NOT NULL,
    sender_jid text NOT NULL,
    message_id text NOT NULL,
    key bytea NOT NULL
);
CREATE TABLE whatsmeow.whatsmeow_nct_salt (
    our_jid text NOT NULL,
    salt bytea NOT NULL
);
CREATE TABLE whatsmeow.whatsmeow_pre_keys (
    jid text NOT NULL,
    key_id integer NOT NULL,
    key bytea NOT NULL,
    uploaded boolean NOT NULL,
    CONSTRAINT whatsmeow_pre_keys_key_check CHECK ((length(key) = 32)),
    CONSTRAINT whatsmeow_pre_keys_key_id_check CHECK (((key_id >= 0) AND (key_id < 16777216)))
);
CREATE TABLE whatsmeow.whatsmeow_privacy_tokens (
    our_jid text NOT NULL,
    their_jid text NOT NULL,
    token bytea NOT NULL,
    "timestamp" bigint NOT NULL,
    sender_timestamp bigint
);
CREATE TABLE whatsmeow.whatsmeow_retry_buffer (
    our_jid text NOT NULL,
    chat_jid text NOT NULL,
    message_id text NOT NULL,
    format text NOT NULL,
    plaintext bytea NOT NULL,
    "timestamp" bigint NOT NULL
);
CREATE TABLE whatsmeow.whatsmeow_sender_keys (
    our_jid text NOT NULL,
    chat_id text NOT NULL,
    sender_id text NOT NULL,
    sender_key bytea NOT NULL
);
CREATE TABLE whatsmeow.whatsmeow_sessions (
    our_jid text NOT NULL,
    their_id text NOT NULL,
    session bytea
);
CREATE TABLE whatsmeow.whatsmeow_version (
    version integer,
    compat integer
);
ALTER TABLE ONLY whatsmeow.whatsmeow_app_state_mutation_macs
    ADD CONSTRAINT whatsmeow_app_state_mutation_macs_pkey PRIMARY KEY (jid, name, version, index_mac);
ALTER TABLE ONLY whatsmeow.whatsmeow_app_state_sync_keys
    ADD CONSTRAINT whatsmeow_app_state_sync_keys_pkey PRIMARY KEY (jid, key_id);
ALTER TABLE ONLY whatsmeow.whatsmeow_app_state_version
    ADD CONSTRAINT whatsmeow_app_state_version_pkey PRIMARY KEY (jid, name);
ALTER TABLE ONLY whatsmeow.whatsmeow_chat_settings
    ADD CONSTRAINT whatsmeow_chat_settings_pkey PRIMARY KEY (our_jid, chat_jid);
ALTER TABLE ONLY whatsmeow.whatsmeow_contacts
    ADD CONSTRAINT whatsmeow_contacts_pkey PRIMARY KEY (our_jid, their_jid);
ALTER TABLE ONLY whatsmeow.whatsmeow_device
    ADD CONSTRAINT whatsmeow_device_pkey PRIMARY KEY (jid);
ALTER TABLE ONLY whatsmeow.whatsmeow_event_buffer
    ADD CONSTRAINT whatsmeow_event_buffer_pkey PRIMARY KEY (our_jid, ciphertext_hash);
ALTER TABLE ONLY whatsmeow.whatsmeow_identity_keys
    ADD CONSTRAINT whatsmeow_identity_keys_pkey PRIMARY KEY (our_jid, their_id);
ALTER TABLE ONLY whatsmeow.whatsmeow_lid_map
    ADD CONSTRAINT whatsmeow_lid_map_pkey PRIMARY KEY (lid);
ALTER TABLE ONLY whatsmeow.whatsmeow_lid_map
    ADD CONSTRAINT whatsmeow_lid_map_pn_key UNIQUE (pn);
ALTER TABLE ONLY whatsmeow.whatsmeow_message_secrets
    ADD CONSTRAINT whatsmeow_message_secrets_pkey PRIMARY KEY (our_jid, chat_jid, sender_jid, message_id);
ALTER TABLE ONLY whatsmeow.whatsmeow_nct_salt
    ADD CONSTRAINT whatsmeow_nct_salt_pkey PRIMARY KEY (our_jid);
ALTER TABLE ONLY whatsmeow.whatsmeow_pre_keys
    ADD CONSTRAINT whatsmeow_pre_keys_pkey PRIMARY KEY (jid, key_id);
ALTER TABLE ONLY whatsmeow.whatsmeow_privacy_tokens
    ADD CONSTRAINT whatsmeow_privacy_tokens_pkey PRIMARY KEY (our_jid, their_jid);
ALTER TABLE ONLY whatsmeow.whatsmeow_retry_buffer
    ADD CONSTRAINT whatsmeow_retry_buffer_pkey PRIMARY KEY (our_jid, chat_jid, message_id);
ALTER TABLE ONLY whatsmeow.whatsmeow_sender_keys
    ADD CONSTRAINT whatsmeow_sender_keys_pkey PRIMARY KEY (our_jid, chat_id, sender_id);
ALTER TABLE ONLY whatsmeow.whatsmeow_sessions
    ADD CONSTRAINT whatsmeow_sessions_pkey PRIMARY KEY (our_jid, their_id);
CREATE INDEX idx_whatsmeow_privacy_tokens_our_jid_timestamp ON whatsmeow.whatsmeow_privacy_tokens USING btree (our_jid, "timestamp");
CREATE INDEX whatsmeow_retry_buffer_timestamp_idx ON whatsmeow.whatsmeow_retry_buffer USING btree (our_jid, "timestamp");
ALTER TABLE ONLY whatsmeow.whatsmeow_app_state_mutation_macs
    ADD CONSTRAINT whatsmeow_app_state_mutation_macs_jid_name_fkey FOREIGN KEY (jid, name) REFERENCES whatsmeow.whatsmeow_app_state_version(jid, name) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_app_state_sync_keys
    ADD CONSTRAINT whatsmeow_app_state_sync_keys_jid_fkey FOREIGN KEY (jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_app_state_version
    ADD CONSTRAINT whatsmeow_app_state_version_jid_fkey FOREIGN KEY (jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_chat_settings
    ADD CONSTRAINT whatsmeow_chat_settings_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_contacts
    ADD CONSTRAINT whatsmeow_contacts_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_event_buffer
    ADD CONSTRAINT whatsmeow_event_buffer_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_identity_keys
    ADD CONSTRAINT whatsmeow_identity_keys_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_message_secrets
    ADD CONSTRAINT whatsmeow_message_secrets_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_nct_salt
    ADD CONSTRAINT whatsmeow_nct_salt_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_pre_keys
    ADD CONSTRAINT whatsmeow_pre_keys_jid_fkey FOREIGN KEY (jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_retry_buffer
    ADD CONSTRAINT whatsmeow_retry_buffer_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_sender_keys
    ADD CONSTRAINT whatsmeow_sender_keys_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
ALTER TABLE ONLY whatsmeow.whatsmeow_sessions
    ADD CONSTRAINT whatsmeow_sessions_our_jid_fkey FOREIGN KEY (our_jid) REFERENCES whatsmeow.whatsmeow_device(jid) ON UPDATE CASCADE ON DELETE CASCADE;
INSERT INTO whatsmeow.whatsmeow_version VALUES (15, 8);
