"""Every deletion of keys: one statement takes rows out of their table and puts them, whole, into quarantine."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Final, Literal

from psycopg.rows import DictRow
from psycopg.sql import SQL, Composable, Identifier, Placeholder
from psycopg.sql import Literal as Constant

from wa_sessions.db import operations, peers, whatsmeow
from wa_sessions.db.backend import PHONES, Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import OperationPart
from wa_sessions.db.phones import Phone
from wa_sessions.db.sql import queries
from wa_sessions.health.backend_words import BackendStatus, ConnectionType
from wa_sessions.keys.pairing_mark import pairing_mark
from wa_sessions.keys.selection import EVERYTHING, Selection
from wa_sessions.keys.whatsmeow_tables import DEVICE, MUTATION_MACS, SENDER_KEYS, SESSIONS, TABLES, VERSIONS, StoreTable

_SQL = queries("quarantine")
_KEY_TYPE = queries("auth_keys").key_type
_PEER_COLUMNS = {SESSIONS: "their_id", SENDER_KEYS: "sender_id"}
_NO_USING: Final = SQL("")


class AnyMark(Enum):
    """Asks for a deletion whatever the record's state is."""

    ANY = "any"


ANY_MARK: Final = AnyMark.ANY
Mark = str | None | Literal[AnyMark.ANY]


@dataclass(frozen=True)
class QuarantineResult:
    """What a selection met in one phone's key store: rows before, rows taken by key type, rows that are left."""

    matched: int = 0
    by_type: dict[str, int] = field(default_factory=dict)
    left: int = 0

    @cached_property
    def quarantined(self) -> int:
        """How many rows were taken."""
        return sum(self.by_type.values())


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one table: its name for SQL, what quarantine calls store and table, the kind of a row, and which."""

    table: Composable
    store: str
    name: str
    kind: Composable
    where: Composable
    values: dict[str, Any]


def begin(
    conn: Connection,
    backend: Backend,
    phone: Phone,
    *,
    action: str,
    reason: str,
    actor: str,
    status_after: BackendStatus | None = None,
    operation_id: str | None = None,
) -> OperationPart:
    """Make a phone part of a new operation, or of ``operation_id``."""
    return operations.begin(
        conn,
        phone,
        action=action,
        reason=reason,
        actor=actor,
        operation_id=operation_id,
        status_after=status_after,
        pairing=pairing_of(conn, backend, phone),
    )


def pairing_of(conn: Connection, backend: Backend, phone: Phone) -> str | None:
    """What tells this pairing of a phone from an earlier or later one; None where there is none, or none readable."""
    if phone.connection_type == ConnectionType.NEONIZE:
        return ",".join(whatsmeow.device_of(conn, phone.number)) or None
    if backend.auth is None:
        return None
    backend.auth.require_readable()
    values = {"organization_id": str(phone.organization_id), "number": phone.number}
    row = conn.execute(_SQL.creds.format(auth_table=backend.auth.identifier), values).fetchone()
    return pairing_mark(row["value"]) if row else None


def count(conn: Connection, backend: Backend, phone: Phone, selection: Selection) -> dict[str, int]:
    """How many of a phone's keys are selected, by type."""
    counted: Counter[str] = Counter()
    for rows in _selected(conn, backend, phone, selection):
        statement = _SQL.count.format(table=rows.table, condition=rows.where, kind=rows.kind)
        counted.update({row["kind"]: row["keys"] for row in conn.execute(statement, rows.values)})
    return dict(counted)


def take(
    conn: Connection, backend: Backend, part: OperationPart, phone: Phone, selection: Selection
) -> QuarantineResult:
    """Take a phone's selected keys out of its own key store."""
    if selection is EVERYTHING or selection.types is None:
        lock_devices(conn, phone)
    matched, by_type = 0, Counter[str]()
    for rows in _selected(conn, backend, phone, selection):
        met, taken = _take_all(conn, part, rows)
        matched += met
        by_type.update(taken)
    left = count(conn, backend, phone, selection)
    return QuarantineResult(matched, dict(by_type), sum(left.values()))


