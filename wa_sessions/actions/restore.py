"""Undoing an operation: its keys, the phone's JID and its status come back."""

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from wa_sessions.actions.changes import ANSWER_TIMEOUT, refuse_running
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.node_process import NodeProcess
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import ask, keep_workers_off, live_owners
from wa_sessions.db import health, operations, phones, restoring, rights
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import Operation, OperationPhone
from wa_sessions.db.phones import Phone
from wa_sessions.db.restoring import AlreadyRestored
from wa_sessions.errors import PhoneNotFound, UsageError
from wa_sessions.health.reconnect import State
from wa_sessions.keys.phone_ref import PhoneRef


@dataclass(frozen=True, slots=True)
class RestoredPhone:
    """What came back for one phone: rows by table. ``worker_id`` did it and connects now (None: we)."""

    phone_id: int
    number: str
    connection_type: str
    counts: dict[str, int]
    overwritten: int
    worker_id: UUID | None


@dataclass(frozen=True, slots=True)
class Restored:
    """An undone operation. ``overwrite`` is the operation that holds what was overwritten, ``already`` that it was
    undone before and nothing was changed."""

    operation: str
    phones: tuple[RestoredPhone, ...]
    overwrite: str | None
    already: bool
    dry_run: bool

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
    overwrite: bool = False,
    process_stopped: bool = False,
    node: NodeProcess | None = None,
    dry_run: bool = False,
) -> Restored:
    """Bring an operation's keys back, byte for byte, with the phone's JID and status.

    Raises WaSessionsError for an unknown operation; Conflict where something newer stands (``overwrite`` puts that into
    quarantine), or the keys were purged or their device unlinked; OwnedByAnother for a connected Baileys phone unless
    ``process_stopped``; PermissionMissing, SchemaMissing.
    """
    look = _look(opened, operation_id)
    if not look.pending:
        return Restored(look.done.id, (), None, already=True, dry_run=dry_run)
    taken = [phone for part in look.pending if part.keys and (phone := look.phones.get(part.phone_id))]
    if not process_stopped and node is None:
        refuse_running(taken)
    baileys = any(phone.connection_type == "baileys" for phone in taken)
    with node.stopped() if node and baileys and not dry_run else nullcontext():
        room, restored = _in_database(opened, look, overwrite=overwrite, dry_run=dry_run)
        restored += [] if dry_run else _by_workers(opened, look, room)
    if room and not any(phone.overwritten for phone in restored):
        _forget(opened, room)
        room = None
    return Restored(look.done.id, tuple(restored), room, not restored, dry_run)


@dataclass(frozen=True, slots=True)
class _Look:
    """An operation, its parts that are not undone, its phones as they are now, and the workers that run some."""

    done: Operation
    pending: list[OperationPhone]
    phones: dict[int, Phone]
    owners: dict[int, WorkerInfo]


def _look(opened: Opened, operation_id: str) -> _Look:
    word = operation_id.strip()
    if not word:
        raise UsageError("which operation? wa-sessions operations lists them")
    with opened.database.transaction() as conn:
        rights.require(conn, opened.backend, set())
        done = operations.operation(conn, word)
        found: dict[int, Phone] = {}
        for part in done.phones:
            try:
                found[part.phone_id] = phones.find(conn, opened.backend, PhoneRef(phone_id=part.phone_id))
            except PhoneNotFound:
                if done.action != "remove":
                    raise
        stores = {phone.connection_type for phone in found.values()} if done.keys else set()
        rights.require(conn, opened.backend, stores, keys=("SELECT", "INSERT"), phones=("UPDATE",))
        owners = {id_: owner for id_, owner in live_owners(conn).items() if id_ in found}
    return _Look(done, _pending(done), found, owners)


def _pending(done: Operation) -> list[OperationPhone]:
    """The parts that are not undone; of many also without those whose device is unlinked, as that ends them."""
    pending = [part for part in done.phones if part.restored_at is None]
    return pending if len(pending) == 1 else [part for part in pending if part.undoable]


def _in_database(
    opened: Opened, look: _Look, *, overwrite: bool, dry_run: bool
) -> tuple[str | None, list[RestoredPhone]]:
    """Restore the phones that no worker runs, in one transaction, and open the operation for what is overwritten."""
    room, restored = None, []
    with opened.database.transaction() as conn:
        if overwrite:
            reason = f"made room for {look.done.id}"
            room = operations.open_operation(conn, action="overwrite", reason=reason, actor=operator())
        for part in look.pending:
            runs = part.phone_id in look.owners
            if dry_run or not runs:
                restored += _ours(conn, opened, look.done, part, room, worker_runs=runs)
        if dry_run:
            conn.rollback()
    return None if dry_run else room, restored


def _by_workers(opened: Opened, look: _Look, room: str | None) -> list[RestoredPhone]:
    return [
        restored
        for part in look.pending
        if (owner := look.owners.get(part.phone_id))
        for restored in _by_worker(opened, look.done, look.phones[part.phone_id], owner, room)
    ]


def _ours(
    conn: Connection, opened: Opened, done: Operation, part: OperationPhone, room: str | None, *, worker_runs: bool
) -> list[RestoredPhone]:
    """Restore one phone in the database; nothing if somebody else has done it meanwhile."""
    if not worker_runs and done.action != "remove":
        keep_workers_off(conn, opened, part.phone_id)
    try:
        back = restoring.restore(conn, opened.backend, done, part.phone_id, actor=operator(), overwrite=room)
    except AlreadyRestored:
        return []
    phone = back.phone
    if row := health.load(conn, phone.id):
        detail = f"restored {done.id}"
        idle = replace(row, state=State.IDLE.value, state_detail=detail, state_since=datetime.now(UTC), closing=None)
        health.save(conn, idle)
    told = {"actor": operator(), "keys": back.keys}
    health.record_event(conn, phone.id, phone.organization_id, "restored", told, operation_id=done.id)
    return [RestoredPhone(phone.id, phone.number, phone.connection_type, back.counts, back.overwritten, None)]


def _by_worker(
    opened: Opened, done: Operation, phone: Phone, owner: WorkerInfo, room: str | None
) -> list[RestoredPhone]:
    answer = ask(opened, phone, owner, "restore", ANSWER_TIMEOUT, operation=done.id, overwrite=room)
    if answer["already"]:
        return []
    counts, overwritten = dict(answer["counts"]), int(answer["overwritten"])
    return [RestoredPhone(phone.id, phone.number, phone.connection_type, counts, overwritten, owner.worker_id)]


def _forget(opened: Opened, room: str) -> None:
    with opened.database.transaction() as conn:
        operations.discard_empty(conn, room)
