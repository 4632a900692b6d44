"""Undoing an operation: its keys, the phone's JID and its status come back."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import carry_out, fenced, plan
from wa_sessions.actions.engine.plan import Change, Changed, Failed, Plan, PlanItem, Scope, Target
from wa_sessions.actions.move.moving import owner_before_and_after, refuse_exported, unmake
from wa_sessions.actions.node_process import NodeProcess
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import ask
from wa_sessions.db import health, operations, phones, restoring, rights
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import MOVES, UNDONE, Operation, OperationPhone, alternative_for
from wa_sessions.db.phones import Phone
from wa_sessions.db.quarantine import QuarantineResult
from wa_sessions.db.restoring import AlreadyRestored
from wa_sessions.errors import Conflict, OwnedByAnother, PhoneNotFound, UsageError, WaSessionsError
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

    @property
    def taken(self) -> QuarantineResult:
        """The newer rows that went into quarantine."""
        return QuarantineResult(self.overwritten, {"overwritten": self.overwritten} if self.overwritten else {})


@dataclass(frozen=True, slots=True)
class Restored:
    """An undone operation. ``overwrite`` is the operation that holds what was overwritten, ``already`` that it was
    undone before and nothing was changed, ``down`` why the Node process could not be started again, where it could not.
    """

    operation: str
    phones: tuple[RestoredPhone, ...]
    failed: tuple[Failed, ...]
    overwrite: str | None
    already: bool
    dry_run: bool
    down: WaSessionsError | None = None

    @classmethod
    def of(cls, changed: Changed[RestoredPhone], operation_id: str) -> "Restored":
        """What became of it."""
        already = not changed.phones and not changed.failed
        overwrite = changed.operation if any(one.overwritten for one in changed.phones) else None
        return cls(operation_id, changed.phones, changed.failed, overwrite, already, changed.dry_run, changed.down)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTarget(Target):
    """A phone's part in an operation, with its phone if that is there. ``pending``: it is to be undone."""

    done: Operation
    part: OperationPhone
    pending: bool

    @property
    def changes_keys(self) -> bool:
        """An import may have met no keys and made some."""
        return bool(self.part.keys) or self.done.action in MOVES


RestoreItem = PlanItem[PartTarget, bool]
RestorePlan = Plan[PartTarget, bool, RestoredPhone]