def lock_devices(conn: Connection, phone: Phone) -> None:
    """Nothing can be added to a device whose own row and versions are locked."""
    if phone.connection_type != ConnectionType.NEONIZE:
        return
    existing = whatsmeow.existing_tables(conn)
    tables = [table for table in existing if table in (DEVICE, VERSIONS)]
    for jid in whatsmeow.devices_in(conn, existing, phone.number):
        for table in reversed(tables):
            names = {"table": whatsmeow.qualified(table), "owner": Identifier(table.owner)}
            conn.execute(_SQL.lock_rows.format(**names), {"device": jid})


def session(conn: Connection, part: OperationPart, device_jid: str, sender: str, *, only_mark: Mark) -> int:
    """Take a sender's session if it still is the one with that mark (None: one that cannot be read)."""
    found = whatsmeow.find_session(conn, device_jid, sender, lock=True)
    if found is None or only_mark not in (ANY_MARK, found.session_mark):
        return 0
    return _take_exactly(conn, part, SESSIONS, {"our_jid": device_jid, "their_id": found.address})


def sender_key(
    conn: Connection, part: OperationPart, device_jid: str, chat: str, sender: str, *, only_mark: Mark
) -> int:
    """Take a sender's key in a group if it still is the one with that mark (None: one that cannot be read)."""
    found = whatsmeow.find_sender_key(conn, device_jid, chat, sender, lock=True)
    if found is None or only_mark not in (ANY_MARK, found.sender_key_mark):
        return 0
    row = {"our_jid": device_jid, "chat_id": chat, "sender_id": found.address}
    return _take_exactly(conn, part, SENDER_KEYS, row)


def app_state_version(conn: Connection, part: OperationPart, device_jid: str, name: str) -> int:
    """Take a collection's version, its mutation MACs before it, so that the cascade finds none; keys stay."""
    if not whatsmeow.existing_tables(conn):
        return 0
    conn.execute(_SQL.lock_version, {"device": device_jid, "name": name})
    row = {"jid": device_jid, "name": name}
    return sum(_take_exactly(conn, part, table, row) for table in (MUTATION_MACS, VERSIONS))


def under_devices(conn: Connection, part: OperationPart, jids: Collection[str]) -> dict[str, int]:
    """Take what stands under devices, their own row there or not, by kind: not every table of whatsmeow cascades."""
    taken: Counter[str] = Counter()
    for table in whatsmeow.existing_tables(conn) if jids else ():
        where = _SQL.under_devices.format(owner=Identifier(table.owner))
        values = {"devices": list(jids)}
        rows = _Rows(whatsmeow.qualified(table), "whatsmeow", table.name, Constant(table.kind), where, values)
        taken.update(_take(conn, part, rows))
    return dict(taken)


def by_kind(rows: Mapping[str, int]) -> dict[str, int]:
    """Counts of rows by the name of their table, as counts of keys by type; tables without an owner are left out."""
    kinds = {table.name: table.kind for table in TABLES}
    return {kinds[name]: count for name, count in rows.items() if count and name in kinds}


def together(parts: Iterable[QuarantineResult]) -> QuarantineResult:
    """What was taken in several stores, as one."""
    matched = left = 0
    by_type: Counter[str] = Counter()
    for part in parts:
        matched, left = matched + part.matched, left + part.left
        by_type.update(part.by_type)
    return QuarantineResult(matched, dict(by_type), left)


def phone_row(conn: Connection, backend: Backend, part: OperationPart) -> int:
    """Take the phone's own row."""
    values = {"phone_id": part.phone_id}
    rows = _Rows(backend.phones, "backend", PHONES, Constant("phone"), _SQL.phone_row, values)
    return sum(_take(conn, part, rows).values())


