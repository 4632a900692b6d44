"""The schema ``wa_sessions``: numbered plain-SQL files, applied in order, once."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import SchemaMissing

_FILE = re.compile(r"(\d{4})_\w+\.sql")


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """The schema's version (0: absent), the newest that this program knows, and the names of what is between."""

    current: int
    latest: int
    pending: tuple[str, ...]


def status(conn: Connection, *, present: bool = False) -> MigrationStatus:
    """How far the schema is; ``present``: it is known to be there."""
    if not present:
        row = conn.execute(queries("migrations").exists).fetchone()
        present = bool(row and row["present"])
    current = 0
    if present:
        version = conn.execute(queries("migrations").current).fetchone()
        current = (version["number"] if version else None) or 0
    known = _migrations()
    return MigrationStatus(current, max(known), tuple(name for number, name in known.items() if number > current))


def upgrade(conn: Connection) -> list[str]:
    """Apply what is pending in the caller's transaction; returns the names. Two upgraders wait for each other.

    Raises SchemaMissing where a newer program has upgraded it further.
    """
    statements = queries("migrations")
    conn.execute(statements.lock)
    now = status(conn)
    _refuse_newer(now)
    pending = now.pending
    if pending and not now.current:
        conn.execute(statements.create)
    for number, name in _migrations().items():
        if name in pending:
            text = files("wa_sessions.db").joinpath("migrations", name + ".sql").read_text(encoding="utf-8")
            conn.execute(text.encode())
            conn.execute(statements.record, {"number": number, "name": name})
    return list(pending)


def require_current(conn: Connection, *, present: bool = False) -> None:
    """Raise SchemaMissing unless the schema is exactly what this program was written for; ``present``: see above."""
    now = status(conn, present=present)
    if now.current == 0:
        raise SchemaMissing("this database has no schema wa_sessions yet: run wa-sessions db upgrade")
    if now.pending:
        raise SchemaMissing(
            f"the schema wa_sessions is at {now.current}, {now.latest} is needed: run wa-sessions db upgrade"
        )
    _refuse_newer(now)


def _refuse_newer(now: MigrationStatus) -> None:
    if now.current > now.latest:
        raise SchemaMissing(
            f"the schema wa_sessions is at {now.current}, this program knows {now.latest}: install a newer wa-sessions"
        )


@cache
def _migrations() -> dict[int, str]:
    names = sorted(path.name for path in files("wa_sessions.db").joinpath("migrations").iterdir())
    return {int(match[1]): name.removesuffix(".sql") for name in names if (match := _FILE.fullmatch(name))}
