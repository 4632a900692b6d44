"""Letting go of old history."""

from datetime import timedelta

from wa_sessions.actions.connection import Opened
from wa_sessions.db import migrate, pruning
from wa_sessions.db.pruning import Pruned
from wa_sessions.errors import UsageError


def prunable(opened: Opened, age: timedelta) -> Pruned:
    """How many rows are older than ``age``. Raises UsageError for less than a day, SchemaMissing, DatabaseError."""
    if age < pruning.YOUNGEST:
        raise UsageError("a day is the least: messages of the last day may still come again")
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
    return pruning.prunable(opened.database, age)


def prune(opened: Opened, age: timedelta) -> Pruned:
    """Delete them for good. Raises what ``prunable`` raises, and PermissionMissing."""
    prunable(opened, age)
    return pruning.prune(opened.database, age)