def overwritten(
    conn: Connection,
    part: OperationPart,
    table: Composable,
    store: str,
    key: tuple[str, ...],
    kept_as: str,
    source: OperationPart,
) -> int:
    """Take the rows that stand where those of ``source`` are to go, unless they are the same."""
    present = SQL(", ").join(SQL("doomed.{}").format(Identifier(column)) for column in key)
    kept = SQL(", ").join(SQL("r.{}").format(Identifier(column)) for column in key)
    where = _SQL.overwritten.format(present=present, kept=kept)
    values = {"from_operation": source.operation_id, "kept_as": kept_as}
    rows = _Rows(table, store, kept_as, Constant("overwritten"), where, values)
    return sum(_take(conn, part, rows, _SQL.using_kept.format(table=table)).values())


def _selected(conn: Connection, backend: Backend, phone: Phone, selection: Selection) -> Iterator[_Rows]:
    """The selected rows of the phone's own key store, children before what they belong to."""
    names = peers.completed(conn, backend, phone, selection.peer).names() if selection.peer else None
    if phone.connection_type == ConnectionType.NEONIZE:
        tables = whatsmeow.existing_tables(conn)
        for jid in whatsmeow.devices_in(conn, tables, phone.number):
            for table in tables:
                if selection.types is None or _kinds(table) & selection.types:
                    yield _of_device(table, jid, names)
    elif phone.connection_type == ConnectionType.BAILEYS and backend.auth is not None:
        values = {
            "organization_id": str(phone.organization_id),
            "number": phone.number,
            "types": sorted(selection.types) if selection.types is not None else None,
            "names": names,
        }
        where = _SQL.baileys_rows.format(key_type=_KEY_TYPE)
        yield _Rows(backend.auth.identifier, "baileys", backend.auth.name, _KEY_TYPE, where, values)


def _kinds(table: StoreTable) -> set[str]:
    """A collection's mutation MACs belong to its version."""
    return {table.kind, VERSIONS.kind} if table is MUTATION_MACS else {table.kind}


def _of_device(table: StoreTable, jid: str, names: list[str] | None) -> _Rows:
    where = _SQL.store_rows.format(owner=Identifier(table.owner))
    if names is not None:
        where = _SQL.store_rows_of_peer.format(owner=Identifier(table.owner), peer=Identifier(_PEER_COLUMNS[table]))
    values = {"device": jid, "names": names}
    return _Rows(whatsmeow.qualified(table), "whatsmeow", table.name, Constant(table.kind), where, values)


def _take_exactly(conn: Connection, part: OperationPart, table: StoreTable, row: dict[str, Any]) -> int:
    """Take the rows of a whatsmeow table whose columns have these values."""
    where = SQL(" AND ").join(
        SQL("doomed.{} = {}").format(Identifier(column), Placeholder(f"c{n}")) for n, column in enumerate(row)
    )
    values = {f"c{n}": value for n, value in enumerate(row.values())}
    rows = _Rows(whatsmeow.qualified(table), "whatsmeow", table.name, Constant(table.kind), where, values)
    return sum(_take(conn, part, rows).values())


def _take(conn: Connection, part: OperationPart, rows: _Rows, using: Composable = _NO_USING) -> dict[str, int]:
    """Take rows; how many by kind."""
    return _taken(_execute(conn, part, rows, using, met=_SQL.not_counted.format()))


def _take_all(conn: Connection, part: OperationPart, rows: _Rows) -> tuple[int, dict[str, int]]:
    """Take rows; how many there were as it began, and how many were taken, by kind."""
    found = _execute(conn, part, rows, _NO_USING, met=_SQL.met.format(table=rows.table, condition=rows.where))
    return found[0]["met"], _taken(found)


def _execute(conn: Connection, part: OperationPart, rows: _Rows, using: Composable, met: Composable) -> list[DictRow]:
    statement = _SQL.take.format(table=rows.table, condition=rows.where, kind=rows.kind, using=using, met=met)
    values = {"operation": part.operation_id, "phone_id": part.phone_id, "store": rows.store, "table": rows.name}
    return conn.execute(statement, rows.values | values).fetchall()


def _taken(found: Iterable[DictRow]) -> dict[str, int]:
    return {row["kind"]: row["keys"] for row in found if row["kind"] is not None}
