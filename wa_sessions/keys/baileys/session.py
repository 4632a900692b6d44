"""``session-…``: the Signal sessions with one device, as libsignal-node serializes them (version ``v1``).

A record holds several states, one for each time that a session was built; at most one is open. A chain is one turn of
the ratchet in one direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wa_sessions.keys.device_address import Address
from wa_sessions.keys.fields import (
    SAFE_INTEGER,
    U32,
    BadKey,
    Fields,
    Json,
    base64_text,
    merged,
    optional_base64,
    unbase64,
)

SENDING, RECEIVING = 1, 2
OURS, THEIRS = 1, 2
OPEN = -1


@dataclass(frozen=True, slots=True, repr=False)
class Chain:
    """``counter`` is that of the last message, -1 before the first; a closed chain has no ``key``.

    ``message_keys`` are seeds for messages that were passed over and may still come, by their counters.
    """

    kind: int
    counter: int
    key: bytes | None
    message_keys: Mapping[int, bytes]
    rest: Json = field(default_factory=dict)

    @classmethod
    def read(cls, value: object, key: str) -> Self:
        """From an object; raises BadKey."""
        fields = Fields(value, key, "_chains.")
        kind = fields.integer("chainType", SENDING, RECEIVING)
        inner = fields.inner("chainKey")
        counter, chain_key = inner.integer("counter", -1, U32 - 1), inner.optional_octets("key", 32)
        message_keys = {}
        for name, seed in fields.mapping("messageKeys").items():
            found = unbase64(seed) if isinstance(seed, str) else None
            if not (name.isascii() and name.isdigit() and len(name) < 11 and int(name) <= U32 and found):
                raise fields.bad("messageKeys", "holds what is no message key")
            message_keys[int(name)] = found
        return cls(kind, counter, chain_key, message_keys, fields.rest())

    def value(self) -> Json:
        """The object."""
        known = {
            "chainKey": merged({"counter": self.counter, "key": optional_base64(self.key)}, {}),
            "chainType": self.kind,
            "messageKeys": {str(counter): base64_text(seed) for counter, seed in self.message_keys.items()},
        }
        return merged(known, self.rest) if self.rest else known


@dataclass(frozen=True, slots=True, repr=False)
class PendingPreKey:
    """What every message repeats until the first answer: whose pre-keys the session was built with."""

    signed_key_id: int
    base_key: bytes
    pre_key_id: int | None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """From an object; raises BadKey."""
        return cls(fields.integer("signedKeyId"), fields.octets("baseKey", 33), fields.optional_integer("preKeyId"))

    def value(self) -> Json:
        """The object."""
        known = {"signedKeyId": self.signed_key_id, "baseKey": base64_text(self.base_key), "preKeyId": self.pre_key_id}
        return merged(known, {})


@dataclass(frozen=True, slots=True, repr=False)
class SessionState:
    """One session. ``closed`` is OPEN or when it was closed, ``used`` and ``created`` are moments too: Unix ms.

    ``chains`` are by the public ratchet key of who sends in them, the oldest first.
    """

    registration_id: int | None
    ratchet_public: bytes
    ratchet_private: bytes
    last_remote_key: bytes
    previous_counter: int
    root_key: bytes
    base_key: bytes
    base_key_type: int
    closed: int
    used: int
    created: int
    remote_identity: bytes
    chains: Mapping[bytes, Chain]
    pending: PendingPreKey | None
    rest: Json = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether messages are sent in it."""
        return self.closed == OPEN

    @classmethod
    def read(cls, value: object, key: str) -> Self:
        """From an object; raises BadKey."""
        fields = Fields(value, key, "_sessions.")
        ratchet, index = fields.inner("currentRatchet"), fields.inner("indexInfo")
        pair, pending = ratchet.inner("ephemeralKeyPair"), fields.optional_inner("pendingPreKey")
        return cls(
            registration_id=fields.optional_integer("registrationId"),
            ratchet_public=pair.octets("pubKey", 33),
            ratchet_private=pair.octets("privKey", 32),
            last_remote_key=ratchet.octets("lastRemoteEphemeralKey", 33),
            previous_counter=ratchet.integer("previousCounter", -1),
            root_key=ratchet.octets("rootKey", 32),
            base_key=index.octets("baseKey", 33),
            base_key_type=index.integer("baseKeyType", OURS, THEIRS),
            closed=index.integer("closed", OPEN, SAFE_INTEGER),
            used=index.optional_integer("used", OPEN, SAFE_INTEGER) or 0,
            created=index.optional_integer("created", OPEN, SAFE_INTEGER) or 0,
            remote_identity=index.octets("remoteIdentityKey", 33),
            chains={_public(name, key): Chain.read(chain, key) for name, chain in fields.mapping("_chains").items()},
            pending=PendingPreKey.read(pending) if pending else None,
            rest=fields.rest(),
        )

    def value(self) -> Json:
        """The object."""
        known = {
            "registrationId": self.registration_id,
            "currentRatchet": {
                "ephemeralKeyPair": {
                    "pubKey": base64_text(self.ratchet_public),
                    "privKey": base64_text(self.ratchet_private),
                },
                "lastRemoteEphemeralKey": base64_text(self.last_remote_key),
                "previousCounter": self.previous_counter,
                "rootKey": base64_text(self.root_key),
            },
            "indexInfo": {
                "baseKey": base64_text(self.base_key),
                "baseKeyType": self.base_key_type,
                "closed": self.closed,
                "used": self.used,
                "created": self.created,
                "remoteIdentityKey": base64_text(self.remote_identity),
            },
            "_chains": {base64_text(public): chain.value() for public, chain in self.chains.items()},
            "pendingPreKey": self.pending and self.pending.value(),
        }
        return merged(known, self.rest)


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """All sessions with one device, each under its own base key."""

    address: Address
    states: tuple[SessionState, ...]
    rest: Json = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The row's name."""
        return f"session-{self.address.baileys}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        address = Address.of_baileys(key.removeprefix("session-"), key)
        fields = Fields(payload, key)
        if fields.take("version") != "v1":
            raise fields.bad("version", "is not v1: start the phone once with Baileys 6.7, which writes it anew")
        states = []
        for name, value in fields.mapping("_sessions").items():
            states.append(SessionState.read(value, key))
            if base64_text(states[-1].base_key) != name:
                raise fields.bad("_sessions", "holds a session that is not under its own base key")
        return cls(address, tuple(states), fields.rest())

    def value(self) -> Json:
        """The row's value."""
        states = {base64_text(state.base_key): state.value() for state in self.states}
        return merged({"_sessions": states, "version": "v1"}, self.rest)


def _public(text: str, key: str) -> bytes:
    data = unbase64(text)
    if data is None or len(data) != 33 or base64_text(data) != text:
        raise BadKey(key, "_chains holds a chain that is not under a public key")
    return data
