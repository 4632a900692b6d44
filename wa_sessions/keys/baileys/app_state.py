"""``app-state-sync-key-…`` and ``app-state-sync-version-…``: the account's settings and how far they are synced."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wa_sessions.keys.baileys.creds import buffer
from wa_sessions.keys.fields import I64, SAFE_INTEGER, U32, BadKey, Fields, Json, base64_text, merged, unbase64


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Which devices a key of the app state was made for (``AppStateSyncKeyFingerprint``)."""

    raw_id: int | None = None
    current_index: int | None = None
    device_indexes: tuple[int, ...] = ()
    rest: Json = field(default_factory=dict)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """From an object; raises BadKey."""
        indexes = fields.items("deviceIndexes")
        if not all(type(index) is int and 0 <= index <= U32 for index in indexes):
            raise fields.bad("deviceIndexes", "holds what is no number of a device")
        return cls(fields.optional_integer("rawId"), fields.optional_integer("currentIndex"), tuple(indexes))

    def value(self) -> Json:
        """The object."""
        indexes = list(self.device_indexes)
        return merged({"rawId": self.raw_id, "currentIndex": self.current_index, "deviceIndexes": indexes}, {})


@dataclass(frozen=True, slots=True, repr=False)
class AppStateKey:
    """A key that the phone shared; ``timestamp`` is when it made it, Unix ms."""

    id: bytes
    data: bytes
    timestamp: int
    fingerprint: Fingerprint
    rest: Json = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The row's name."""
        return f"app-state-sync-key-{base64_text(self.id)}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        name = key.removeprefix("app-state-sync-key-")
        key_id = unbase64(name) if name.isascii() else None
        if not key_id or base64_text(key_id) != name:
            raise BadKey(key, "its name is no id of a key in base64")
        fields = Fields(payload, key)
        fingerprint = fields.optional_inner("fingerprint")
        return cls(
            id=key_id,
            data=fields.octets("keyData"),
            timestamp=long_integer(fields, "timestamp") or 0,
            fingerprint=Fingerprint.read(fingerprint) if fingerprint else Fingerprint(),
            rest=fields.rest(),
        )

    def value(self) -> Json:
        """The row's value, with base64 for bytes and text for a long number as protobuf.js has it."""
        known = {
            "keyData": base64_text(self.data),
            "fingerprint": self.fingerprint.value(),
            "timestamp": str(self.timestamp),
        }
        return merged(known, self.rest)


@dataclass(frozen=True, slots=True, repr=False)
class AppStateVersion:
    """How far a collection is synced, its hash, and the MAC of each value by that of its index."""

    name: str
    version: int
    hash: bytes
    value_macs: Mapping[bytes, bytes]
    rest: Json = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The row's name."""
        return f"app-state-sync-version-{self.name}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        fields = Fields(payload, key)
        version, state = fields.integer("version", 0, SAFE_INTEGER), fields.octets("hash", 128)
        value_macs, kept = {}, {}
        for name, entry in fields.mapping("indexValueMap").items():
            index = unbase64(name) if name.isascii() else None
            inner = Fields(entry, key, "indexValueMap.")
            if index is None or len(index) != 32 or base64_text(index) != name:
                raise fields.bad("indexValueMap", "holds what is not under the MAC of an index")
            value_macs[index] = inner.octets("valueMac", 32)
            if left := inner.rest():
                kept[name] = left
        rest = fields.rest() | ({"indexValueMap": kept} if kept else {})
        return cls(key.removeprefix("app-state-sync-version-"), version, state, value_macs, rest)

    def value(self) -> Json:
        """The row's value."""
        macs = {base64_text(index): {"valueMac": buffer(mac)} for index, mac in self.value_macs.items()}
        return merged({"version": self.version, "hash": buffer(self.hash), "indexValueMap": macs}, self.rest)


def long_integer(fields: Fields, name: str) -> int | None:
    """A number of 64 bits as protobuf.js and ``Long`` write it: as text, a number, or two halves; None: absent."""
    value = fields.take(name)
    match value:
        case None:
            return None
        case str() if value.isascii() and value.isdigit() and len(value) <= 19:
            number = int(value)
        case int() if not isinstance(value, bool):
            number = value
        case {"low": int(low), "high": int(high)}:
            number = (high << 32) + (low & U32)
        case _:
            raise fields.bad(name, "is no whole number")
    if not 0 <= number <= I64:
        raise fields.bad(name, "is not within 0 and 2^63")
    return number
