"""The fleet: the same stats for every phone."""

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import live_owners
from wa_sessions.actions.stats import SessionErrorStats, Watch, judge
from wa_sessions.db import health, phones
from wa_sessions.errors import PermissionMissing, SchemaMissing, UsageError
from wa_sessions.health.model import Limits
from wa_sessions.health.reconnect import Status


def fleet(
    opened: Opened, *, organization_id: int | None = None, status: str | None = None, limits: Limits | None = None
) -> list[SessionErrorStats]:
    """The stats of all phones, or of those of one organization or status, in order of organization and id.

    Raises UsageError, DatabaseError.
    """
    if status is not None and status not in set(Status):
        raise UsageError(f"{status[:40]!r} is no status: write one of {', '.join(Status)}")
    with opened.database.transaction() as conn:
        listed = phones.list_phones(conn, opened.backend, organization_id)
    watches, otherwise = _watches(opened)
    return [
        judge(phone, watches.get(phone.id, otherwise), limits) for phone in listed if status in (None, phone.status)
    ]


def _watches(opened: Opened) -> tuple[dict[int, Watch], Watch]:
    """What is known by phone id, and what holds for all others."""
    try:
        with opened.database.transaction() as conn:
            rows, owners, pending = health.load_all(conn), live_owners(conn), health.pending_counts(conn)
    except SchemaMissing:
        return {}, Watch(missing="no_schema")
    except PermissionMissing:
        return {}, Watch(missing="no_permission")
    known = rows.keys() | owners.keys()
    return {id_: Watch(rows.get(id_), owners.get(id_), pending.get(id_, 0)) for id_ in known}, Watch()
