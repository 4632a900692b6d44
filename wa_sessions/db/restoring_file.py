"""Putting the rows of a backup back: through a table of this transaction alone, then table by table, parents first."""

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier

from wa_sessions.db import whatsmeow
from wa_sessions.db.backend import NEWEST, OLDER, Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import Conflict
from wa_sessions.keys.backup_format import SavedRow
from wa_sessions.keys.phone_ref import number_of
from wa_sessions.keys.whatsmeow_tables import TABLES

AUTH_TABLES = frozenset({NEWEST, OLDER})
_SQL = queries("backup")


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the rows of a table go; ``row`` is a row of the file in the shape of that table."""

    table: Identifier
    title: str
    row: Composable
    without_id: bool = False


def devices(conn: Connection, numbers: Collection[str]) -> dict[str, dict[str, str]]:
    """By number: the JIDs of the devices that are paired now, each with what tells its pairing from another."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    if whatsmeow.existing_tables(conn):
        for row in conn.execute(_SQL.devices_now, {"numbers": list(numbers)}):
            found[number_of(row["jid"])][row["jid"]] = row["noise_key"]
    return found


def put_back(
    conn: Connection, backend: Backend, feed: Callable[[Callable[[SavedRow], None]], None], *, binary: bool
) -> int:
    """Insert the rows that ``feed`` hands over, ``binary`` saying which shape the auth keys have; returns how many.

    Raises Conflict where they do not fit the tables, or something stands in their place.
    """
    conn.execute(_SQL.stage)
    staged = 0
    with conn.cursor().copy(_SQL.stage_rows) as copy:

        def take(row: SavedRow) -> None:
            nonlocal staged
            staged += 1
            copy.write_row((row.table, row.row.decode()))

        feed(take)
    names = {row["table_name"] for row in conn.execute(_SQL.staged)}
    order = [table.name for table in reversed(TABLES) if table.name in names] + sorted(names & AUTH_TABLES)
    if unknown := names - set(order):
        raise Conflict(f"this program knows no table {', '.join(sorted(unknown))}: install a newer wa-sessions")
    inserted = sum(_insert(conn, backend, name, binary=binary) for name in order)
    if inserted != staged:
        raise Conflict(
            f"keys were written by somebody else meanwhile ({staged - inserted}): stop what runs these phones; nothing "
            "was changed"
        )
    return inserted


def _insert(conn: Connection, backend: Backend, name: str, *, binary: bool) -> int:
    target = _auth_target(backend, binary=binary) if name in AUTH_TABLES else _store_target(name)
    saved = {row["name"] for row in conn.execute(_SQL.staged_columns, {"table": name})}
    present = {row["name"] for row in conn.execute(queries("quarantine").columns, {"table": target.table.as_string()})}
    if not present:
        raise Conflict(f"there is no table {target.title} here: let wa-sessions run make it, then restore")
    if target.without_id:
        saved -= {"id"}
    if missing := saved - present:
        raise Conflict(f"{target.title} differs from the one of the backup: no column {', '.join(sorted(missing))}")
    cells: dict[str, Composable] = {column: SQL("r.{}").format(Identifier(column)) for column in sorted(saved)}
    if name in AUTH_TABLES and "id" in present - saved:
        cells["id"] = _SQL.new_id
    columns, values = SQL(", ").join(map(Identifier, cells)), SQL(", ").join(cells.values())
    statement = _SQL.insert.format(table=target.table, columns=columns, values=values, row=target.row)
    row = conn.execute(statement, {"table": name}).fetchone()
    return int(row["rows"]) if row else 0


def _store_target(name: str) -> _Target:
    return _Target(Identifier(whatsmeow.SCHEMA, name), f"{whatsmeow.SCHEMA}.{name}", _SQL.as_it_is)


def _auth_target(backend: Backend, *, binary: bool) -> _Target:
    """The backend's table as it is now: a value is the same UTF-8 in each of its shapes."""
    auth = backend.auth
    if auth is None:
        raise Conflict("the backend has no table of auth keys here: let the backend make it, then restore")
    row = _SQL.as_it_is
    if auth.binary != binary:
        row = _SQL.text_as_bytes if auth.binary else _SQL.bytes_as_text
    return _Target(auth.identifier, f'"{auth.name}"', row, without_id="id" not in auth.columns)
