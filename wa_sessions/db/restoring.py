"""Undoing a quarantine: its rows go back byte for byte, or nothing is changed at all."""

from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Identifier, Literal

from wa_sessions.db import operations, phones, whatsmeow
from wa_sessions.db.backend import AuthTable, Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import Operation
from wa_sessions.db.sql import queries
from wa_sessions.errors import Conflict
from wa_sessions.keys.phone_ref import number_of
from wa_sessions.keys.whatsmeow_tables import DEVICE, TABLES, StoreTable

_SQL = queries("quarantine")


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back: rows by table; ``status_before`` is the phone's status before the operation."""

    operation_id: str
    phone_id: int
    counts: dict[str, int]
    status_before: str | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """The rows of one table in quarantine, and where they go."""

    kept_as: str
    rows: int
    columns: tuple[str, ...]
    target: Composable
    title: str
    key: tuple[str, ...]


def restore(conn: Connection, backend: Backend, operation_id: str, *, actor: str) -> Restored:
    """Put an operation's rows back, and the phone's JID; raises Conflict where something newer stands there."""
    with conn.transaction():
        return _restore(conn, backend, operations.operation(conn, operation_id, lock=True), actor)


def _restore(conn: Connection, backend: Backend, done: Operation, actor: str) -> Restored:
    if done.restored_at is not None:
        raise Conflict(
            f"{done.id} was already restored at {done.restored_at:%Y-%m-%d %H:%M:%S} UTC by {done.restored_by}"
        )
    kept = _kept(conn, backend, done)
    _refuse_newer_pairing(conn, done, kept)
    counts = {table.kept_as: _put_back(conn, done, table) for table in kept}
    if done.phone_jid_before and any(_is_whole_session(table) for table in kept):
        phones.set_status(conn, backend, done.phone_id, phones.KEEP, phone_jid=done.phone_jid_before)
    operations.mark_restored(conn, done.id, actor)
    return Restored(done.id, done.phone_id, counts, done.status_before)


def _kept(conn: Connection, backend: Backend, done: Operation) -> list[_Kept]:
    """The tables of an operation, parents first."""
    found = {row["table_name"]: row for row in conn.execute(_SQL.kept_tables, {"operation": done.id})}
    tables = [table for table in reversed(TABLES) if table.name in found]
    kept = [_store_rows(conn, table, found[table.name]) for table in tables]
    for name, row in found.items():
        if row["store"] == "baileys":
            kept.append(_auth_rows(conn, _auth_table(backend, done), name, row))
    return kept


def _store_rows(conn: Connection, table: StoreTable, row: "dict[str, object]") -> _Kept:
    return _checked(conn, table.name, row, whatsmeow.qualified(table), f"{whatsmeow.SCHEMA}.{table.name}", table.key)


def _auth_rows(conn: Connection, table: AuthTable, kept_as: str, row: "dict[str, object]") -> _Kept:
    return _checked(conn, kept_as, row, table.identifier, f'"{table.name}"', table.key)


def _checked(
    conn: Connection, kept_as: str, row: "dict[str, object]", target: Composable, title: str, key: tuple[str, ...]
) -> _Kept:
    wanted = {str(column) for column in _list(row["columns"])}
    present = {column["name"] for column in conn.execute(_SQL.columns, {"table": title})}
    if missing := wanted - present:
        raise Conflict(f"{title} has changed since: it has no column {', '.join(sorted(missing))}")
    return _Kept(kept_as, int(str(row["rows"])), tuple(sorted(wanted)), target, title, key)


def _refuse_newer_pairing(conn: Connection, done: Operation, kept: list[_Kept]) -> None:
    """A device that is not part of the operation must still be there; one that is must have no successor."""
    returning = _devices(conn, done, DEVICE)
    present = set(whatsmeow.device_of(conn, done.number))
    if returning and (newer := present - returning):
        raise Conflict(
            f"{done.number} was paired anew since ({', '.join(sorted(newer))}): the old session stays in quarantine"
        )
    store = {table.name: table for table in TABLES}
    owners = {jid for table in kept if table.kept_as in store for jid in _devices(conn, done, store[table.kept_as])}
    for jid in owners - returning:
        if jid not in present and number_of(jid) == done.number:
            raise Conflict(f"the device {jid} of {done.id} is gone: restore the operation that took it first")


def _devices(conn: Connection, done: Operation, table: StoreTable) -> set[str]:
    statement = _SQL.kept_devices.format(owner=Literal(table.owner))
    return {row["jid"] for row in conn.execute(statement, {"operation": done.id, "table": table.name})}


def _put_back(conn: Connection, done: Operation, kept: _Kept) -> int:
    columns = SQL(", ").join(map(Identifier, kept.columns))
    key = SQL(", ").join(map(Identifier, kept.key))
    values = {"operation": done.id, "kept_as": kept.kept_as}
    conn.execute(_SQL.put_back.format(table=kept.target, columns=columns, key=key), values)
    clash = conn.execute(_SQL.conflicts.format(table=kept.target, key=key), values).fetchone()
    if clash and clash["rows"]:
        raise Conflict(f"{done.id} would overwrite {clash['rows']} newer rows of {kept.title}: nothing was restored")
    return kept.rows


def _is_whole_session(kept: _Kept) -> bool:
    return kept.kept_as == DEVICE.name or kept.kept_as not in {table.name for table in TABLES}


def _auth_table(backend: Backend, done: Operation) -> AuthTable:
    if backend.auth is None:
        raise Conflict(f"the backend's table of auth keys, from which {done.id} took rows, is gone")
    return backend.auth


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
