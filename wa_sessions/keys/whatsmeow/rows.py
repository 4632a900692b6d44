"""Rows of whatsmeow's tables, and the records that they hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from wa_sessions.keys.fields import BadKey, Json
from wa_sessions.keys.whatsmeow.plain import (
    AppStateKey,
    AppStateVersion,
    Device,
    IdentityKey,
    LidPair,
    MutationMac,
    PreKey,
    PrivacyToken,
)
from wa_sessions.keys.whatsmeow.sender_key import SenderKey
from wa_sessions.keys.whatsmeow.session import Session
from wa_sessions.keys.whatsmeow_tables import TABLES

WHATSMEOW_SCHEMA_VERSION: Final = 15
"""The version of the store's schema that these rows are of (``whatsmeow_version.version``)."""

LID_MAP: Final = "whatsmeow_lid_map"
_OWNERS: Final = {table.name: table.owner for table in TABLES}


class _Record(Protocol):
    def row(self) -> Json: ...


@dataclass(frozen=True, slots=True, repr=False)
class WhatsmeowPhone:
    """A linked device with all its keys; ``damaged`` says of the rows that hold nothing readable what is wrong."""

    device: Device
    pre_keys: tuple[PreKey, ...] = ()
    identity_keys: tuple[IdentityKey, ...] = ()
    sessions: tuple[Session, ...] = ()
    sender_keys: tuple[SenderKey, ...] = ()
    app_state_keys: tuple[AppStateKey, ...] = ()
    app_state_versions: tuple[AppStateVersion, ...] = ()
    mutation_macs: tuple[MutationMac, ...] = ()
    privacy_tokens: tuple[PrivacyToken, ...] = ()
    lid_map: tuple[LidPair, ...] = ()
    damaged: tuple[BadKey, ...] = ()

    @classmethod
    def of_rows(cls, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> Self:
        """From one device's rows by the name of their table; raises BadKey where that of the device cannot be read.

        Of ``whatsmeow_lid_map``, which no device owns, the rows of those that the phone talks to.
        """
        devices = [Device.of_row(dict(row)) for row in tables.get("whatsmeow_device", ())]
        if len(devices) != 1:
            raise BadKey("whatsmeow_device", "there is not exactly one row of the device")
        damaged: list[BadKey] = []
        found: dict[str, Any] = {}
        for name, table, record in _PARTS:
            found[name] = tuple(_readable(record, tables.get(table, ()), damaged))
        return cls(devices[0], **found, damaged=tuple(damaged))

    def rows(self) -> dict[str, list[Json]]:
        """The rows to insert, by the name of their table; parents come first."""
        jid = self.device.jid
        tables = {"whatsmeow_device": [self.device.row()]}
        for name, table, _ in _PARTS:
            records: tuple[_Record, ...] = getattr(self, name)
            owner = {_OWNERS[table]: jid} if table in _OWNERS else {}
            tables[table] = [owner | record.row() for record in records]
        return tables


_PARTS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("pre_keys", "whatsmeow_pre_keys", PreKey),
    ("identity_keys", "whatsmeow_identity_keys", IdentityKey),
    ("sessions", "whatsmeow_sessions", Session),
    ("sender_keys", "whatsmeow_sender_keys", SenderKey),
    ("app_state_keys", "whatsmeow_app_state_sync_keys", AppStateKey),
    ("app_state_versions", "whatsmeow_app_state_version", AppStateVersion),
    ("mutation_macs", "whatsmeow_app_state_mutation_macs", MutationMac),
    ("privacy_tokens", "whatsmeow_privacy_tokens", PrivacyToken),
    ("lid_map", LID_MAP, LidPair),
)


def _readable(record: Any, rows: Iterable[Mapping[str, Any]], damaged: list[BadKey]) -> Iterable[Any]:
    for row in rows:
        try:
            yield record.of_row(dict(row))
        except BadKey as wrong:
            damaged.append(wrong)
