"""The Node backend's auth keys: how many of each type a phone has, what size they are, and their names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from psycopg.sql import SQL, Composed

from wa_sessions.db.backend import NEWEST, OLDER, AuthTable, Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import DatabaseError

_SQL = queries("auth_keys")


@dataclass(frozen=True, slots=True)
class Sums:
    """Keys by type, zeros left out, and their size in bytes: of Baileys' values, or of whatsmeow's rows."""

    by_type: dict[str, int]
    bytes: int

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """Put together rows of ``type``, ``rows`` and ``bytes``."""
        found = [row for row in rows if row["rows"]]
        return cls({row["type"]: row["rows"] for row in found}, sum(int(row["bytes"]) for row in found))


def table(backend: Backend) -> AuthTable:
    """The table of auth keys; raises DatabaseError where there is none."""
    if backend.auth is None:
        raise DatabaseError(
            f'no table "{NEWEST}" or "{OLDER}" in this database: is it the backend\'s, and its schema in the URL '
            "(?schema=…)?"
        )
    return backend.auth


def sums(conn: Connection, backend: Backend, organization_id: int, number: str) -> Sums:
    """Number by type and size of a phone's keys, read through the primary key."""
    values = {"organization_id": str(organization_id), "number": number}
    table(backend).require_readable()
    return Sums.of(conn.execute(_on(_SQL.sums, backend), values))


def counts(
    conn: Connection, backend: Backend, organization_id: int | None = None
) -> dict[tuple[int, str], dict[str, int]]:
    """Keys by type of all numbers that have any, by organization and number."""
    scope = _SQL.everybody if organization_id is None else _SQL.of_organization
    statement = _SQL.counts.format(auth_table=table(backend).identifier, key_type=_SQL.key_type, scope=scope)
    found = conn.execute(statement, {"organization_id": str(organization_id)})
    rows = [row for row in found if str(row["organization_id"]).isdigit()]
    return {(int(row["organization_id"]), row["number"]): row["by_type"] for row in rows}


def names(
    conn: Connection,
    backend: Backend,
    organization_id: int,
    number: str,
    *,
    key_type: str | None,
    after: str | None,
    limit: int,
) -> list[str]:
    """The names of a phone's keys in the database's order, those after a name, at most ``limit``."""
    values = {
        "organization_id": str(organization_id),
        "number": number,
        "type": key_type,
        "after": after,
        "limit": limit,
    }
    return [row["name"] for row in conn.execute(_on(_SQL.names, backend), values)]


def _on(statement: SQL, backend: Backend) -> Composed:
    return statement.format(auth_table=table(backend).identifier, key_type=_SQL.key_type)
