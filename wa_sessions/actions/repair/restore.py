"""Undoing an operation: its keys, the phone's JID and its status come back."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import MOST_PHONES
from wa_sessions.actions.engine.plan import Progress
from wa_sessions.actions.move.moving import refuse_exported, sides, unmake
from wa_sessions.actions.node_process import NodeProcess, refuse_running, while_stopped
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import ask, keep_workers_off, live_owners
from wa_sessions.db import health, operations, phones, restoring, rights
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import MOVES, UNDONE, Operation, OperationPhone, way_on
from wa_sessions.db.phones import Phone
from wa_sessions.db.restoring import AlreadyRestored
from wa_sessions.errors import (
    Conflict,
    DatabaseError,
    OwnedByAnother,
    PhoneNotFound,
    StoreAway,
    UsageError,
    WaSessionsError,
)
from wa_sessions.health.backend_words import BackendStatus, ConnectionType, PhoneType, status_of
from wa_sessions.health.events import operators as events
from wa_sessions.health.reconnect import State
from wa_sessions.keys.phone_ref import PhoneRef


@dataclass(frozen=True, slots=True)
class RestoredPhone:
    """What came back for one phone: rows by table, and its status now. ``worker_id`` did it (None: we)."""

    phone_id: int
    number: str
    connection_type: PhoneType
    counts: dict[str, int]
    overwritten: int
    status: BackendStatus
    worker_id: UUID | None


@dataclass(frozen=True, slots=True)
class FailedPhone:
    """A phone that was left as it was, and why."""

    number: str
    error: WaSessionsError


@dataclass(frozen=True, slots=True)
class Restored:
    """An undone operation. ``overwrite`` is the operation that holds what was overwritten, ``already`` that it was
    undone before and nothing was changed, ``down`` why the Node process could not be started again, where it could not.
    """

    operation: str
    phones: tuple[RestoredPhone, ...]
    failed: tuple[FailedPhone, ...]
    overwrite: str | None
    already: bool
    dry_run: bool
    down: WaSessionsError | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Rows by table, of all phones together."""
        counted: Counter[str] = Counter()
        for phone in self.phones:
            counted.update(phone.counts)
        return dict(counted)

    @property
    def keys(self) -> int:
        """How many rows came back."""
        return sum(self.counts.values())

    @property
    def overwritten(self) -> int:
        """How many newer rows went into quarantine."""
        return sum(phone.overwritten for phone in self.phones)


