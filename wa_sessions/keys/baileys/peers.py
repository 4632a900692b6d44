"""What a phone knows of those it talks to, beside its sessions (most of it Baileys 7 alone)."""

from dataclasses import dataclass, field
from typing import Any, Final, Self

from wa_sessions.keys.baileys.app_state import long_integer
from wa_sessions.keys.baileys.creds import HIGHEST_PRE_KEY_ID, KeyPair, buffer
from wa_sessions.keys.device_address import Address, is_user
from wa_sessions.keys.fields import I64, BadKey, Fields, Json, merged, parse, written

_REVERSE = "_reverse"
_INDEX: Final = "__index"


@dataclass(frozen=True, slots=True, repr=False)
class PreKey:
    """A one-time key that a peer may begin a session with."""

    id: int
    pair: KeyPair

    @property
    def key(self) -> str:
        """The row's name."""
        return f"pre-key-{self.id}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        name = key.removeprefix("pre-key-")
        if not (name.isascii() and name.isdigit() and len(name) < 9 and name == str(int(name))):
            raise BadKey(key, "its name is no number of a pre-key")
        if int(name) > HIGHEST_PRE_KEY_ID:
            raise BadKey(key, "its number has more than three bytes")
        fields = Fields(payload, key)
        pair = KeyPair.read(fields)
        return cls(int(name), KeyPair(pair.private, pair.public, fields.rest()))

    def value(self) -> Json:
        """The row's value."""
        return self.pair.value()


@dataclass(frozen=True, slots=True)
class SenderKeyMemory:
    """Which devices of a group hold our sender key."""

    group: str
    devices: Json

    @property
    def key(self) -> str:
        """The row's name."""
        return f"sender-key-memory-{self.group}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        return cls(key.removeprefix("sender-key-memory-"), Fields(payload, key).rest())

    def value(self) -> Json:
        """The row's value."""
        return self.devices


@dataclass(frozen=True, slots=True)
class LidMapping:
    """One direction of the map between a phone number and a LID; ``is_reverse``: ``user`` is the LID."""

    user: str
    other: str
    is_reverse: bool

    @property
    def key(self) -> str:
        """The row's name."""
        return f"lid-mapping-{self.user}{_REVERSE if self.is_reverse else ''}"

    @property
    def lid(self) -> str:
        """The LID."""
        return self.user if self.is_reverse else self.other

    @property
    def number(self) -> str:
        """The phone number."""
        return self.other if self.is_reverse else self.user

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        name = key.removeprefix("lid-mapping-")
        user = name.removesuffix(_REVERSE)
        if not (isinstance(payload, str) and is_user(user) and is_user(payload)):
            raise BadKey(key, "it does not map a phone number and a LID")
        return cls(user, payload, user != name)

    def value(self) -> str:
        """The row's value."""
        return self.other


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The numbers of a user's devices."""

    user: str
    devices: tuple[str, ...]

    @property
    def key(self) -> str:
        """The row's name."""
        return f"device-list-{self.user}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        if not (isinstance(payload, list) and all(isinstance(device, str) for device in payload)):
            raise BadKey(key, "its value is no list of devices")
        return cls(key.removeprefix("device-list-"), tuple(payload))

    def value(self) -> list[str]:
        """The row's value."""
        return list(self.devices)


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A peer's privacy token; the moments when theirs came and ours went are Unix seconds. ``token`` may be empty."""

    jid: str
    token: bytes
    timestamp: int | None
    sender_timestamp: int | None
    rest: Json = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The row's name."""
        return f"tctoken-{self.jid}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        fields = Fields(payload, key)
        timestamp = long_integer(fields, "timestamp")
        sent = fields.optional_integer("senderTimestamp", 0, I64)
        return cls(key.removeprefix("tctoken-"), fields.optional_octets("token") or b"", timestamp, sent, fields.rest())

    def value(self) -> Json:
        """The row's value."""
        timestamp = None if self.timestamp is None else str(self.timestamp)
        known = {"token": buffer(self.token), "timestamp": timestamp, "senderTimestamp": self.sender_timestamp}
        return merged(known, self.rest)


@dataclass(frozen=True, slots=True)
class TokenIndex:
    """The JIDs whose tokens Baileys 7 looks through for old ones."""

    jids: tuple[str, ...]

    key = f"tctoken-{_INDEX}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        jids = parse(Fields(payload, key).octets("token"), key)
        if not (isinstance(jids, list) and all(isinstance(jid, str) for jid in jids)):
            raise BadKey(key, "its value is no list of JIDs")
        return cls(tuple(jids))

    def value(self) -> Json:
        """The row's value."""
        return {"token": buffer(written(list(self.jids)))}


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """The public identity key of a device, with libsignal's mark before it."""

    address: Address
    public: bytes

    @property
    def key(self) -> str:
        """The row's name."""
        return f"identity-key-{self.address.baileys}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        if not (isinstance(payload, bytes) and len(payload) == 33):
            raise BadKey(key, "its value is not a public key of 33 bytes")
        return cls(Address.of_baileys(key.removeprefix("identity-key-"), key), payload)

    def value(self) -> bytes:
        """The row's value."""
        return self.public
