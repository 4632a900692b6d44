"""``whatsmeow_sessions``: the Signal sessions with one device, JSON with the names of Go's fields.

libsignal for Go serializes its records so (``serialize.NewJSONSerializer``); bytes are base64.
"""

from dataclasses import dataclass, field
from typing import Self

from wa_sessions.keys.device_address import Address
from wa_sessions.keys.fields import U32, Fields, Json, base64_text, merged, optional_base64, parse, written

NO_COUNTER = U32
"""A ``previous_counter`` of -1: the count is unsigned in Go."""


@dataclass(frozen=True, slots=True, repr=False)
class MessageKeys:
    """What decrypts one message that was passed over and may still come."""

    cipher_key: bytes
    mac_key: bytes
    iv: bytes
    index: int

    @classmethod
    def read(cls, value: object, key: str) -> Self:
        """From an object; raises BadKey."""
        fields = Fields(value, key, "MessageKeys.")
        return cls(
            fields.octets("CipherKey", 32),
            fields.octets("MacKey", 32),
            fields.octets("IV", 16),
            fields.integer("Index"),
        )

    def value(self) -> Json:
        """The object."""
        return {
            "CipherKey": base64_text(self.cipher_key),
            "MacKey": base64_text(self.mac_key),
            "IV": base64_text(self.iv),
            "Index": self.index,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Chain:
    """One turn of the ratchet in one direction; ``index`` is that of the next message. Closed chains have no key."""

    public: bytes
    private: bytes | None
    key: bytes | None
    index: int
    message_keys: tuple[MessageKeys, ...] = ()
    rest: Json = field(default_factory=dict)

    @classmethod
    def read(cls, value: object, key: str) -> Self:
        """From an object; raises BadKey."""
        fields = Fields(value, key, "a chain's ")
        inner = fields.inner("ChainKey")
        return cls(
            public=fields.octets("SenderRatchetKeyPublic", 33),
            private=fields.optional_octets("SenderRatchetKeyPrivate", 32, 0),
            key=inner.optional_octets("Key", 32, 0),
            index=inner.integer("Index"),
            message_keys=tuple([MessageKeys.read(one, key) for one in fields.items("MessageKeys")]),
            rest=fields.rest(),
        )

    def value(self) -> Json:
        """The object."""
        known = {
            "SenderRatchetKeyPublic": base64_text(self.public),
            "SenderRatchetKeyPrivate": optional_base64(self.private),
            "ChainKey": {"Key": optional_base64(self.key), "Index": self.index},
            "MessageKeys": [keys.value() for keys in self.message_keys],
        }
        return known | merged(known, self.rest) if self.rest else known


@dataclass(frozen=True, slots=True, repr=False)
class PendingPreKey:
    """What every message repeats until the first answer: whose pre-keys the session was built with."""

    pre_key_id: int | None
    signed_pre_key_id: int
    base_key: bytes

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """From an object; raises BadKey."""
        pre_key = fields.optional_inner("PreKeyID")
        value, is_empty = (pre_key.integer("Value"), pre_key.boolean("IsEmpty")) if pre_key else (0, True)
        return cls(None if is_empty else value, fields.integer("SignedPreKeyID"), fields.octets("BaseKey", 33))

    def value(self) -> Json:
        """The object."""
        return {
            "PreKeyID": {"Value": self.pre_key_id or 0, "IsEmpty": self.pre_key_id is None},
            "SignedPreKeyID": self.signed_pre_key_id,
            "BaseKey": base64_text(self.base_key),
        }


@dataclass(frozen=True, slots=True, repr=False)
class SessionState:
    """One session; ``receivers`` are the peer's chains, the newest last. A key that was never set is None."""

    local_identity: bytes
    local_registration_id: int
    remote_identity: bytes
    remote_registration_id: int
    base_key: bytes
    root_key: bytes
    previous_counter: int
    sender: Chain | None
    receivers: tuple[Chain, ...]
    pending: PendingPreKey | None = None
    needs_refresh: bool = False
    version: int = 3
    rest: Json = field(default_factory=dict)

    @classmethod
    def read(cls, value: object, key: str) -> Self:
        """From an object; raises BadKey."""
        fields = Fields(value, key, "a session's ")
        sender, pending = fields.take("SenderChain"), fields.optional_inner("PendingPreKey")
        fields.optional_inner("PendingKeyExchange")  # of a handshake that WhatsApp does not use
        return cls(
            local_identity=fields.octets("LocalIdentityPublic", 33),
            local_registration_id=fields.integer("LocalRegistrationID"),
            remote_identity=fields.octets("RemoteIdentityPublic", 33),
            remote_registration_id=fields.integer("RemoteRegistrationID"),
            base_key=fields.octets("SenderBaseKey", 33),
            root_key=fields.octets("RootKey", 32),
            previous_counter=fields.integer("PreviousCounter"),
            sender=None if sender is None else Chain.read(sender, key),
            receivers=tuple([Chain.read(one, key) for one in fields.items("ReceiverChains")]),
            pending=PendingPreKey.read(pending) if pending else None,
            needs_refresh=fields.boolean("NeedsRefresh"),
            version=fields.integer("SessionVersion"),
            rest=fields.rest(),
        )

    def value(self) -> Json:
        """The object, its names in Go's order."""
        known = {
            "LocalIdentityPublic": base64_text(self.local_identity),
            "LocalRegistrationID": self.local_registration_id,
            "NeedsRefresh": self.needs_refresh,
            "PendingKeyExchange": None,
            "PendingPreKey": self.pending and self.pending.value(),
            "PreviousCounter": self.previous_counter,
            "ReceiverChains": [chain.value() for chain in self.receivers],
            "RemoteIdentityPublic": base64_text(self.remote_identity),
            "RemoteRegistrationID": self.remote_registration_id,
            "RootKey": base64_text(self.root_key),
            "SenderBaseKey": base64_text(self.base_key),
            "SenderChain": self.sender and self.sender.value(),
            "SessionVersion": self.version,
        }
        return known | merged(known, self.rest) if self.rest else known


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """All sessions with one device: the one that messages are sent in, and earlier ones, latest used first."""

    address: Address
    current: SessionState
    previous: tuple[SessionState, ...] = ()
    rest: Json = field(default_factory=dict)

    @property
    def states(self) -> tuple[SessionState, ...]:
        """All of them, in the order in which Go tries them."""
        return (self.current, *self.previous)

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        columns = Fields(row, "whatsmeow_sessions")
        their_id = columns.text("their_id")
        key = f"session {their_id}"
        address = Address.of_whatsmeow(their_id, key)
        fields = Fields(parse(Fields(row, key).octets("session"), key), key)
        current = SessionState.read(fields.take("SessionState"), key)
        previous = tuple(SessionState.read(one, key) for one in fields.items("PreviousStates"))
        return cls(address, current, previous, fields.rest())

    def row(self) -> Json:
        """The columns, without the device's."""
        known = {
            "SessionState": self.current.value(),
            "PreviousStates": [state.value() for state in self.previous],
        }
        return {"their_id": self.address.whatsmeow, "session": written(merged(known, self.rest))}
