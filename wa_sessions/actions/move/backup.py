"""Writing phones with all their keys into a file that is read back before it counts."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from wa_sessions.actions import atomic_file
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.move import encryption
from wa_sessions.db import backup as saving
from wa_sessions.db import phones
from wa_sessions.db.backend import Backend
from wa_sessions.db.backup import Source
from wa_sessions.db.gateway import Connection
from wa_sessions.errors import DatabaseError, PhoneNotFound, UsageError, WaSessionsError
from wa_sessions.keys.backup_format import BadBackup, Header, Reader, Totals, Writer
from wa_sessions.keys.phone_ref import PhoneRef

if TYPE_CHECKING:
    from wa_sessions.actions.move.encryption import Recipient

NOT_MADE = "no backup was made"
Progress = Callable[[int, int], None]
"""Told how much is done of how much: phones while they are saved, then bytes while the file is read back."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was read back. ``without_phone`` are keys left out as no phone has their number (of all phones)."""

    file: Path
    phones: int
    keys: int
    bytes: int
    encrypted: bool
    recipients: int
    sha256: str
    made_at: datetime
    verified: bool
    without_phone: int


@dataclass(slots=True)
class Destination:
    """The file that is made, and for whom it is encrypted. ``whole``: it is there, under its name."""

    file: Path
    recipients: "Sequence[Recipient]"
    plain: bool = False
    force: bool = False
    progress: Progress = lambda _done, _all: None
    whole: bool = False

    @contextmanager
    def explaining(self, phone: str) -> Iterator[None]:
        """Say of an error that came once the file was whole that nobody knows whether the phone has left."""
        try:
            yield
        except WaSessionsError as error:
            if not self.whole:
                raise
            raise DatabaseError(
                f"{error}; {self.file} is whole, but whether {phone} was let go is not known: do not import it before "
                f"wa-sessions operations {phone} has the export"
            ) from None


def backup(opened: Opened, phone: PhoneRef | None, to: Destination, organization_id: int | None = None) -> BackedUp:
    """Write one phone (None: all, or all of an organization) and its keys, as of one moment, to a file.

    It is encrypted to recipients; with none, ``plain`` has to say so. A file appears whole and verified, or not at all.
    Raises UsageError, PhoneNotFound, AmbiguousPhone, PermissionMissing, DatabaseError, and WaSessionsError where the
    file cannot be written.
    """
    with written(opened, phone, to, organization_id) as done:
        pass
    return done


@contextmanager
def written(
    opened: Opened, phone: PhoneRef | None, to: Destination, organization_id: int | None = None
) -> Iterator[BackedUp]:
    """A backup that is on the disk and verified; it gets its name when the block ends, and is gone if that raises.

    Raises what ``backup`` raises.
    """
    if bool(to.recipients) == to.plain:
        raise UsageError("a backup is either encrypted to recipients or, explicitly, plain text")
    target = place_of(to)
    witness = _Witness(plain=to.plain)
    with atomic_file.part_of(target, NOT_MADE) as (path, out):
        with opened.database.snapshot() as conn:
            chosen = _chosen(conn, opened.backend, phone, organization_id)
            source = saving.source(conn, opened.backend, chosen)
            missed = 0 if phone else _without_phone(conn, opened, organization_id)
            lines = _Lines(conn, opened.backend, source, to.progress)
            with atomic_file.file_errors(to.file, NOT_MADE):
                encryption.write(lines.made(), out, witness.joined(to.recipients))
                atomic_file.to_disk(out)
        size = path.stat().st_size
        with atomic_file.file_errors(to.file, NOT_MADE):
            witness.verify(path, lines.totals, to.progress)
        done = lines.totals
        yield BackedUp(
            to.file,
            done.phones,
            done.keys,
            size,
            not to.plain,
            len(to.recipients),
            done.sha256,
            source.at,
            True,
            missed,
        )
        with atomic_file.file_errors(to.file, NOT_MADE):
            atomic_file.publish(path, target, force=to.force)
    to.whole = True


def place_of(to: Destination) -> Path:
    """Where a backup will stand; raises UsageError or WaSessionsError before anything is done."""
    if str(to.file) == "-":
        raise UsageError("a backup is read back after it is written, which stdout cannot be: name a file")
    return atomic_file.target(to.file, force=to.force)


class _Lines:
    """The lines of a backup; ``totals`` is known when the last was made."""

    totals: Totals

    def __init__(self, conn: Connection, backend: Backend, source: Source, progress: Progress) -> None:
        self._conn, self._backend, self._source, self._progress = conn, backend, source, progress

    def made(self) -> Iterator[bytes]:
        """All of them, in order."""
        writer, auth = Writer(), self._backend.auth
        many = len(self._source.phones)
        yield writer.header(
            Header(
                self._source.at,
                f"wa-sessions {version('wa-sessions')}",
                many,
                auth.name if auth else None,
                bool(auth and auth.binary),
            )
        )
        for done, phone in enumerate(self._source.phones, 1):
            yield writer.phone(saving.saved(self._conn, self._source, phone))
            for table, row in saving.keys(self._conn, self._backend, self._source, phone):
                yield writer.row(table, row)
            self._progress(done, many)
        last, self.totals = writer.end()
        yield last


class _Witness:
    """Reads a backup back with a key of its own that exists in this process alone, as recipients can only encrypt."""

    def __init__(self, *, plain: bool) -> None:
        self._identity = None
        if not plain:
            from pyrage import x25519

            self._identity = x25519.Identity.generate()

    def joined(self, recipients: "Sequence[Recipient]") -> "list[Recipient]":
        """The recipients and this one."""
        return [*recipients, self._identity.to_public()] if self._identity else []

    def verify(self, path: Path, written: Totals, progress: Progress) -> None:
        """Read the file as the disk has it and compare; raises WaSessionsError."""
        reader, size = Reader(), path.stat().st_size

        def take(piece: bytes) -> None:
            for _ in reader.feed(piece):
                pass
            progress(min(file.tell(), size), size)

        try:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                encryption.read(file, [self._identity] if self._identity else [], take)
            same = reader.finish() == written
        except (BadBackup, encryption.Unreadable):
            same = False
        if not same:
            raise WaSessionsError("what the disk has of the backup is not what was written: look at that disk")


def _chosen(
    conn: Connection, backend: Backend, phone: PhoneRef | None, organization_id: int | None
) -> list[phones.Phone]:
    if phone:
        return [phones.find(conn, backend, phone, organization_id)]
    found = phones.list_phones(conn, backend, organization_id)
    if not found:
        where = f" in organization {organization_id}" if organization_id is not None else ""
        raise PhoneNotFound(f"there is no phone{where} to back up: wa-sessions sessions lists all")
    return found


def _without_phone(conn: Connection, opened: Opened, organization_id: int | None) -> int:
    if organization_id is not None:
        return 0
    return saving.keys_without_phone(conn, opened.backend, phones.list_phones(conn, opened.backend))
