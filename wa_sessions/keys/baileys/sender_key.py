"""``sender-key-…``: with what one device encrypts for a group, as Baileys serializes it."""

from dataclasses import dataclass, field
from typing import Any, Self

from wa_sessions.keys.device_address import Address
from wa_sessions.keys.fields import U32, BadKey, Fields, Json, merged, parse, written


@dataclass(frozen=True, slots=True, repr=False)
class MessageSeed:
    """For a message that was passed over and may still come."""

    iteration: int
    seed: bytes
    rest: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class SenderKeyState:
    """One sender key; ``iteration`` is that of the next message. A peer's has no private half (None, or empty in 7)."""

    key_id: int
    iteration: int
    seed: bytes
    public: bytes
    private: bytes | None
    message_seeds: tuple[MessageSeed, ...]
    rest: Json = field(default_factory=dict)

    @classmethod
    def read(cls, value: object, key: str) -> Self:
        """From an object; raises BadKey."""
        fields = Fields(value, key)
        chain, signing = fields.inner("senderChainKey"), fields.inner("senderSigningKey")
        return cls(
            key_id=fields.integer("senderKeyId"),
            iteration=chain.integer("iteration"),
            seed=chain.octets("seed", 32),
            public=signing.octets("public", 32, 33),
            private=signing.optional_octets("private", 32, 0),
            message_seeds=tuple(_message_seed(one, key) for one in fields.items("senderMessageKeys")),
            rest=fields.rest(),
        )

    def value(self) -> Json:
        """The object."""
        signing = {"public": _numbers(self.public), "private": None if self.private is None else _numbers(self.private)}
        known = {
            "senderKeyId": self.key_id,
            "senderChainKey": {"iteration": self.iteration, "seed": _numbers(self.seed)},
            "senderSigningKey": merged(signing, {}),
            "senderMessageKeys": [
                merged({"iteration": one.iteration, "seed": _numbers(one.seed)}, one.rest) for one in self.message_seeds
            ],
        }
        return merged(known, self.rest)


@dataclass(frozen=True, slots=True, repr=False)
class SenderKey:
    """A device's sender keys in a group, the newest last."""

    group: str
    address: Address
    states: tuple[SenderKeyState, ...]

    @property
    def key(self) -> str:
        """The row's name."""
        return f"sender-key-{self.group}::{self.address.name}::{self.address.device}"

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value, which is JSON in a Buffer; raises BadKey."""
        group, user, device = _parts(key)
        states = parse(payload, key) if isinstance(payload, bytes) else payload
        if not isinstance(states, list):
            raise BadKey(key, "its value is no list of sender keys")
        address = Address.of_baileys(f"{user}.{device}", key)
        return cls(group, address, tuple(SenderKeyState.read(state, key) for state in states))

    def value(self) -> bytes:
        """The row's value."""
        return written([state.value() for state in self.states])


def _parts(key: str) -> list[str]:
    parts = key.removeprefix("sender-key-").split("::")
    if len(parts) != 3 or not parts[0]:
        raise BadKey(key, "its name is not a group, a user and a device")
    return parts


def _message_seed(value: object, key: str) -> MessageSeed:
    fields = Fields(value, key, "senderMessageKeys.")
    return MessageSeed(fields.integer("iteration", 0, U32), fields.octets("seed", 32), fields.rest())


def _numbers(data: bytes) -> Json:
    """Bytes as JavaScript writes a Buffer by itself: this record is serialized without ``BufferJSON``."""
    return {"type": "Buffer", "data": list(data)}
