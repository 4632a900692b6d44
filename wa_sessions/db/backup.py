"""Reading phones with all their keys for a backup: from one snapshot, row by row; no right but to read is needed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from wa_sessions.db import key_transfer, whatsmeow
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.db.sql import queries
from wa_sessions.keys.backup_format import SavedPhone
from wa_sessions.keys.phone_ref import number_of

FETCHED_AT_ONCE = 200
"""Rows. One can have a hundred kilobytes, so that more would cost memory; fewer, round trips."""

_SQL = queries("backup")


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be saved, at one moment of the database."""

    at: datetime
    phones: tuple[Phone, ...]
    rows: dict[int, dict[str, object]]
    devices: dict[str, list[str]]


def source(conn: Connection, backend: Backend, phones: Sequence[Phone]) -> Source:
    """The phones' own rows and their devices in whatsmeow's store; ``at`` is no later than what is read after it."""
    moment = conn.execute(_SQL.moment).fetchone()
    rows = conn.execute(_SQL.phone_rows.format(phones=backend.phones), {"ids": [phone.id for phone in phones]})
    devices: dict[str, list[str]] = defaultdict(list)
    if whatsmeow.existing_tables(conn):
        for row in conn.execute(_SQL.devices):
            devices[number_of(row["jid"])].append(row["jid"])
    at = moment["at"].astimezone(UTC) if moment else datetime.now(UTC)
    return Source(at, tuple(phones), {row["id"]: row["row"] for row in rows}, dict(devices))


def saved(conn: Connection, found: Source, phone: Phone) -> SavedPhone:
    """A phone for the file."""
    pairs = {
        (row["lid"], row["pn"])
        for jid in found.devices.get(phone.number, [])
        for row in key_transfer.lid_map_of(conn, jid)
    }
    return SavedPhone(
        phone.organization_id,
        phone.number,
        phone.phone_jid,
        phone.status,
        phone.connection_type,
        found.rows.get(phone.id, {}),
        tuple(sorted(pairs)),
    )


def keys(conn: Connection, backend: Backend, found: Source, phone: Phone) -> Iterator[tuple[str, str]]:
    """Table and row, as JSON text, of every key of a phone in both stores, through a cursor on the server."""
    parts = _auth_part(backend) + _store_parts(conn, found, phone)
    if not parts:
        return
    values = {
        "organization_id": str(phone.organization_id),
        "number": phone.number,
        "devices": found.devices.get(phone.number, []),
    }
    with conn.cursor("backup", row_factory=tuple_row) as cursor:
        cursor.itersize = FETCHED_AT_ONCE
        cursor.execute(SQL(" UNION ALL ").join(parts), values)
        yield from cursor


def keys_without_phone(conn: Connection, backend: Backend, phones: Sequence[Phone]) -> int:
    """How many auth keys of the backend belong to none of these phones."""
    if backend.auth is None:
        return 0
    values = {
        "organizations": [phone.organization_id for phone in phones],
        "numbers": [phone.number for phone in phones],
    }
    row = conn.execute(_SQL.without_phone.format(table=backend.auth.identifier), values).fetchone()
    return int(row["keys"]) if row else 0


def _auth_part(backend: Backend) -> list[Composed]:
    if backend.auth is None:
        return []
    backend.auth.require_readable()
    return [_SQL.auth_rows.format(name=Literal(backend.auth.name), table=backend.auth.identifier)]


def _store_parts(conn: Connection, found: Source, phone: Phone) -> list[Composed]:
    """The device itself first, as the other rows refer to it."""
    if not found.devices.get(phone.number):
        return []
    return [
        _SQL.store_rows.format(
            name=Literal(table.name), table=whatsmeow.qualified(table), owner=Identifier(table.owner)
        )
        for table in reversed(whatsmeow.existing_tables(conn))
    ]
