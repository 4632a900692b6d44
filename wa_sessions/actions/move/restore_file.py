"""Bringing phones back from a backup: the whole file is read and believed first, then one transaction changes all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.plan import Progress
from wa_sessions.actions.move.backup_contents import Contents, Saved, contents, read_again
from wa_sessions.actions.node_process import NodeProcess, refuse_running, while_stopped
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import keep_workers_off, live_owners
from wa_sessions.db import health, operations, phones, quarantine, restoring, restoring_file, rights, takeover
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import KEEP, Phone
from wa_sessions.db.quarantine import Taken
from wa_sessions.errors import AmbiguousPhone, Conflict, OwnedByAnother, PhoneNotFound, WaSessionsError
from wa_sessions.health.backend_words import BackendStatus, ConnectionType
from wa_sessions.health.events.operators import RestoredFromFile
from wa_sessions.health.reconnect import DOWN_STATUSES, State, Status
from wa_sessions.keys.backup_format import SavedRow
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING

if TYPE_CHECKING:
    from wa_sessions.actions.move.sealed import Identity

_INSIST = "--overwrite puts what is there into quarantine and restores all the same"


@dataclass(frozen=True, slots=True)
class Returning:
    """A phone of this database and what the backup has of it."""

    phone: Phone
    saved: Saved


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What would be restored; ``skipped`` counts phones of which the file has no session: they stay as they are."""

    contents: Contents
    phones: tuple[Returning, ...]
    skipped: int
    identities: "Sequence[Identity]"
    overwrite: bool
    process_stopped: bool

    @property
    def keys(self) -> int:
        """How many keys would come back."""
        return sum(returning.saved.keys for returning in self.phones)

    @property
    def stores(self) -> set[str]:
        """The key stores that are touched: the phones' own, and those that the file has keys of."""
        return {store for returning in self.phones for store in _stores(returning)}


@dataclass(frozen=True, slots=True)
class ReturnedPhone:
    """A phone that is back: how many keys, what was taken before, and its status now."""

    phone: Phone
    restored: int
    taken: Taken
    status: BackendStatus


@dataclass(frozen=True, slots=True)
class FileRestored:
    """Phones that are back. ``operation`` holds what was there before; None where there was nothing.

    ``down``: why the Node process could not be started again, where it could not.
    """

    file: Path
    made_at: datetime
    operation: str | None
    phones: tuple[ReturnedPhone, ...]
    skipped: int
    dry_run: bool
    down: WaSessionsError | None = None

    @property
    def matched(self) -> int:
        """How many keys stood there before."""
        return sum(phone.taken.matched for phone in self.phones)

    @property
    def quarantined(self) -> int:
        """How many of them went into quarantine."""
        return sum(phone.taken.quarantined for phone in self.phones)

    @property
    def left(self) -> int:
        """How many of them are left."""
        return sum(phone.taken.left for phone in self.phones)

    @property
    def restored(self) -> int:
        """How many keys came back."""
        return sum(phone.restored for phone in self.phones)

    @property
    def undo(self) -> str | None:
        """The command that brings back what was there before."""
        return f"wa-sessions restore {self.operation} --overwrite" if self.operation and self.quarantined else None


def plan(
    opened: Opened,
    file: Path,
    *,
    identities: "Sequence[Identity]" = (),
    phone: PhoneRef | None = None,
    organization_id: int | None = None,
    overwrite: bool = False,
    process_stopped: bool = False,
) -> FilePlan:
    """Read the backup and find its phones in the database, all of them or the one that is named; nothing is changed.

    Raises WaSessionsError for a file that is not a whole backup or not encrypted to these keys; PhoneNotFound,
    AmbiguousPhone; OwnedByAnother for a phone that a worker runs, or a connected Baileys phone unless
    ``process_stopped``; Conflict where a phone has changed sides since, or, unless ``overwrite``, was connected or
    paired anew; PermissionMissing, SchemaMissing.
    """
    read = contents(file, identities)
    with opened.database.transaction() as conn:
        opened.backend.require_phones()
        wanted = _wanted(conn, opened, read, phone, organization_id)
        returning = [_find(conn, opened, saved) for saved in wanted if saved.keys and (phone or saved.was_paired)]
        returning.sort(key=lambda one: one.phone.id)
        planned = FilePlan(read, tuple(returning), len(wanted) - len(returning), identities, overwrite, process_stopped)
        rights.require(
            conn, opened.backend, planned.stores, keys=("SELECT", "INSERT", "DELETE"), phones=("SELECT", "UPDATE")
        )
        if not process_stopped:
            refuse_running(conn, [one.phone for one in returning])
        owners = live_owners(conn)
        for one in returning:
            if owner := owners.get(one.phone.id):
                raise OwnedByAnother(f"{owner.name} runs {one.phone.number}: end that worker first")
            _refuse_foreign(conn, opened, planned, one)
            _refuse_newer(conn, opened, planned, one)
    return planned


