"""The Node backend's tables, found by name on the connection's search path. They are never altered."""

from dataclasses import dataclass

from psycopg.sql import Identifier

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import DatabaseError

PHONES = "OrganizationPhone"
NEWEST, OLDER = "baileys_auth", "BaileysAuth"


@dataclass(frozen=True, slots=True)
class AuthTable:
    """Where the backend keeps auth keys; the older shape has an ``id`` and a ``bytea`` value."""

    name: str
    columns: frozenset[str]
    binary: bool

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell one row from another."""
        return ("organizationId", "phoneJid", "key")

    @property
    def identifier(self) -> Identifier:
        """The table's name for SQL; it is one of two."""
        return Identifier(self.name)


@dataclass(frozen=True, slots=True)
class Backend:
    """What the backend's schema has: ``auth`` is None and ``phone_columns`` empty where a table is absent."""

    auth: AuthTable | None
    phone_columns: frozenset[str]

    @property
    def has_phones(self) -> bool:
        """Whether there is a table of phones."""
        return bool(self.phone_columns)

    @property
    def has_connection_type(self) -> bool:
        """Whether the phones themselves say whose they are."""
        return "connectionType" in self.phone_columns

    def require_phones(self) -> None:
        """Raise DatabaseError where there is no table of phones."""
        if not self.has_phones:
            raise DatabaseError(
                f'no table "{PHONES}" in this database: is it the backend\'s, and its schema in the URL (?schema=…)?'
            )


def detect(conn: Connection) -> Backend:
    """Look which of the known tables there are."""
    found = [table for name in (NEWEST, OLDER) if (table := _auth_table(conn, name))]
    if len(found) == 2 and not _has_rows(conn, found[0]):
        found.reverse()
    return Backend(found[0] if found else None, frozenset(_columns(conn, PHONES)))


def create_tables(conn: Connection) -> Backend:
    """Make the backend's tables in their newest shape (for an embedded database only) where they are absent."""
    conn.execute(queries("backend").lock)
    conn.execute(queries("backend").create)
    return detect(conn)


def _auth_table(conn: Connection, name: str) -> AuthTable | None:
    columns = _columns(conn, name)
    if not columns.keys() >= {"organizationId", "phoneJid", "key", "value"}:
        return None
    return AuthTable(name, frozenset(columns), columns["value"] == "bytea")


def _columns(conn: Connection, table: str) -> dict[str, str]:
    rows = conn.execute(queries("backend").columns, {"table": f'"{table}"'})
    return {row["name"]: row["type"] for row in rows}


def _has_rows(conn: Connection, table: AuthTable) -> bool:
    row = conn.execute(queries("backend").any_row.format(auth_table=table.identifier)).fetchone()
    return bool(row and row["present"])
