"""``whatsmeow_sender_keys``: with what one device encrypts for a group, JSON with the names of Go's fields."""

from dataclasses import dataclass, field
from typing import Self

from wa_sessions.keys.device_address import Address
from wa_sessions.keys.fields import Fields, Json, base64_text, merged, optional_base64, parse, written


@dataclass(frozen=True, slots=True, repr=False)
class MessageKey:
    """What decrypts one message that was passed over and may still come, and the seed that it was made from."""

    iteration: int
    iv: bytes
    cipher_key: bytes
    seed: bytes

    @classmethod
    def read(cls, value: object, key: str) -> Self:
        """From an object; raises BadKey."""
        fields = Fields(value, key, "Keys.")
        return cls(
            fields.integer("Iteration"),
            fields.octets("IV", 16),
            fields.octets("CipherKey", 32),
            fields.octets("Seed", 32),
        )

    def value(self) -> Json:
        """The object."""
        return {
            "Iteration": self.iteration,
            "IV": base64_text(self.iv),
            "CipherKey": base64_text(self.cipher_key),
            "Seed": base64_text(self.seed),
        }


@dataclass(frozen=True, slots=True, repr=False)
class SenderKeyState:
    """One sender key; ``iteration`` is that of the next message. A peer's has no private half, or one of zeros."""

    key_id: int
    iteration: int
    chain_key: bytes
    public: bytes
    private: bytes | None
    message_keys: tuple[MessageKey, ...] = ()
    rest: Json = field(default_factory=dict)

    @classmethod
    def read(cls, value: object, key: str) -> Self:
        """From an object; raises BadKey."""
        fields = Fields(value, key)
        chain = fields.inner("SenderChainKey")
        return cls(
            key_id=fields.integer("KeyID"),
            iteration=chain.integer("Iteration"),
            chain_key=chain.octets("ChainKey", 32),
            public=fields.octets("SigningKeyPublic", 33),
            private=fields.optional_octets("SigningKeyPrivate", 32, 0),
            message_keys=tuple(MessageKey.read(one, key) for one in fields.items("Keys")),
            rest=fields.rest(),
        )

    def value(self) -> Json:
        """The object, its names in Go's order."""
        known = {
            "Keys": [one.value() for one in self.message_keys],
            "KeyID": self.key_id,
            "SenderChainKey": {"Iteration": self.iteration, "ChainKey": base64_text(self.chain_key)},
            "SigningKeyPrivate": optional_base64(self.private),
            "SigningKeyPublic": base64_text(self.public),
        }
        return known | merged(known, self.rest) if self.rest else known


@dataclass(frozen=True, slots=True, repr=False)
class SenderKey:
    """A device's sender keys in a group, the newest first."""

    group: str
    address: Address
    states: tuple[SenderKeyState, ...]
    rest: Json = field(default_factory=dict)

    @classmethod
    def of_row(cls, row: Json) -> Self:
        """From a row; raises BadKey."""
        columns = Fields(row, "whatsmeow_sender_keys")
        group, sender = columns.text("chat_id"), columns.text("sender_id")
        key = f"sender-key {group} {sender}"
        fields = Fields(parse(Fields(row, key).octets("sender_key"), key), key)
        states = tuple(SenderKeyState.read(one, key) for one in fields.items("SenderKeyStates"))
        return cls(group, Address.of_whatsmeow(sender, key), states, fields.rest())

    def row(self) -> Json:
        """The columns, without the device's."""
        record = merged({"SenderKeyStates": [state.value() for state in self.states]}, self.rest)
        return {"chat_id": self.group, "sender_id": self.address.whatsmeow, "sender_key": written(record)}
