"""whatsmeow's store as neonize makes it, and rows for all of its tables."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from wa_sessions.db.gateway import Connection
from wa_sessions.keys.whatsmeow_tables import TABLES, StoreTable

DATA = Path(__file__).parent.parent / "data"
RECORDS: dict[str, dict[str, str]] = json.loads((DATA / "signal_records.json").read_text())
_LENGTHS = {"signed_pre_key_sig": 64, "adv_account_sig": 64, "adv_device_sig": 64, "hash": 128}


def make_store(conn: Connection) -> None:
    """The tables of the schema ``whatsmeow``, empty."""
    conn.execute((DATA / "whatsmeow_schema.sql").read_bytes())


def fill_device(conn: Connection, jid: str, rows: int = 3) -> int:
    """Random rows for a device in every table (one in those keyed by the device alone); returns how many."""
    made = 0
    for table in reversed(TABLES):
        for number in range(1 if table.key == (table.owner,) else rows):
            _insert(conn, table, _row(conn, table, jid, number))
            made += 1
    return made


def put_session(conn: Connection, jid: str, address: str, record: bytes) -> None:
    _insert(conn, _table("whatsmeow_sessions"), {"our_jid": jid, "their_id": address, "session": record})


def put_sender_key(conn: Connection, jid: str, chat: str, address: str, record: bytes) -> None:
    row = {"our_jid": jid, "chat_id": chat, "sender_id": address, "sender_key": record}
    _insert(conn, _table("whatsmeow_sender_keys"), row)


def put_lid(conn: Connection, lid: str, number: str) -> None:
    conn.execute("INSERT INTO whatsmeow.whatsmeow_lid_map (lid, pn) VALUES (%s, %s)", (lid, number))


def put_rows(conn: Connection, tables: dict[str, list[dict[str, Any]]]) -> None:
    for table, rows in tables.items():
        for row in rows:
            columns, values = SQL(", ").join(map(Identifier, row)), SQL(", ").join(map(Literal, row.values()))
            conn.execute(SQL("INSERT INTO whatsmeow.{} ({}) VALUES ({})").format(Identifier(table), columns, values))


def all_rows(conn: Connection, tables: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    return {
        table: [dict(row) for row in conn.execute(SQL("SELECT * FROM whatsmeow.{}").format(Identifier(table)))]
        for table in tables
    }


def everything(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the store, as bytes and plain values, in an order of their own."""
    found = {}
    for table in TABLES:
        rows = conn.execute(SQL("SELECT * FROM {}").format(_name(table))).fetchall()
        found[table.name] = sorted((tuple(row.values()) for row in rows), key=repr)
    return found


def counts(conn: Connection, jid: str) -> Counter[str]:
    """How many rows of each kind a device has."""
    found = Counter[str]()
    for table in TABLES:
        statement = SQL("SELECT count(*) AS rows FROM {} WHERE {} = %s").format(_name(table), Identifier(table.owner))
        row = conn.execute(statement, (jid,)).fetchone()
        found[table.kind] += row["rows"] if row else 0
    return found


def _row(conn: Connection, table: StoreTable, jid: str, number: int) -> dict[str, Any]:
    row = {c["name"]: _value(c["name"], c["type"], number) for c in _columns(conn, table)}
    row[table.owner] = jid
    if "app_state_mutation_macs" in table.name:
        row["name"] = "text 0"
    return row


def _value(name: str, kind: str, number: int) -> Any:
    match kind:
        case "bytea":
            return bytes([number]) + os.urandom(_LENGTHS.get(name, 32) - 1)
        case "bigint" | "integer":
            return number + 1
        case "boolean":
            return number % 2 == 0
        case "uuid":
            return None
        case _:
            return f"{name if name != 'name' else 'text'} {number}" + ("" if name == "name" else ' "\\ \u0434\u20ac')


def _insert(conn: Connection, table: StoreTable, row: dict[str, Any]) -> None:
    columns = SQL(", ").join(map(Identifier, row))
    values = SQL(", ").join(map(Literal, row.values()))
    conn.execute(SQL("INSERT INTO {} ({}) VALUES ({})").format(_name(table), columns, values))


def _columns(conn: Connection, table: StoreTable) -> list[dict[str, Any]]:
    return conn.execute(
        "SELECT column_name AS name, data_type AS type FROM information_schema.columns"
        " WHERE table_schema = 'whatsmeow' AND table_name = %s",
        (table.name,),
    ).fetchall()


def _name(table: StoreTable) -> Identifier:
    return Identifier("whatsmeow", table.name)


def _table(name: str) -> StoreTable:
    return next(table for table in TABLES if table.name == name)
