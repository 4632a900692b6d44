"""A phone's keys, whole: read out of one store, put into the other, and a mark by which a change of them is seen."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.sql import SQL, Composable, Identifier, Literal

from wa_sessions.db import auth_keys, phones, whatsmeow
from wa_sessions.db.backend import AuthTable, Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.db.sql import queries
from wa_sessions.errors import Conflict, DatabaseError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.baileys.creds import Creds
from wa_sessions.keys.baileys.rows import Row, decode
from wa_sessions.keys.fields import BadKey
from wa_sessions.keys.whatsmeow.rows import LID_MAP, WHATSMEOW_SCHEMA_VERSION

ROWS_AT_ONCE = 1_000
"""How many rows are written by one statement, so that none of them is too long for Postgres."""

_SQL = queries("key_transfer")


def store_version(conn: Connection) -> int | None:
    """The version of the store's tables; None where neonize has not made them yet."""
    if not whatsmeow.existing_tables(conn):
        return None
    row = conn.execute(_SQL.store_version).fetchone()
    return int(row["version"]) if row else None


def require_store(conn: Connection) -> None:
    """Raise DatabaseError unless the store's tables are those that the conversion was written for."""
    if not has_store(conn):
        raise DatabaseError("neonize has no tables in this database yet: no phone of ours was ever run here")


def has_store(conn: Connection) -> bool:
    """Whether neonize has made the store's tables; raises DatabaseError where they are of another version."""
    version = store_version(conn)
    if version not in (None, WHATSMEOW_SCHEMA_VERSION):
        raise DatabaseError(
            f"the tables of neonize are of version {version}, keys can be moved into and out of version "
            f"{WHATSMEOW_SCHEMA_VERSION} alone: install the wa-sessions that fits this neonize"
        )
    return version is not None


def auth_rows(conn: Connection, backend: Backend, phone: Phone) -> list[Row]:
    """All auth keys of a phone of the Node backend."""
    statement = _SQL.auth_rows.format(auth_table=_auth_table(backend).identifier)
    return [_row(row) for row in conn.execute(statement, _of(phone))]


def kept_auth_rows(conn: Connection, phone: Phone) -> list[Row]:
    """The auth keys that the last adoption of a phone put into quarantine; empty where there was none."""
    found = conn.execute(_SQL.last_adoption, {"phone_id": phone.id}).fetchone()
    if found is None:
        return []
    return kept_rows(conn, found["id"], phone)


def kept_rows(conn: Connection, operation_id: str, phone: Phone) -> list[Row]:
    """The auth keys of a phone that an operation has put into quarantine."""
    values = {"operation": operation_id, "phone_id": phone.id}
    return [_row(row) for row in conn.execute(_SQL.kept_auth_rows, values)]


def devices_in_node(conn: Connection, backend: Backend, number: str) -> set[str]:
    """The JIDs of the devices of a number whose ``creds`` stand, readable, in the Node backend's table."""
    if backend.auth is None or "type" not in backend.auth.columns or backend.auth.unreadable:
        return set()
    statement = _SQL.creds.format(auth_table=backend.auth.identifier)
    found = set()
    for organization in phones.organizations_with_keys(conn, backend, number):
        values = {"organization_id": str(organization), "number": number}
        for row in conn.execute(statement, values):
            with contextlib.suppress(BadKey):
                creds = decode(_row(row))
                if isinstance(creds, Creds) and creds.me:
                    found.add(creds.me.jid)
    return found


def uses_seven(conn: Connection, backend: Backend, organization_id: int) -> bool:
    """Whether some phone of the organization has keys of a kind that Baileys 6 does not know."""
    statement = _SQL.uses_seven.format(auth_table=auth_keys.table(backend).identifier)
    row = conn.execute(statement, {"organization_id": str(organization_id)}).fetchone()
    return bool(row and row["present"])


def lid_map(conn: Connection) -> list[tuple[str, str]]:
    """The pairs of LID and number that the store knows."""
    return [(row["lid"], row["pn"]) for row in conn.execute(_SQL.lid_map)]


