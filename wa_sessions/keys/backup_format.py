"""The format of a backup: JSON lines, a header first, and a last line that tells a whole file from a cut one.

``{"format": …}``, then for every phone ``{"phone": …}`` and its rows as ``{"table": …, "row": {…}}``, then
``{"end": …}`` with their numbers and the SHA-256 of all bytes before it.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from wa_sessions.errors import WaSessionsError

VERSION: Final = 1
MAGIC: Final = b'{"format": "wa-sessions backup", '
LONGEST_LINE: Final = 1 << 26
"""Bytes, a hundred times the longest rows that were seen; a file without line ends is not read into memory."""

_ROW = re.compile(rb'\{"table": "([A-Za-z_]{1,63})", "row": (\{.*\})\}')


class BadBackup(WaSessionsError):
    """A file is not a whole backup; ``str()`` of it goes on after the file's name."""


@dataclass(frozen=True, slots=True)
class Header:
    """When and from what a backup was made; ``auth_table`` is None where the backend had no table of auth keys."""

    made_at: datetime
    made_by: str
    phones: int
    auth_table: str | None
    auth_binary: bool


@dataclass(frozen=True, slots=True)
class SavedPhone:
    """A phone as it was; ``row`` is its whole row in "OrganizationPhone".

    ``lid_map``: pairs of LID and number of those that it talks to, which no device owns; older files have none.
    """

    organization_id: int
    number: str
    phone_jid: str
    status: str
    connection_type: str
    row: dict[str, Any]
    lid_map: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SavedRow:
    """A row of a key store; ``row`` is JSON text."""

    table: str
    row: bytes


@dataclass(frozen=True, slots=True)
class Totals:
    """What a whole backup holds; ``sha256`` is of everything before its last line."""

    phones: int
    keys: int
    sha256: str


class Writer:
    """Makes the lines and counts them."""

    def __init__(self) -> None:
        self.phones = self.keys = 0
        self._digest = hashlib.sha256()

    def header(self, header: Header) -> bytes:
        """The first line."""
        facts = asdict(header) | {"made_at": header.made_at.astimezone(UTC).isoformat()}
        return self._line(json.dumps({"format": "wa-sessions backup", "version": VERSION} | facts).encode())

    def phone(self, phone: SavedPhone) -> bytes:
        """The line before a phone's rows."""
        self.phones += 1
        return self._line(json.dumps({"phone": asdict(phone)}).encode())

    def row(self, table: str, row: str) -> bytes:
        """The line of a row, given as an object in JSON on one line."""
        self.keys += 1
        return self._line(b'{"table": "%b", "row": %b}' % (table.encode(), row.encode()))

    def end(self) -> tuple[bytes, Totals]:
        """The last line."""
        totals = Totals(self.phones, self.keys, self._digest.hexdigest())
        return _end(totals) + b"\n", totals

    def _line(self, line: bytes) -> bytes:
        self._digest.update(line)
        self._digest.update(b"\n")
        return line + b"\n"


Item = Header | SavedPhone | SavedRow


class Reader:
    """Reads a backup piece by piece; nothing of it may be believed before ``finish``, which knows that it is whole."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.phones = self.keys = 0
        self._digest = hashlib.sha256()
        self._rest = bytearray()
        self._end: bytes | None = None

    def feed(self, piece: bytes) -> Iterator[Item]:
        """The header, phones and rows that are complete now; raises BadBackup."""
        self._rest += piece
        if self.header is None and not self._rest.startswith(MAGIC[: len(self._rest)]):
            raise BadBackup("is no backup of wa-sessions")
        if b"\n" in piece:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
            for line in lines:
                yield from self._item(line)
        if len(self._rest) > LONGEST_LINE:
            raise BadBackup("is damaged: a line has no end")

    def finish(self) -> Totals:
        """What was read, which is exactly what was written; raises BadBackup."""
        if self.header is None:
            raise BadBackup("is no backup of wa-sessions" if not self._rest else "is cut short")
        if self._end is None or self._rest:
            raise BadBackup("is cut short: its last line is missing")
        totals = Totals(self.phones, self.keys, self._digest.hexdigest())
        if self._end != _end(totals) or self.phones != self.header.phones:
            raise BadBackup("is damaged: it does not hold what its last line says")
        return totals

    def _item(self, line: bytes) -> Iterator[Item]:
        if self._end is not None:
            raise BadBackup("is damaged: something follows its last line")
        if line.startswith(b'{"end": '):
            self._end = line
            return
        self._digest.update(line)
        self._digest.update(b"\n")
        if self.header is None:
            self.header = _header(line)
            yield self.header
        elif match := _ROW.fullmatch(line):
            if not self.phones:
                raise BadBackup("is damaged: a row belongs to no phone")
            self.keys += 1
            yield SavedRow(match[1].decode(), match[2])
        else:
            self.phones += 1
            yield _phone(line)


def _header(line: bytes) -> Header:
    match _object(line):
        case {"version": int(version)} if version > VERSION:
            raise BadBackup(f"has format {version}, this program knows {VERSION}: install a newer wa-sessions")
        case {
            "version": 1,
            "made_at": str(made_at),
            "made_by": str(made_by),
            "phones": int(phones),
            "auth_table": (str() | None) as auth_table,
            "auth_binary": bool(auth_binary),
        }:
            return Header(_moment(made_at), made_by, phones, auth_table, auth_binary)
        case _:
            raise BadBackup("is damaged: its first line cannot be read")


def _phone(line: bytes) -> SavedPhone:
    match _object(line):
        case {
            "phone": {
                "organization_id": int(organization_id),
                "number": str(number),
                "phone_jid": str(phone_jid),
                "status": str(status),
                "connection_type": str(connection_type),
                "row": dict(row),
            } as phone
        }:
            pairs = _pairs(phone.get("lid_map", []))
            return SavedPhone(organization_id, number, phone_jid, status, connection_type, row, pairs)
        case _:
            raise BadBackup("is damaged: a line cannot be read")


def _pairs(found: Any) -> tuple[tuple[str, str], ...]:
    match found:
        case [*pairs] if all(_is_pair(pair) for pair in pairs):
            return tuple((lid, number) for lid, number in pairs)
        case _:
            raise BadBackup("is damaged: a line cannot be read")


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)


def _end(totals: Totals) -> bytes:
    return json.dumps({"end": asdict(totals)}).encode()


def _object(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadBackup("is damaged: its first line cannot be read")
    return moment
