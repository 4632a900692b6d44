"""``creds``: what a linked device is, and the pairs of keys that it made."""

from dataclasses import dataclass, field
from typing import Any, Self

from wa_sessions.keys.fields import U32, Fields, Json, base64_text, merged

HIGHEST_PRE_KEY_ID = 0xFF_FFFF
"""Ids of pre-keys have three bytes on the wire."""


def buffer(data: bytes) -> Json:
    """Bytes as ``BufferJSON`` of both versions writes them."""
    return {"type": "Buffer", "data": base64_text(data)}


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """Both halves of a Curve25519 key; the public one has 32 bytes, or 33 with libsignal's mark before them."""

    private: bytes
    public: bytes
    rest: Json = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """From an object; raises BadKey. The object's other fields are the caller's to keep."""
        return cls(fields.octets("private", 32), fields.octets("public", 32, 33))

    def value(self) -> Json:
        """The object."""
        return merged({"private": buffer(self.private), "public": buffer(self.public)}, self.rest)


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """The phone's word that this device is one of its own (``ADVSignedDeviceIdentity``)."""

    details: bytes
    signature_key: bytes
    signature: bytes
    device_signature: bytes

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """From an object; raises BadKey."""
        return cls(
            fields.octets("details"),
            fields.octets("accountSignatureKey", 32),
            fields.octets("accountSignature", 64),
            fields.octets("deviceSignature", 64),
        )

    def value(self) -> Json:
        """The object, with base64 for bytes as protobuf.js has it."""
        return {
            "details": base64_text(self.details),
            "accountSignatureKey": base64_text(self.signature_key),
            "accountSignature": base64_text(self.signature),
            "deviceSignature": base64_text(self.device_signature),
        }


@dataclass(frozen=True, slots=True)
class Me:
    """Who the device belongs to: JIDs with the device, and the name that others see."""

    jid: str
    lid: str | None
    name: str | None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """From an object; raises BadKey."""
        return cls(fields.text("id"), fields.optional_text("lid"), fields.optional_text("name"))

    def value(self) -> Json:
        """The object."""
        return merged({"id": self.jid, "lid": self.lid, "name": self.name}, {})


@dataclass(frozen=True, slots=True, repr=False)
class Creds:
    """The row ``creds``. ``account`` and ``me`` are None before a phone has linked the device.

    ``next_pre_key_id`` is the id that the next pre-key gets; ids from ``first_unuploaded_pre_key_id`` on are not known
    to WhatsApp. ``rest`` holds what is only kept.
    """

    noise: KeyPair
    identity: KeyPair
    signed_pre_key: KeyPair
    signed_pre_key_id: int
    signed_pre_key_signature: bytes
    registration_id: int
    adv_secret: bytes
    next_pre_key_id: int
    first_unuploaded_pre_key_id: int
    account: Account | None = None
    me: Me | None = None
    platform: str | None = None
    app_state_key_id: str | None = None
    rest: Json = field(default_factory=dict)

    key = "creds"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        fields = Fields(payload, key)
        signed = fields.inner("signedPreKey")
        account, me = fields.optional_inner("account"), fields.optional_inner("me")
        return cls(
            noise=KeyPair.read(fields.inner("noiseKey")),
            identity=KeyPair.read(fields.inner("signedIdentityKey")),
            signed_pre_key=KeyPair.read(signed.inner("keyPair")),
            signed_pre_key_id=signed.integer("keyId", 0, HIGHEST_PRE_KEY_ID),
            signed_pre_key_signature=signed.octets("signature", 64),
            registration_id=fields.integer("registrationId", 0, U32),
            adv_secret=fields.octets("advSecretKey"),
            next_pre_key_id=fields.integer("nextPreKeyId", 0, HIGHEST_PRE_KEY_ID),
            first_unuploaded_pre_key_id=fields.integer("firstUnuploadedPreKeyId", 0, HIGHEST_PRE_KEY_ID),
            account=Account.read(account) if account else None,
            me=Me.read(me) if me else None,
            platform=fields.optional_text("platform"),
            app_state_key_id=fields.optional_text("myAppStateKeyId"),
            rest=fields.rest(),
        )

    def value(self) -> Json:
        """The row's value."""
        known = {
            "noiseKey": self.noise.value(),
            "signedIdentityKey": self.identity.value(),
            "signedPreKey": {
                "keyPair": self.signed_pre_key.value(),
                "signature": buffer(self.signed_pre_key_signature),
                "keyId": self.signed_pre_key_id,
            },
            "registrationId": self.registration_id,
            "advSecretKey": base64_text(self.adv_secret),
            "nextPreKeyId": self.next_pre_key_id,
            "firstUnuploadedPreKeyId": self.first_unuploaded_pre_key_id,
            "account": self.account and self.account.value(),
            "me": self.me and self.me.value(),
            "platform": self.platform,
            "myAppStateKeyId": self.app_state_key_id,
        }
        return merged(known, self.rest)
