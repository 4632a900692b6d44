"""What a shell's Tab key offers: read in a hurry, for somebody waits at every key."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from psycopg.conninfo import make_conninfo

from wa_sessions.db import backend
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target
from wa_sessions.db.sql import queries
from wa_sessions.keys.phone_ref import number_of

_SQL = queries("suggestions")
CONNECT_TIMEOUT = 2  # seconds, the least that libpq takes


@contextlib.contextmanager
def hurried(target: Target) -> Iterator[Connection]:
    """A transaction that gives up soon. Raises DatabaseError."""
    soon = replace(target, conninfo=make_conninfo(target.conninfo, connect_timeout=CONNECT_TIMEOUT))
    with Database.open(soon, size=1) as database, database.transaction() as conn:
        conn.execute(_SQL.hurry)
        yield conn


def phones(conn: Connection, typed: str, organization_id: int | None) -> list[tuple[str, str]]:
    """Numbers that begin with ``typed``, each once, and whose they are."""
    found: dict[str, list[str]] = {}
    values = {"typed": typed, "organization_id": backend.as_stored(organization_id)}
    for row in conn.execute(_SQL.phones.format(phones=backend.detect(conn).phones), values):
        name = f"{row['displayName']}, " if row.get("displayName") else ""
        found.setdefault(number_of(row["phoneJid"]), []).append(f"{name}organization {row['organizationId']}")
    return [(number, "; ".join(meanings)) for number, meanings in sorted(found.items())]


def operations(conn: Connection) -> list[tuple[str, str]]:
    """Operations that can still be undone, the newest first, with what they did."""
    return [
        (row["id"], f"{row['action']} {_whose(row['number'], row['phones'])}, {row['at']:%d %b %H:%M} UTC")
        for row in conn.execute(_SQL.operations)
    ]


def _whose(number: str, phones: int) -> str:
    return number if phones == 1 else f"{phones} phones"
