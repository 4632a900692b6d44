"""What was done, and what of it is kept for undoing."""

from dataclasses import dataclass
from datetime import datetime

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.sessions import workers
from wa_sessions.db import migrate, operations, phones
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
