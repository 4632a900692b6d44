"""What is too old goes: entries of the history, ended messages, requests to workers. Never a key or an operation."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg.sql import SQL

from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.sql import queries

BATCH = 5_000
YOUNGEST = timedelta(days=1)
"""Younger messages may still come again, so a worker remembers them."""

_SQL = queries("pruning")
_COUNT = {"events": _SQL.old_events, "messages": _SQL.old_messages, "commands": _SQL.old_commands}
_DELETE = {"events": _SQL.prune_events, "messages": _SQL.prune_messages, "commands": _SQL.prune_commands}


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of each table went, or would go."""

    events: int
    messages: int
    commands: int


def prunable(database: Database, age: timedelta) -> Pruned:
    """How many rows are older than ``age``. Raises SchemaMissing, DatabaseError."""
    with database.transaction() as conn:
        values = {"age": age.total_seconds()}
        return Pruned(**{subject: _rows(conn, statement, values) for subject, statement in _COUNT.items()})


def prune(database: Database, age: timedelta) -> Pruned:
    """Delete what is older than ``age``.

    What went of a phone's history is summed up in one entry ``history_pruned``. Raises SchemaMissing,
    PermissionMissing, DatabaseError.
    """
    gone = Counter[str]()
    for subject, count in steps(database, age):
        gone[subject] += count
    return Pruned(**{subject: gone[subject] for subject in _DELETE})


def steps(database: Database, age: timedelta) -> Iterator[tuple[str, int]]:
    """``prune`` in steps: each is a transaction that deletes at most ``BATCH`` rows, and tells of what and how many."""
    values = {"age": age.total_seconds(), "batch": BATCH}
    for subject, statement in _DELETE.items():
        count = BATCH
        while count == BATCH:
            with database.transaction() as conn:
                count = _rows(conn, statement, values)
            yield subject, count


def _rows(conn: Connection, statement: SQL, values: dict[str, Any]) -> int:
    row = conn.execute(statement, values).fetchone()
    return int(row["rows"]) if row else 0
