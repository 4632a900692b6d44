"""Rows of the backend's table of auth keys, and the records that they hold."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from wa_sessions.keys.baileys.app_state import AppStateKey, AppStateVersion
from wa_sessions.keys.baileys.creds import Creds, buffer
from wa_sessions.keys.baileys.peers import (
    DeviceList,
    IdentityKey,
    LidMapping,
    PreKey,
    SenderKeyMemory,
    Token,
    TokenIndex,
)
from wa_sessions.keys.baileys.sender_key import SenderKey
from wa_sessions.keys.baileys.session import Session
from wa_sessions.keys.fields import BadKey, base64_text, octets, parse, shallow, unbase64, written
from wa_sessions.keys.key_types import key_type

JSON, BUFFER = "base64_json", "buffer"


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """A row: ``value`` is text, or the same text as bytes in the older shape of the table; ``type`` JSON or BUFFER."""

    key: str
    value: str | bytes
    type: str


@dataclass(frozen=True, slots=True, repr=False)
class OtherKey:
    """A row whose name no known version of Baileys writes: kept as it is."""

    key: str
    payload: Any

    @classmethod
    def read(cls, key: str, payload: Any) -> Self:
        """From the row's value; raises BadKey."""
        if not shallow(payload):
            raise BadKey(key, "its value is nested too deeply")
        return cls(key, payload)

    def value(self) -> Any:
        """What it holds."""
        return self.payload


Record = (
    Creds
    | PreKey
    | Session
    | SenderKey
    | SenderKeyMemory
    | AppStateKey
    | AppStateVersion
    | LidMapping
    | DeviceList
    | Token
    | TokenIndex
    | IdentityKey
    | OtherKey
)

_READERS: Final[Mapping[str, Callable[[str, Any], Record]]] = {
    "creds": Creds.read,
    "pre-key": PreKey.read,
    "session": Session.read,
    "sender-key": SenderKey.read,
    "sender-key-memory": SenderKeyMemory.read,
    "app-state-sync-key": AppStateKey.read,
    "app-state-sync-version": AppStateVersion.read,
    "lid-mapping": LidMapping.read,
    "device-list": DeviceList.read,
    "tctoken": Token.read,
    "identity-key": IdentityKey.read,
}


def decode(row: Row) -> Record:
    """The record in a row of Baileys 6.7 or 7; raises BadKey and nothing else."""
    payload = _payload(row)
    if row.key == TokenIndex.key:
        return TokenIndex.read(row.key, payload)
    reader = _READERS.get(key_type(row.key), OtherKey.read)
    return reader(row.key, payload)


def encode(record: Record, *, buffers: bool = False) -> Row:
    """The row of a record, its value as text; ``buffers``: what is nothing but bytes gets the type BUFFER."""
    value = record.value()
    if isinstance(value, bytes):
        if buffers:
            return Row(record.key, base64_text(value), BUFFER)
        value = buffer(value)
    return Row(record.key, base64_text(written(value)), JSON)


@dataclass(frozen=True, slots=True, repr=False)
class BaileysPhone:
    """All auth keys of a phone; ``damaged`` says of the rows that hold nothing readable what is wrong with them.

    ``buffers``: this backend writes rows of the type BUFFER.
    """

    creds: Creds
    records: tuple[Record, ...]
    damaged: tuple[BadKey, ...] = ()
    buffers: bool = False

    @property
    def major(self) -> Literal[6, 7]:
        """The version of Baileys that wrote the rows: 7 wherever one of them is of a kind that 6 does not know."""
        seven = (LidMapping, DeviceList, Token, TokenIndex, IdentityKey)
        return 7 if any(isinstance(record, seven) for record in self.records) else 6

    @classmethod
    def of_rows(cls, rows: Iterable[Row]) -> Self:
        """From a phone's rows; raises BadKey where ``creds`` is absent or cannot be read."""
        creds, records, damaged, buffers = None, [], [], False
        for row in rows:
            buffers = buffers or row.type == BUFFER
            try:
                record = decode(row)
            except BadKey as wrong:
                if row.key == Creds.key:
                    raise
                damaged.append(wrong)
                continue
            if isinstance(record, Creds):
                creds = record
            else:
                records.append(record)
        if creds is None:
            raise BadKey(Creds.key, "there is no such row: the phone was never paired, or was taken over already")
        return cls(creds, tuple(records), tuple(damaged), buffers)

    def rows(self) -> list[Row]:
        """The rows to store."""
        return [encode(record, buffers=self.buffers) for record in (self.creds, *self.records)]


def _payload(row: Row) -> Any:
    """Bytes for what is nothing but a Buffer, otherwise what the JSON says."""
    data = unbase64(row.value)
    if row.type == BUFFER:
        if data is None:
            raise BadKey(row.key, "its value is not base64")
        return data
    if row.type != JSON:
        raise BadKey(row.key, f"its type is neither {JSON} nor {BUFFER}")
    if data is None:
        raise BadKey(row.key, "its value is not base64")
    value = parse(data, row.key)
    if isinstance(value, dict) and value.get("type") == "Buffer":
        found = octets(value)
        if found is None:
            raise BadKey(row.key, "its value is no Buffer")
        return found
    return value