@dataclass(frozen=True, slots=True)
class Restore(Change[PartTarget, bool, RestoredPhone]):
    """Bring an operation's keys back, byte for byte, with the phone's JID and status: all, a phone's or organization's.

    ``overwrite`` puts what is newer into quarantine, under an operation of its own. What is found of a phone is whether
    it is the Node backend's, before or after.
    """

    operation_id: str
    overwrite: bool = False

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[PartTarget]:
        """The parts that are meant.

        Raises WaSessionsError for an unknown operation, UsageError, PhoneNotFound, Conflict for one that is not undone
        so, PermissionMissing, SchemaMissing.
        """
        word = self.operation_id.strip()
        if not word:
            raise UsageError("which operation? wa-sessions operations lists them")
        rights.require(conn, opened.backend, set())
        done = operations.operation(conn, word)
        operations.require_keys(done)
        meant = _meant(done, scope)
        pending = _pending(meant)
        present = _present(conn, opened, meant)
        targets = [_target(done, part, present.get(part.phone_id), pending=part in pending) for part in meant]
        changed = [target for target in targets if target.pending and target.phone and target.changes_keys]
        moves = done.action in MOVES
        on_keys = ("SELECT", "INSERT", *(("DELETE",) if self.overwrite or moves else ()))
        on_phones = ("UPDATE", *(("INSERT",) if done.action == "remove" else ()))
        stores = {target.phone.connection_type for target in changed if target.phone}
        rights.require(conn, opened.backend, stores, keys=on_keys, phones=on_phones)
        if done.action in UNDONE:
            raise Conflict(f"{done.id} undid a move: do it again with wa-sessions {UNDONE[done.action]}")
        if pending and not self.overwrite:
            refuse_exported(done)
        return targets

    def look(self, conn: Connection, opened: Opened, target: PartTarget, owner: WorkerInfo | None) -> RestoreItem:  # noqa: ARG002
        """See that it can be undone. Raises PhoneNotFound, OwnedByAnother."""
        done, phone = target.done, target.phone
        item: RestoreItem = PlanItem(target, False, target.part.keys, owner)
        if not target.pending:
            return item
        if phone is None:
            if done.action != "remove":
                raise PhoneNotFound(f"the phone {target.name} (#{target.id}) of {done.id} is gone")
            return item
        if done.action in MOVES and owner:
            raise OwnedByAnother(
                f"{owner.name} runs {phone.number}: its session goes on, so its old keys would break it; "
                f"{alternative_for(done.action, phone.number)}"
            )
        return replace(item, found=target.changes_keys and _in_node(conn, done, phone))

    def concerns(self, item: RestoreItem) -> bool:
        """What somebody has undone, or nobody can, is left alone."""
        return item.target.pending

    def beside_node(self, item: RestoreItem) -> bool:
        """Where its keys change."""
        return item.target.pending and item.target.phone is not None and item.target.changes_keys

    def stops_node(self, items: Sequence[RestoreItem]) -> bool:
        """Where one is the Node backend's, before or after."""
        return any(item.found for item in items)

    def apply(
        self, conn: Connection, opened: Opened, item: RestoreItem, operation: str | None, *, stopped: bool
    ) -> tuple[str | None, RestoredPhone | None]:
        """Restore one phone in the database; nothing if somebody else has done it meanwhile."""
        target, done = item.target, item.target.done
        if not target.pending:
            return operation, None
        if target.phone:
            phone = fenced(conn, opened, item, stopped=stopped or not target.changes_keys)
            if done.action in MOVES:
                unmake(conn, opened, done, phone)
        room = operation or (self._room(conn, done) if self.overwrite else None)
        try:
            back = restoring.restore(conn, opened.backend, done, target.part.phone_id, actor=operator(), overwrite=room)
        except AlreadyRestored:
            back = None
        if room and not operation and not (back and back.overwritten):
            operations.discard_empty(conn, room)
            room = None
        if back is None:
            return operation, None
        _write_down(conn, done, back)
        restored = RestoredPhone(
            back.phone.id,
            back.phone.number,
            back.phone.connection_type,
            back.counts,
            back.overwritten,
            back.status,
            None,
        )
        return room, restored

    def by_worker(
        self, opened: Opened, item: RestoreItem, operation: str | None
    ) -> tuple[str | None, RestoredPhone | None]:
        """Have its worker do it, and connect with the keys."""
        assert item.owner
        if not item.target.pending:
            return operation, None
        room = operation
        if self.overwrite and not room:
            with opened.database.transaction() as conn:
                room = self._room(conn, item.target.done)
        kept = None
        try:
            answer = ask(opened, item.phone, item.owner, "restore", operation=item.target.done.id, overwrite=room)
            kept = room if operation or (not answer["already"] and int(answer["overwritten"])) else None
        finally:
            if room and not operation and not kept:
                with opened.database.transaction() as conn:
                    operations.discard_empty(conn, room)
        if answer["already"]:
            return operation, None
        phone = item.phone
        return kept, RestoredPhone(
            phone.id,
            phone.number,
            phone.connection_type,
            dict(answer["counts"]),
            int(answer["overwritten"]),
            status_of(str(answer["status"])),
            item.owner.worker_id,
        )

    def undone_by(self, operation: str) -> str:
        """What was made room for stands where it stood."""
        return f"wa-sessions restore {operation} --overwrite"

    def _room(self, conn: Connection, done: Operation) -> str:
        """The operation that takes what is overwritten."""
        return operations.open_operation(conn, action="overwrite", reason=f"made room for {done.id}", actor=operator())


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
) -> Restored:
    """Undo an operation at once.

    Raises WaSessionsError for an unknown operation; Conflict where something newer stands (``overwrite`` puts that into
    quarantine), or the keys were purged or their device unlinked; OwnedByAnother for a connected Baileys phone unless
    ``process_stopped``; PermissionMissing, SchemaMissing. Of many phones those that cannot be restored are ``failed``.
    """
    change = Restore(operation_id, overwrite)
    stopped = process_stopped or node is not None
    planned = plan(opened, change, Scope(phone, organization_id), process_stopped=stopped)
    changed = carry_out(opened, planned, node=node, dry_run=dry_run)
    return Restored.of(changed, operation_id.strip())


def _meant(done: Operation, scope: Scope) -> list[OperationPhone]:
    meant = [
        part
        for part in done.phones
        if scope.organization_id in (None, part.organization_id)
        and (scope.phone is None or part.phone_id == scope.phone.phone_id or part.number == scope.phone.digits)
    ]
    if not meant:
        raise PhoneNotFound(f"{done.id} did nothing to that phone: wa-sessions operations -o json lists its phones")
    return meant


def _pending(meant: list[OperationPhone]) -> list[OperationPhone]:
    """The parts that are not undone; of many without those whose keys are gone or of no use."""
    pending = [part for part in meant if part.restored_at is None]
    return pending if len(pending) == 1 else [part for part in pending if part.undoable] or pending[:1]


def _present(conn: Connection, opened: Opened, meant: list[OperationPhone]) -> dict[int, Phone]:
    """Their phones as they are now, by id."""
    if len(meant) > 1:
        return {phone.id: phone for phone in phones.list_phones(conn, opened.backend)}
    with contextlib.suppress(PhoneNotFound):
        phone = phones.find(conn, opened.backend, PhoneRef(phone_id=meant[0].phone_id))
        return {phone.id: phone}
    return {}


def _target(done: Operation, part: OperationPhone, phone: Phone | None, *, pending: bool) -> PartTarget:
    seen = Target.of(phone) if phone else Target(part.phone_id, part.number, {})
    return PartTarget(seen.id, seen.name, seen.like, seen.phone, done=done, part=part, pending=pending)


def _write_down(conn: Connection, done: Operation, back: restoring.Restored) -> None:
    phone = back.phone
    if row := health.load(conn, phone.id):
        detail = f"restored {done.id}"
        idle = replace(row, state=State.IDLE, state_detail=detail, state_since=datetime.now(UTC), closing=None)
        health.save(conn, idle)
    restored = events.Restored(operator(), back.keys)
    health.record_event(conn, phone.id, phone.organization_id, restored, operation_id=done.id)


def _in_node(conn: Connection, done: Operation, phone: Phone) -> bool:
    if done.action in MOVES:
        return "baileys" in owner_before_and_after(conn, done, phone)
    return phone.connection_type == ConnectionType.BAILEYS
