"""What was done, and what of it is kept for undoing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.plan import Progress
from wa_sessions.actions.operator import operator
from wa_sessions.actions.sessions import workers
from wa_sessions.db import migrate, operations, phones, rights
from wa_sessions.db.operations import DRAIN, DRAINS, Operation
from wa_sessions.keys.phone_ref import PhoneRef


@dataclass(frozen=True, slots=True)
class OperationList:
    """Operations, the newest first. ``drains``: those of them after which a worker drains now."""

    operations: tuple[Operation, ...]
    drains: frozenset[str]

    def undo(self, one: Operation) -> str | None:
        """The command that undoes one of them; None where there is nothing to undo."""
        if one.action in DRAINS:
            return f"wa-sessions drain {one.worker} --undo" if one.id in self.drains else None
        return f"wa-sessions restore {one.id}" if one.undoable else None


def list_operations(
    opened: Opened,
    phone: PhoneRef | None = None,
    organization_id: int | None = None,
    *,
    since: datetime | None = None,
    limit: int = 20,
) -> OperationList:
    """The newest operations first, of one phone or of all. Raises PhoneNotFound, AmbiguousPhone, SchemaMissing.

    A phone that was removed is found by its ``#id``.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        phone_id = None
        if phone is not None:
            phone_id = phone.phone_id or phones.find(conn, opened.backend, phone, organization_id).id
        found = operations.latest(conn, phone_id=phone_id, organization_id=organization_id, since=since, limit=limit)
        draining = {worker.name for worker in workers.read(conn) if worker.draining and worker.state.lives}
    drains: dict[str, str] = {}
    for one in found:
        if one.action == DRAIN and one.worker in draining:
            drains.setdefault(one.worker, one.id)
    return OperationList(tuple(found), frozenset(drains.values()))


def purgeable(opened: Opened, older_than: timedelta, organization_id: int | None = None) -> list[tuple[str, int]]:
    """Operations that old which have keys in quarantine, with their counts. Raises SchemaMissing."""
    with opened.database.transaction() as conn:
        rights.require(conn, opened.backend, set())
        return operations.purgeable(conn, older_than.total_seconds(), organization_id)


def purge(
    opened: Opened,
    operation_ids: list[str],
    organization_id: int | None = None,
    *,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> tuple[int, int]:
    """Delete the quarantined keys of these operations for good, each in one transaction.

    Returns how many went, and how many are left in quarantine. Raises PermissionMissing.
    """
    purged = 0
    for number, operation_id in enumerate(operation_ids, 1):
        with opened.database.transaction() as conn:
            purged += operations.purge(conn, operation_id, operator(), organization_id)
            if dry_run:
                conn.rollback()
        progress(number, len(operation_ids))
    with opened.database.transaction() as conn:
        kept = operations.kept_keys(conn, organization_id)
    return purged, kept - purged if dry_run else kept