def device_rows(conn: Connection, jid: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a device, by table, and the pairs of LID and number of those that it talks to."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for table in whatsmeow.existing_tables(conn):
        statement = _SQL.device_rows.format(table=whatsmeow.qualified(table), owner=Identifier(table.owner))
        rows[table.name] = conn.execute(statement, {"device": jid}).fetchall()
    rows[LID_MAP] = lid_map_of(conn, jid)
    return rows


def lid_map_of(conn: Connection, jid: str) -> list[dict[str, Any]]:
    """The rows of ``whatsmeow_lid_map`` of those that a device talks to."""
    return conn.execute(_SQL.lid_map_of_device, {"device": jid}).fetchall()


def put_lid_map(conn: Connection, pairs: Iterable[tuple[str, str]]) -> None:
    """Put pairs of LID and number into the store; those that it knows already stay."""
    put_device(conn, {LID_MAP: [{"lid": lid, "pn": number} for lid, number in pairs]})


def put_device(conn: Connection, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Put a device and its rows into the store, parents first. Pairs of LID and number that it knows already stay.

    Raises Conflict where other rows stand there.
    """
    for name, rows in tables.items():
        inserted = _insert(conn, Identifier(whatsmeow.SCHEMA, name), rows)
        if name != LID_MAP:
            _require_all(inserted, rows)


def put_auth_keys(conn: Connection, backend: Backend, phone: Phone, rows: Iterable[Row]) -> None:
    """Put auth keys into the Node backend's table, in its shape. Raises Conflict where some stand there."""
    table = _auth_table(backend)
    owner = {"organizationId": str(phone.organization_id), "phoneJid": phone.number}
    given = [
        owner
        | {"key": row.key, "value": _as_bytes(row.value) if table.binary else _as_text(row.value), "type": row.type}
        | ({"id": str(uuid4())} if "id" in table.columns else {})
        for row in rows
    ]
    _require_all(_insert(conn, table.identifier, given), given)


def fingerprint(conn: Connection, backend: Backend, phone: Phone) -> str:
    """A digest of all keys in the phone's own store: the same while nobody has used them."""
    if phone.connection_type == ConnectionType.NEONIZE:
        tables = whatsmeow.existing_tables(conn)
        values: dict[str, Any] = {"devices": whatsmeow.devices_in(conn, tables, phone.number)}
        rows = [(whatsmeow.qualified(table), _SQL.of_device.format(owner=Identifier(table.owner))) for table in tables]
    else:
        values = _of(phone)
        rows = [(auth_keys.table(backend).identifier, _SQL.of_number.format())]
    digests = _digests(conn, rows, values) if rows else []
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def move_record(conn: Connection, operation_id: str, phone_id: int) -> dict[str, Any]:
    """What the history has of an operation that moved a phone, its ``mark`` with it; empty where it has nothing."""
    row = conn.execute(_SQL.move_record, {"operation": operation_id, "phone_id": phone_id}).fetchone()
    return dict(row["detail"]) if row else {}


@dataclass(frozen=True, slots=True)
class MovedAfter:
    """How a phone left (``exported``) or came (``imported``), and the operation."""

    kind: str
    operation: str


def moved_after(conn: Connection, phone_id: int, made_at: datetime) -> MovedAfter | None:
    """How a phone left after a file was made, or came with that or a newer file, where that was not undone."""
    row = conn.execute(_SQL.moved_after, {"phone_id": phone_id, "made_at": made_at}).fetchone()
    return MovedAfter(row["kind"], row["operation"]) if row else None


def _auth_table(backend: Backend) -> AuthTable:
    table = auth_keys.table(backend)
    if "type" not in table.columns:
        raise DatabaseError(f'"{table.name}" has no column "type": it is of no shape whose keys can be moved')
    table.require_readable()
    return table


def _digests(conn: Connection, rows: Sequence[tuple[Composable, Composable]], values: Mapping[str, Any]) -> list[str]:
    """One for each table's rows that fulfil a condition."""
    each = [
        _SQL.digest.format(place=Literal(place), table=table, condition=condition)
        for place, (table, condition) in enumerate(rows)
    ]
    found = {row["place"]: row["digest"] for row in conn.execute(SQL(" UNION ALL ").join(each), values)}
    return [found[place] for place in range(len(rows))]


def _require_all(inserted: int, given: Sequence[object]) -> None:
    if inserted < len(given):
        raise Conflict(
            f"keys were written by somebody else meanwhile ({len(given) - inserted}): stop what runs this phone; "
            "nothing was changed"
        )


def _insert(conn: Connection, table: Composable, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows where none stand; returns how many."""
    if not rows:
        return 0
    statement = _SQL.insert.format(table=table, columns=SQL(", ").join(map(Identifier, rows[0])))
    parts = (rows[begin : begin + ROWS_AT_ONCE] for begin in range(0, len(rows), ROWS_AT_ONCE))
    return sum(conn.execute(statement, {"rows": json.dumps(part, default=_in_json)}).rowcount for part in parts)


def _in_json(value: object) -> str:
    """What JSON has no word for, as Postgres reads it there."""
    match value:
        case bytes():
            return f"\\x{value.hex()}"
        case UUID():
            return str(value)
        case _:
            raise TypeError(f"no column has a {type(value).__name__}")


def _row(row: Mapping[str, Any]) -> Row:
    value = row["value"]
    if isinstance(value, str) and value.startswith("\\x"):  # jsonb writes bytes like that
        with contextlib.suppress(ValueError):  # or it is text that looks so
            value = bytes.fromhex(value.removeprefix("\\x"))
    return Row(row["key"], bytes(value) if not isinstance(value, str) else value, row["type"])


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def _of(phone: Phone) -> dict[str, Any]:
    return {"organization_id": str(phone.organization_id), "number": phone.number}