def carry_out(
    opened: Opened,
    planned: FilePlan,
    *,
    node: NodeProcess | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> FileRestored:
    """Restore what was planned, all of it in one transaction; ``dry_run`` does it and rolls it back.

    The phones' present keys go into quarantine first, as one operation. ``node`` is stopped meanwhile if Baileys rows
    change. Raises what ``plan`` raises.
    """
    touches_node = any("baileys" in _stores(one) for one in planned.phones)
    done: list[ReturnedPhone] = []
    operation: str | None = None

    def put_back() -> None:
        nonlocal operation
        with opened.database.transaction() as conn:
            for one in planned.phones:
                kept, returned = _make_room(conn, opened, planned, one, operation)
                operation = operation or kept
                done.append(returned)
                progress(len(done), len(planned.phones))
            restoring_file.put_back(conn, opened.backend, _rows_of(planned), binary=planned.contents.header.auth_binary)
            for one, returned in zip(planned.phones, done, strict=True):
                _write_down(conn, opened, planned, one, returned, operation)
            if dry_run:
                conn.rollback()

    ended = while_stopped(node if touches_node and not dry_run else None, put_back)
    made_at = planned.contents.header.made_at
    kept = None if dry_run else operation
    return FileRestored(planned.contents.file, made_at, kept, tuple(done), planned.skipped, dry_run, ended.down)


def _wanted(
    conn: Connection, opened: Opened, read: Contents, ref: PhoneRef | None, organization_id: int | None
) -> list[Saved]:
    """The phones of the file that are meant; raises PhoneNotFound, AmbiguousPhone."""
    digits = ref.digits if ref else None
    if ref and digits is None:
        found = phones.find(conn, opened.backend, ref, organization_id)
        digits, organization_id = found.number, found.organization_id
    wanted = [
        saved
        for saved in read.phones
        if digits in (None, saved.phone.number) and organization_id in (None, saved.phone.organization_id)
    ]
    organizations = sorted({saved.phone.organization_id for saved in wanted})
    if not wanted:
        what = f"no phone {ref}" if ref else "no phone"
        where = f" of organization {organization_id}" if organization_id is not None else ""
        raise PhoneNotFound(f"{read.file} has {what}{where}")
    if ref and len(organizations) > 1:
        listed = ", ".join(map(str, organizations))
        raise AmbiguousPhone(f"{ref} is in {read.file} in organization {listed}: choose one with --org")
    if ref and not any(saved.keys for saved in wanted):
        raise WaSessionsError(f"{read.file} has {ref} without a single key: there is nothing to restore")
    return wanted


def _find(conn: Connection, opened: Opened, saved: Saved) -> Returning:
    ref = PhoneRef(digits=saved.phone.number)
    return Returning(phones.find(conn, opened.backend, ref, saved.phone.organization_id), saved)


def _stores(one: Returning) -> set[str]:
    return (one.saved.stores | {one.phone.connection_type}) - {"waba"}


def _refuse_foreign(conn: Connection, opened: Opened, planned: FilePlan, one: Returning) -> None:
    """Raise Conflict where the file's keys are of the store that the phone has left since."""
    stores = {one.saved.store, one.saved.phone.connection_type}
    restoring.require_own_store(conn, opened.backend, one.phone, stores, str(planned.contents.file))


def _refuse_newer(conn: Connection, opened: Opened, planned: FilePlan, one: Returning) -> None:
    """Raise Conflict where the phone has gone on since, unless that is insisted on."""
    if planned.overwrite:
        return
    file, number, made_at = planned.contents.file, one.phone.number, planned.contents.header.made_at
    connected = one.phone.last_connected_at
    if connected and made_at < connected:
        raise Conflict(
            f"{file} was made at {made_at:%Y-%m-%d %H:%M:%S} UTC, and {number} connected at "
            f"{connected:%Y-%m-%d %H:%M:%S} UTC: older keys would not decrypt what comes now; {_INSIST}"
        )
    if "neonize" in _stores(one):
        present = restoring_file.devices(conn, [number]).get(number, {})
        if newer := sorted(jid for jid, key in present.items() if one.saved.devices.get(jid) != key):
            raise Conflict(f"{number} was paired anew since {file} was made ({', '.join(newer)}); {_INSIST}")
    if "baileys" in _stores(one):
        now = quarantine.pairing_of(conn, opened.backend, replace(one.phone, connection_type=ConnectionType.BAILEYS))
        if now is not None and now != one.saved.pairing:
            raise Conflict(f"{number} was paired anew since {file} was made; {_INSIST}")
    changed = one.phone.updated_at
    in_use = one.phone.status not in DOWN_STATUSES or (changed is not None and made_at < changed)
    if in_use and _is_paired(conn, opened, one):
        raise Conflict(
            f"{number} has keys and was in use after {file} was made: older keys would not decrypt what comes now; "
            f"{_INSIST}"
        )


def _is_paired(conn: Connection, opened: Opened, one: Returning) -> bool:
    stores = (replace(one.phone, connection_type=ConnectionType(store)) for store in _stores(one))
    return any(quarantine.pairing_of(conn, opened.backend, phone) for phone in stores)


def _make_room(
    conn: Connection, opened: Opened, planned: FilePlan, one: Returning, operation: str | None
) -> tuple[str | None, ReturnedPhone]:
    """Put everything that the phone has into quarantine; the operation that has it, if there was something."""
    phone = keep_workers_off(conn, opened, one.phone.id)
    if not planned.process_stopped:
        refuse_running(conn, [phone])
    _refuse_foreign(conn, opened, planned, replace(one, phone=phone))
    _refuse_newer(conn, opened, planned, replace(one, phone=phone))
    back = phone.status in (Status.LOGGED_OUT, Status.PENDING)
    status = Status.DISCONNECTED if back else None
    part = quarantine.begin(
        conn,
        opened.backend,
        phone,
        action="restore_file",
        reason=f"restored from {planned.contents.file.name}",
        actor=operator(),
        status_after=status,
        operation_id=operation,
    )
    taken = [
        quarantine.take(conn, opened.backend, part, replace(phone, connection_type=ConnectionType(store)), EVERYTHING)
        for store in sorted(_stores(one))
    ]
    orphans = quarantine.under_devices(conn, part, one.saved.devices)
    together = quarantine.together([*taken, Taken(sum(orphans.values()), orphans)])
    if not together.quarantined and status is None:
        operations.discard(conn, part)
        return None, ReturnedPhone(phone, one.saved.keys, together, phone.status)
    return part.operation_id, ReturnedPhone(phone, one.saved.keys, together, status or phone.status)


def _rows_of(planned: FilePlan) -> Callable[[Callable[[SavedRow], None]], None]:
    """Reads the file once more and hands over the rows of the planned phones; it must still be the same file."""
    wanted = {one.saved.at for one in planned.phones}
    read = planned.contents

    def feed(take: Callable[[SavedRow], None]) -> None:
        def chosen(at: int, row: SavedRow) -> None:
            if at in wanted:
                take(row)

        if read_again(read, planned.identities, chosen) != read.totals:
            raise Conflict(f"{read.file} has changed while it was read: nothing was changed")

    return feed


def _write_down(
    conn: Connection,
    opened: Opened,
    planned: FilePlan,
    one: Returning,
    returned: ReturnedPhone,
    operation: str | None,
) -> None:
    """The phone's row, the LIDs of those that it talks to, and its history."""
    takeover.put_lid_map(conn, one.saved.phone.lid_map)
    phone, jid = returned.phone, one.saved.phone.phone_jid
    changed = returned.status != phone.status
    if changed or jid != phone.phone_jid:
        status, qr_code = (returned.status, None) if changed else (KEEP, KEEP)
        phones.set_status(conn, opened.backend, phone.id, status, qr_code=qr_code, phone_jid=jid)
    told = f"restored from {planned.contents.file.name}"
    if row := health.load(conn, phone.id):
        now = datetime.now(UTC)
        health.save(conn, replace(row, state=State.IDLE, state_detail=told, state_since=now, closing=None))
    detail = RestoredFromFile(
        actor=operator(),
        file=planned.contents.file.name,
        made_at=planned.contents.header.made_at.isoformat(),
        keys=returned.restored,
        quarantined=returned.taken.quarantined,
    )
    kept = operation if returned.taken.quarantined or changed else None
    health.record_event(conn, phone.id, phone.organization_id, detail, operation_id=kept)