def restore(
    opened: Opened,
    operation_id: str,
    *,
    phone: PhoneRef | None = None,
    organization_id: int | None = None,
    overwrite: bool = False,
    process_stopped: bool = False,
    node: NodeProcess | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Restored:
    """Bring an operation's keys back, byte for byte, with the phone's JID and status: all, a phone's or organization's.

    Raises WaSessionsError for an unknown operation; Conflict where something newer stands (``overwrite`` puts that into
    quarantine), or the keys were purged or their device unlinked; OwnedByAnother for a connected Baileys phone unless
    ``process_stopped``; PermissionMissing, SchemaMissing. Of many phones those that cannot be restored are ``failed``.
    """
    look = _look(
        opened, operation_id, phone, organization_id, overwrite=overwrite, stopped=process_stopped or bool(node)
    )
    if not look.pending:
        return Restored(look.done.id, (), (), None, already=True, dry_run=dry_run)
    baileys = any(part.phone_id in look.in_node for part in look.pending)
    restored: list[RestoredPhone] = []
    failed: list[FailedPhone] = []

    def bring_back() -> str | None:
        room = _room(opened, look) if overwrite and not dry_run else None
        try:
            for start in range(0, len(look.pending), MOST_PHONES):
                batch = look.pending[start : start + MOST_PHONES]
                _in_database(opened, look, batch, room, restored, failed, overwrite=overwrite, dry_run=dry_run)
                progress(len(restored) + len(failed), len(look.pending))
            for part in [] if dry_run else [part for part in look.pending if part.phone_id in look.owners]:
                with _each(look, part, failed):
                    restored.extend(_by_worker(opened, look, part, room))
                progress(len(restored) + len(failed), len(look.pending))
        finally:
            if room and not any(one.overwritten for one in restored):
                _forget(opened, room)
                room = None
        return room

    ended = while_stopped(node if baileys and not dry_run else None, bring_back)
    already = not restored and not failed
    return Restored(look.done.id, tuple(restored), tuple(failed), ended.result, already, dry_run, ended.down)


@dataclass(frozen=True, slots=True)
class _Look:
    """An operation, its parts that are to be undone, its phones as they are now, and the workers that run some.

    ``changed``: the phones whose keys change; an import may have met none and made some. ``in_node``: those of them
    that are the Node backend's, before or after.
    """

    done: Operation
    pending: list[OperationPhone]
    phones: dict[int, Phone]
    owners: dict[int, WorkerInfo]
    changed: set[int]
    in_node: set[int]
    stopped: bool


def _look(
    opened: Opened,
    operation_id: str,
    phone: PhoneRef | None,
    organization_id: int | None,
    *,
    overwrite: bool,
    stopped: bool,
) -> _Look:
    word = operation_id.strip()
    if not word:
        raise UsageError("which operation? wa-sessions operations lists them")
    with opened.database.transaction() as conn:
        rights.require(conn, opened.backend, set())
        done = operations.operation(conn, word)
        operations.require_keys(done)
        pending = _pending(done, phone, organization_id)
        found: dict[int, Phone] = {}
        for part in pending:
            with contextlib.suppress(PhoneNotFound):
                found[part.phone_id] = phones.find(conn, opened.backend, PhoneRef(phone_id=part.phone_id))
        if len(pending) == 1 and not found and done.action != "remove":
            raise PhoneNotFound(f"the phone {pending[0].number} (#{pending[0].phone_id}) of {done.id} is gone")
        changed = {part.phone_id for part in pending if part.keys or done.action in MOVES}
        stores = {one.connection_type for one in found.values() if one.id in changed}
        on_keys = ("SELECT", "INSERT", *(("DELETE",) if overwrite or done.action in MOVES else ()))
        on_phones = ("UPDATE", *(("INSERT",) if done.action == "remove" else ()))
        rights.require(conn, opened.backend, stores, keys=on_keys, phones=on_phones)
        if not stopped:
            going = [phone for phone in found.values() if phone.id in changed]
            refuse_running(conn, going)
        owners = {id_: owner for id_, owner in live_owners(conn).items() if id_ in found}
        if done.action in UNDONE:
            raise Conflict(f"{done.id} undid a move: do it again with wa-sessions {UNDONE[done.action]}")
        if pending and not overwrite:
            refuse_exported(done)
        if done.action in MOVES and owners:
            owned = found[next(iter(owners))]
            raise OwnedByAnother(
                f"{owners[owned.id].name} runs {owned.number}: its session goes on, so its old keys would break it; "
                f"{way_on(done.action, owned.number)}"
            )
        in_node = {phone.id for phone in found.values() if phone.id in changed and _in_node(conn, done, phone)}
    return _Look(done, pending, found, owners, changed, in_node, stopped)


def _pending(done: Operation, phone: PhoneRef | None, organization_id: int | None) -> list[OperationPhone]:
    """The parts that are meant and not undone; of many without those whose keys are gone or of no use."""
    meant = [
        part
        for part in done.phones
        if organization_id in (None, part.organization_id)
        and (phone is None or part.phone_id == phone.phone_id or part.number == phone.digits)
    ]
    if not meant:
        raise PhoneNotFound(f"{done.id} did nothing to that phone: wa-sessions operations -o json lists its phones")
    pending = [part for part in meant if part.restored_at is None]
    return pending if len(pending) == 1 else [part for part in pending if part.undoable] or pending[:1]


def _room(opened: Opened, look: _Look) -> str:
    """The operation that takes what is overwritten."""
    with opened.database.transaction() as conn:
        return operations.open_operation(
            conn, action="overwrite", reason=f"made room for {look.done.id}", actor=operator()
        )


def _in_database(
    opened: Opened,
    look: _Look,
    batch: list[OperationPhone],
    room: str | None,
    restored: list[RestoredPhone],
    failed: list[FailedPhone],
    *,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Restore those phones of a batch that no worker runs, in one transaction."""
    back: list[RestoredPhone] = []
    with opened.database.transaction() as conn:
        if dry_run and overwrite:
            room = operations.open_operation(conn, action="overwrite", reason="dry run", actor=operator())
        for part in batch:
            if dry_run or part.phone_id not in look.owners:
                with _each(look, part, failed), conn.transaction():
                    back += _ours(conn, opened, look, part, room)
        if dry_run:
            conn.rollback()
    restored += back


@contextlib.contextmanager
def _each(look: _Look, part: OperationPhone, failed: list[FailedPhone]) -> Iterator[None]:
    """Of many phones, one that cannot be restored does not hold the others."""
    try:
        yield
    except WaSessionsError as error:
        if len(look.pending) == 1 or isinstance(error, DatabaseError | StoreAway):
            raise
        failed.append(FailedPhone(part.number, error))


def _ours(conn: Connection, opened: Opened, look: _Look, part: OperationPhone, room: str | None) -> list[RestoredPhone]:
    """Restore one phone in the database; nothing if somebody else has done it meanwhile."""
    done = look.done
    if part.phone_id in look.phones and part.phone_id not in look.owners:
        phone = keep_workers_off(conn, opened, part.phone_id)
        if part.phone_id in look.changed and not look.stopped:
            refuse_running(conn, [phone])
        if done.action in MOVES and part.restored_at is None:
            unmake(conn, opened, done, phone)
    try:
        back = restoring.restore(conn, opened.backend, done, part.phone_id, actor=operator(), overwrite=room)
    except AlreadyRestored:
        return []
    phone = back.phone
    if row := health.load(conn, phone.id):
        detail = f"restored {done.id}"
        idle = replace(row, state=State.IDLE, state_detail=detail, state_since=datetime.now(UTC), closing=None)
        health.save(conn, idle)
    restored = events.Restored(operator(), back.keys)
    health.record_event(conn, phone.id, phone.organization_id, restored, operation_id=done.id)
    kind = phone.connection_type
    return [RestoredPhone(phone.id, phone.number, kind, back.counts, back.overwritten, back.status, None)]


def _by_worker(opened: Opened, look: _Look, part: OperationPhone, room: str | None) -> list[RestoredPhone]:
    phone, owner = look.phones[part.phone_id], look.owners[part.phone_id]
    answer = ask(opened, phone, owner, "restore", operation=look.done.id, overwrite=room)
    if answer["already"]:
        return []
    counts, overwritten, status = dict(answer["counts"]), int(answer["overwritten"]), status_of(str(answer["status"]))
    kind = phone.connection_type
    return [RestoredPhone(phone.id, phone.number, kind, counts, overwritten, status, owner.worker_id)]


def _in_node(conn: Connection, done: Operation, phone: Phone) -> bool:
    if done.action in MOVES:
        return "baileys" in sides(conn, done, phone)
    return phone.connection_type == ConnectionType.BAILEYS


def _forget(opened: Opened, room: str) -> None:
    with opened.database.transaction() as conn:
        operations.discard_empty(conn, room)
