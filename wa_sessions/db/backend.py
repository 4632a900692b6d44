"""The Node backend's tables, found by name in the schemas of the search path. They are never altered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from psycopg.rows import DictRow
from psycopg.sql import Identifier

from wa_sessions.db.gateway import Connection, schemas
from wa_sessions.db.sql import queries
from wa_sessions.errors import DatabaseError

PHONES = "OrganizationPhone"
NEWEST, OLDER = "baileys_auth", "BaileysAuth"
BYTES = "bytea"
PRIVILEGES: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_SQL = queries("backend")


@dataclass(frozen=True)
class AuthTable:
    """Where the backend keeps auth keys; the older shape has an ``id`` and a ``bytea`` value.

    ``value_type``: of the values, as Postgres calls it.
    """

    schema: str
    name: str
    columns: frozenset[str]
    value_type: str

    @property
    def binary(self) -> bool:
        """Whether the values are bytes."""
        return self.value_type == BYTES

    @property
    def unreadable(self) -> str | None:
        """What to tell of values that are JSON to Postgres, so that none comes back byte for byte; None elsewhere."""
        if self.value_type not in ("json", "jsonb"):
            return None
        return (
            f'"value" of "{self.name}" is of the type {self.value_type}: supported are text and bytea, so its keys '
            "cannot be read or moved; nothing was changed"
        )

    def require_readable(self) -> None:
        """Raise DatabaseError where the values are of a type that is not supported."""
        if self.unreadable:
            raise DatabaseError(self.unreadable)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell one row from another."""
        return ("organizationId", "phoneJid", "key")

    @cached_property
    def identifier(self) -> Identifier:
        """The table's name for SQL; it is one of two."""
        return Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Rights:
    """What our role may do with the tables that are there: the backend's, whatsmeow's and our own.

    ``unusable``: the schemas on which it has no USAGE.
    """

    of_tables: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    unusable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Backend:
    """What the backend's schema has: ``auth`` is None and ``phone_columns`` empty where a table is absent.

    ``enums``: the columns of phones that take certain words alone: the type's name and those words. ``rights``: as they
    were when this was looked for.
    """

    auth: AuthTable | None
    phone_columns: frozenset[str]
    phone_schema: str
    enums: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    rights: Rights = Rights()

    @cached_property
    def has_phones(self) -> bool:
        """Whether there is a table of phones."""
        return bool(self.phone_columns)

    @cached_property
    def has_connection_type(self) -> bool:
        """Whether the phones themselves say whose they are."""
        return "connectionType" in self.phone_columns

    @cached_property
    def phones(self) -> Identifier:
        """The name of the table of phones for SQL."""
        return Identifier(self.phone_schema, PHONES)

    def word(self, column: str, word: str) -> str:
        """The word as the column spells it. Raises DatabaseError where the column's type does not have it."""
        kind, words = self.enums.get(column, ("", ()))
        found = next((one for one in words if one.casefold() == word.casefold()), None)
        if not words or found is not None:
            return found or word
        raise DatabaseError(
            f'"{column}" of "{PHONES}" is the enum {kind}, which has no {word!r} but {", ".join(words)}; nothing was '
            f"changed. Add it, in the backend's own schema too: ALTER TYPE {kind} ADD VALUE '{word}'"
        )

    def require_phones(self) -> None:
        """Raise DatabaseError where there is no table of phones."""
        if not self.has_phones:
            raise DatabaseError(
                f'no table "{PHONES}" in this database: is it the backend\'s, and its schema in the URL (?schema=…)?'
            )


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    owner: int
    columns: dict[str, str]
    enums: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)


def as_stored(organization_id: int | None) -> str | None:
    """An organization for a query: Postgres then takes it for whatever the backend's column is."""
    return None if organization_id is None else str(organization_id)


def organization_of(value: Any) -> int | None:
    """An organization as the backend has it, if that is a whole number, also one that is written as text."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def detect(conn: Connection) -> Backend:
    """Look which of the known tables there are, and what our role may do with them.

    Of two auth tables the one is meant that belongs to the owner of the phones: whoever may CREATE in the schema could
    have made the other, whose triggers would run as we do.
    """
    rows = conn.execute(_SQL.present, {"known": [PHONES, NEWEST, OLDER], "privileges": list(PRIVILEGES)}).fetchall()
    tables = _tables(rows)
    phones = tables.get(PHONES, _Table("public", 0, {}))
    found = [auth for name in (NEWEST, OLDER) if (auth := _auth_table(name, tables.get(name)))]
    found = [auth for auth in found if tables[auth.name].owner == phones.owner] or found
    if len(found) == 2 and not _has_rows(conn, found[0]):
        found.reverse()
    auth = found[0] if found else None
    return Backend(auth, frozenset(phones.columns), phones.schema, dict(phones.enums), _rights(rows))


def create_tables(conn: Connection) -> Backend:
    """Make the backend's tables in their newest shape (for an embedded database only) where they are absent."""
    conn.execute(_SQL.lock)
    conn.execute(_SQL.create.format(schema=Identifier(schemas(conn)[0])))
    return detect(conn)


def _tables(rows: Iterable[DictRow]) -> dict[str, _Table]:
    """The columns of the backend's tables and their types, of each table where the search path has it first."""
    tables: dict[str, _Table] = {}
    for row in rows:
        if row["columns"] is None or row["table"] in tables:
            continue
        columns = {name: column["type"] for name, column in row["columns"].items()}
        enums = {
            name: (column["type"], tuple(column["words"])) for name, column in row["columns"].items() if column["words"]
        }
        tables[row["table"]] = _Table(row["schema"], row["owner"], columns, enums)
    return tables


def _rights(rows: Iterable[DictRow]) -> Rights:
    of_tables = {(row["schema"], row["table"]): frozenset(row["privileges"]) for row in rows if row["table"]}
    return Rights(of_tables, frozenset(row["schema"] for row in rows if not row["usable"]))


def _auth_table(name: str, table: _Table | None) -> AuthTable | None:
    if table is None or not table.columns.keys() >= {"organizationId", "phoneJid", "key", "value"}:
        return None
    return AuthTable(table.schema, name, frozenset(table.columns), table.columns["value"])


def _has_rows(conn: Connection, table: AuthTable) -> bool:
    row = conn.execute(_SQL.any_row.format(auth_table=table.identifier)).fetchone()
    return bool(row and row["present"])
