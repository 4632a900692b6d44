"""The tables of whatsmeow's store whose columns are plain values. A record has all columns but the device's JID."""

from dataclasses import dataclass
from typing import Any, Self

from wa_sessions.keys.baileys.creds import HIGHEST_PRE_KEY_ID
from wa_sessions.keys.device_address import Address, is_user
from wa_sessions.keys.fields import I64, Fields, Json


class _Columns:
    """A record whose fields are columns."""

    __slots__: tuple[str, ...] = ()

    def row(self) -> Json:
        """The columns, without the device's JID where that is another's."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, repr=False)
class Device(_Columns):
    """``whatsmeow_device``: a linked device; of its own keys only the private halves."""

    jid: str
    lid: str | None
    registration_id: int
    noise_key: bytes
    identity_key: bytes
    signed_pre_key: bytes
    signed_pre_key_id: int
    signed_pre_key_sig: bytes
    adv_key: bytes
    adv_details: bytes
    adv_account_sig: bytes
    adv_account_sig_key: bytes
    adv_device_sig: bytes
    platform: str = ""
    business_name: str = ""
    push_name: str = ""
    lid_migration_ts: int = 0
    companion_meta_nonce: str = ""
    facebook_uuid: Any = None

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        fields = Fields(row, "whatsmeow_device")
        return cls(
            jid=fields.text("jid"),
            lid=fields.optional_text("lid") or None,
            registration_id=fields.integer("registration_id"),
            noise_key=fields.octets("noise_key", 32),
            identity_key=fields.octets("identity_key", 32),
            signed_pre_key=fields.octets("signed_pre_key", 32),
            signed_pre_key_id=fields.integer("signed_pre_key_id", 0, HIGHEST_PRE_KEY_ID),
            signed_pre_key_sig=fields.octets("signed_pre_key_sig", 64),
            adv_key=fields.octets("adv_key"),
            adv_details=fields.octets("adv_details"),
            adv_account_sig=fields.octets("adv_account_sig", 64),
            adv_account_sig_key=fields.octets("adv_account_sig_key", 32),
            adv_device_sig=fields.octets("adv_device_sig", 64),
            platform=fields.optional_text("platform") or "",
            business_name=fields.optional_text("business_name") or "",
            push_name=fields.optional_text("push_name") or "",
            lid_migration_ts=fields.optional_integer("lid_migration_ts", 0, I64) or 0,
            companion_meta_nonce=fields.optional_text("companion_meta_nonce") or "",
            facebook_uuid=fields.take("facebook_uuid"),
        )


@dataclass(frozen=True, slots=True, repr=False)
class IdentityKey:
    """``whatsmeow_identity_keys``: the public identity key of a device, 32 bytes."""

    address: Address
    identity: bytes

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        fields = Fields(row, "whatsmeow_identity_keys")
        their_id = fields.text("their_id")
        return cls(Address.of_whatsmeow(their_id, f"identity-key {their_id}"), fields.octets("identity", 32))

    def row(self) -> Json:
        """The columns, without the device's."""
        return {"their_id": self.address.whatsmeow, "identity": self.identity}


@dataclass(frozen=True, slots=True, repr=False)
class PreKey(_Columns):
    """``whatsmeow_pre_keys``: the private half of a one-time key; ``uploaded``: WhatsApp gives it to peers."""

    key_id: int
    key: bytes
    uploaded: bool

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        fields = Fields(row, "whatsmeow_pre_keys")
        key_id = fields.integer("key_id", 0, HIGHEST_PRE_KEY_ID)
        return cls(key_id, fields.octets("key", 32), fields.boolean("uploaded"))


@dataclass(frozen=True, slots=True, repr=False)
class AppStateKey(_Columns):
    """``whatsmeow_app_state_sync_keys``; ``fingerprint`` is protobuf, ``timestamp`` Unix ms."""

    key_id: bytes
    key_data: bytes
    timestamp: int
    fingerprint: bytes

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        fields = Fields(row, "whatsmeow_app_state_sync_keys")
        timestamp = fields.integer("timestamp", -I64 - 1, I64)
        return cls(fields.octets("key_id"), fields.octets("key_data"), timestamp, fields.octets("fingerprint"))


@dataclass(frozen=True, slots=True, repr=False)
class AppStateVersion(_Columns):
    """``whatsmeow_app_state_version``: how far a collection is synced, and its hash."""

    name: str
    version: int
    hash: bytes

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        fields = Fields(row, "whatsmeow_app_state_version")
        return cls(fields.text("name"), fields.integer("version", 0, I64), fields.octets("hash", 128))


@dataclass(frozen=True, slots=True, repr=False)
class MutationMac(_Columns):
    """``whatsmeow_app_state_mutation_macs``: the MAC of a value by that of its index, and the patch that set it."""

    name: str
    version: int
    index_mac: bytes
    value_mac: bytes

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        fields = Fields(row, "whatsmeow_app_state_mutation_macs")
        name, version = fields.text("name"), fields.integer("version", 0, I64)
        return cls(name, version, fields.octets("index_mac", 32), fields.octets("value_mac", 32))


@dataclass(frozen=True, slots=True)
class LidPair(_Columns):
    """``whatsmeow_lid_map``: a LID and the phone number behind it. The table belongs to no device."""

    lid: str
    pn: str

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        fields = Fields(row, "whatsmeow_lid_map")
        lid, pn = fields.text("lid"), fields.text("pn")
        if not (is_user(lid) and is_user(pn)):
            raise fields.bad("lid", "and pn are no LID and no phone number")
        return cls(lid, pn)


@dataclass(frozen=True, slots=True, repr=False)
class PrivacyToken(_Columns):
    """``whatsmeow_privacy_tokens``; when theirs came and ours went: Unix seconds."""

    their_jid: str
    token: bytes
    timestamp: int
    sender_timestamp: int | None = None

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        fields = Fields(row, "whatsmeow_privacy_tokens")
        timestamp, sent = fields.integer("timestamp", 0, I64), fields.optional_integer("sender_timestamp", 0, I64)
        return cls(fields.text("their_jid"), fields.octets("token"), timestamp, sent)
