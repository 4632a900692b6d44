"""What was done, and what of it is kept for undoing."""

from datetime import datetime, timedelta

from wa_sessions.actions.changes import Progress
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.db import migrate, operations, phones, rights
from wa_sessions.db.operations import Operation
from wa_sessions.keys.phone_ref import PhoneRef


def list_operations(
    opened: Opened,
    phone: PhoneRef | None = None,
    organization_id: int | None = None,
    *,
    since: datetime | None = None,
    limit: int = 20,
) -> list[Operation]:
    """The newest operations first, of one phone or of all. Raises PhoneNotFound, AmbiguousPhone, SchemaMissing.

    A phone that was removed is found by its ``#id``.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        phone_id = None
        if phone is not None:
            phone_id = phone.phone_id or phones.find(conn, opened.backend, phone, organization_id).id
        return operations.latest(conn, phone_id=phone_id, organization_id=organization_id, since=since, limit=limit)


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
