"""What is in a backup file: all of it is read before anything of it is believed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wa_sessions.actions.move import encryption
from wa_sessions.db.restoring_file import AUTH_TABLES
from wa_sessions.errors import WaSessionsError
from wa_sessions.input_files import open_file
from wa_sessions.keys.backup_format import BadBackup, Header, Item, Reader, SavedPhone, SavedRow, Totals
from wa_sessions.keys.pairing_mark import pairing_mark
from wa_sessions.keys.phone_ref import number_of
from wa_sessions.keys.whatsmeow_tables import DEVICE, TABLES

if TYPE_CHECKING:
    from wa_sessions.actions.move.encryption import Identity

_OWNERS: Final = {table.name: table.owner for table in TABLES}


@dataclass(slots=True)
class Saved:
    """A phone of a backup: which of the file's phones it is, how many keys, in which stores, of which pairing."""

    at: int
    phone: SavedPhone
    keys: int = 0
    stores: set[str] = field(default_factory=set)
    devices: dict[str, str] = field(default_factory=dict)
    pairing: str | None = None
    owners: set[str] = field(default_factory=set)

    @property
    def store(self) -> str:
        """Of its stores the one that it used."""
        return self.phone.connection_type if self.phone.connection_type in self.stores else min(self.stores)

    @property
    def was_paired(self) -> bool:
        """False where all its keys are the ``creds`` that the Node backend makes to show a QR."""
        return bool(self.devices or self.pairing or self.phone.status != "pending")


@dataclass(frozen=True, slots=True)
class Contents:
    """A backup that was read to its end."""

    file: Path
    header: Header
    phones: tuple[Saved, ...]
    totals: Totals


def contents(file: Path, identities: "Sequence[Identity]" = ()) -> Contents:
    """Read a whole backup without a database; raises WaSessionsError for anything but a whole one."""
    sections = _Sections()
    totals = sections.read(file, identities)
    assert sections.header
    return Contents(file, sections.header, tuple(sections.found), totals)


def read_again(read: Contents, identities: "Sequence[Identity]", take: Callable[[int, SavedRow], None]) -> Totals:
    """Hand over every row with the place of its phone in the file; other totals tell of another file."""
    return _Sections(take).read(read.file, identities)


class _Sections:
    """Reads a file and keeps what is known of each phone."""

    def __init__(self, take: Callable[[int, SavedRow], None] = lambda _at, _row: None) -> None:
        self.header: Header | None = None
        self.found: list[Saved] = []
        self._take = take

    def read(self, file: Path, identities: "Sequence[Identity]") -> Totals:
        """The whole file; raises WaSessionsError, which names it."""
        reader = Reader()

        def take(piece: bytes) -> None:
            for item in reader.feed(piece):
                self._item(item)

        try:
            with open_file(file) as stream:
                encryption.read(stream, identities, take)
            totals = reader.finish()
            for saved in self.found:
                if saved.owners - saved.devices.keys():
                    raise BadBackup(f"is damaged: it has keys of {saved.phone.number} without their device")
            return totals
        except (BadBackup, encryption.Unreadable) as error:
            raise WaSessionsError(f"{file} {error}; nothing was changed") from None
        except OSError as error:
            raise WaSessionsError(f"cannot read {file}: {error.strerror or error}") from None

    def _item(self, item: Item) -> None:
        match item:
            case Header():
                self.header = item
            case SavedPhone():
                self.found.append(Saved(len(self.found), item))
            case SavedRow():
                saved = self.found[-1]
                _note(saved, item, binary=bool(self.header and self.header.auth_binary))
                self._take(saved.at, item)


def _note(saved: Saved, row: SavedRow, *, binary: bool) -> None:
    """Remember of a row what tells this pairing from another."""
    saved.keys += 1
    key, phone = _object(row), saved.phone
    if row.table not in AUTH_TABLES:
        saved.stores.add("neonize")
        if row.table in _OWNERS:
            owner = str(key.get(_OWNERS[row.table]))
            if number_of(owner) != phone.number:
                raise _foreign(saved)
            saved.owners.add(owner)
        if row.table == DEVICE.name:
            saved.devices[str(key.get("jid"))] = str(key.get("noise_key"))
        return
    saved.stores.add("baileys")
    if (key.get("organizationId"), key.get("phoneJid")) != (phone.organization_id, phone.number):
        raise _foreign(saved)
    if key.get("key") == "creds":
        value = str(key.get("value"))
        saved.pairing = pairing_mark(_bytes(value) if binary else value)


def _foreign(saved: Saved) -> BadBackup:
    return BadBackup(f"is damaged: among the keys of {saved.phone.number} is one of another phone")


def _object(row: SavedRow) -> dict[str, Any]:
    try:
        found = json.loads(row.row)
    except (ValueError, RecursionError):
        raise BadBackup("is damaged: a row cannot be read") from None
    return found if isinstance(found, dict) else {}


def _bytes(value: str) -> bytes:
    """A ``bytea`` as Postgres writes it into JSON."""
    try:
        return bytes.fromhex(value.removeprefix("\\x"))
    except ValueError:
        return b""
