"""All that happened to one phone."""

from dataclasses import dataclass
from datetime import datetime

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.errors import Entry
from wa_sessions.db import migrate, monitoring, operations, phones
from wa_sessions.errors import PhoneNotFound
from wa_sessions.health.timeline import undoable_operation
from wa_sessions.keys.phone_ref import PhoneRef


@dataclass(frozen=True, slots=True)
class Timeline:
    """A phone's entries in order; ``phone`` is None where its row was removed."""

    phone_id: int
    phone: str | None
    entries: list[Entry]
    undoable: set[str]

    def undo(self, entry: Entry) -> str | None:
        """The operation of an entry that ``restore`` can undo now."""
        operation = undoable_operation(entry.event.kind, entry.event.operation_id)
        return operation if operation in self.undoable else None


def timeline(opened: Opened, phone: PhoneRef, organization_id: int | None, *, since: datetime, limit: int) -> Timeline:
    """The newest entries since then, of every kind. A phone that was removed is found by its ``#id``.

    Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        number, missing = None, None
        try:
            found = phones.find(conn, opened.backend, phone, organization_id)
            phone_id, number = found.id, found.number
        except PhoneNotFound as error:
            if phone.phone_id is None:
                raise
            phone_id, missing = phone.phone_id, error
        events = monitoring.history(
            conn, None, since=since, phone_id=phone_id, organization_id=organization_id, limit=limit
        )
        if missing and not events:
            raise missing
        named = {event.operation_id for event in events if event.operation_id}
        undoable = operations.undoable(conn, phone_id, named)
    return Timeline(phone_id, number, [Entry(event, number) for event in events], undoable)
