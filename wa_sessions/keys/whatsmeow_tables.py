"""The tables of whatsmeow's store (schema version 15) that hold rows of one device."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreTable:
    """A table, the column that names its device, its primary key, and its key type as Baileys would name it."""

    name: str
    owner: str
    key: tuple[str, ...]
    kind: str


DEVICE = StoreTable("whatsmeow_device", "jid", ("jid",), "creds")
SESSIONS = StoreTable("whatsmeow_sessions", "our_jid", ("our_jid", "their_id"), "session")
SENDER_KEYS = StoreTable("whatsmeow_sender_keys", "our_jid", ("our_jid", "chat_id", "sender_id"), "sender-key")
VERSIONS = StoreTable("whatsmeow_app_state_version", "jid", ("jid", "name"), "app-state-sync-version")
PRE_KEYS = StoreTable("whatsmeow_pre_keys", "jid", ("jid", "key_id"), "pre-key")
MUTATION_MACS = StoreTable(
    "whatsmeow_app_state_mutation_macs", "jid", ("jid", "name", "version", "index_mac"), "app-state-mutation-mac"
)

TABLES: tuple[StoreTable, ...] = (
    MUTATION_MACS,
    VERSIONS,
    StoreTable("whatsmeow_app_state_sync_keys", "jid", ("jid", "key_id"), "app-state-sync-key"),
    SESSIONS,
    SENDER_KEYS,
    PRE_KEYS,
    StoreTable("whatsmeow_identity_keys", "our_jid", ("our_jid", "their_id"), "identity-key"),
    StoreTable("whatsmeow_contacts", "our_jid", ("our_jid", "their_jid"), "contact"),
    StoreTable("whatsmeow_chat_settings", "our_jid", ("our_jid", "chat_jid"), "chat-setting"),
    StoreTable(
        "whatsmeow_message_secrets", "our_jid", ("our_jid", "chat_jid", "sender_jid", "message_id"), "message-secret"
    ),
    StoreTable("whatsmeow_privacy_tokens", "our_jid", ("our_jid", "their_jid"), "privacy-token"),
    StoreTable("whatsmeow_nct_salt", "our_jid", ("our_jid",), "nct-salt"),
    StoreTable("whatsmeow_event_buffer", "our_jid", ("our_jid", "ciphertext_hash"), "buffered-event"),
    StoreTable("whatsmeow_retry_buffer", "our_jid", ("our_jid", "chat_jid", "message_id"), "buffered-retry"),
    DEVICE,
)
"""In the order in which rows can be deleted: children first, the device last. Restoring goes backwards."""
