"""Every deletion of keys: one statement takes rows out of their table and puts them, whole, into quarantine."""

from enum import Enum
from typing import Any, Final, Literal

from psycopg.sql import SQL, Composable, Identifier, Placeholder

from wa_sessions.db import whatsmeow
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import Operation, discard, new_operation, operation, operations
from wa_sessions.db.restoring import Restored, restore
from wa_sessions.db.sql import queries
from wa_sessions.keys.whatsmeow_tables import DEVICE, MUTATION_MACS, SENDER_KEYS, SESSIONS, VERSIONS, StoreTable

__all__ = [
    "ANY_MARK",
    "Operation",
    "Restored",
    "app_state_version",
    "baileys",
    "device",
    "discard",
    "new_operation",
    "operation",
    "operations",
    "restore",
    "sender_key",
    "session",
]

_SQL = queries("quarantine")


class AnyMark(Enum):
    """Asks for a deletion whatever the record's state is."""

    ANY = "any"


ANY_MARK: Final = AnyMark.ANY
Mark = str | None | Literal[AnyMark.ANY]


def session(conn: Connection, operation_id: str, device_jid: str, sender: str, *, only_mark: Mark) -> int:
    """Take a sender's session if it still is the one with that mark (None: one that cannot be read)."""
    found = whatsmeow.find_session(conn, device_jid, sender, lock=True)
    if found is None or only_mark not in (ANY_MARK, found.session_mark):
        return 0
    return _take(conn, operation_id, SESSIONS, {"our_jid": device_jid, "their_id": found.address})


def sender_key(conn: Connection, operation_id: str, device_jid: str, chat: str, sender: str, *, only_mark: Mark) -> int:
    """Take a sender's key in a group if it still is the one with that mark (None: one that cannot be read)."""
    found = whatsmeow.find_sender_key(conn, device_jid, chat, sender, lock=True)
    if found is None or only_mark not in (ANY_MARK, found.sender_key_mark):
        return 0
    row = {"our_jid": device_jid, "chat_id": chat, "sender_id": found.address}
    return _take(conn, operation_id, SENDER_KEYS, row)


def app_state_version(conn: Connection, operation_id: str, device_jid: str, name: str) -> int:
    """Take a collection's version, its mutation MACs before it, so that the cascade finds none; keys stay."""
    if not whatsmeow.existing_tables(conn):
        return 0
    conn.execute(_SQL.lock_version, {"device": device_jid, "name": name})
    row = {"jid": device_jid, "name": name}
    return sum(_take(conn, operation_id, table, row) for table in (MUTATION_MACS, VERSIONS))


def device(conn: Connection, operation_id: str, device_jid: str) -> int:
    """Take every row of a device, its own last. Locked first: nothing can be added to it meanwhile."""
    tables = whatsmeow.existing_tables(conn)
    for table in (table for table in (DEVICE, VERSIONS) if table in tables):
        names = {"table": whatsmeow.qualified(table), "owner": Identifier(table.owner)}
        conn.execute(_SQL.lock_rows.format(**names), {"device": device_jid})
    return sum(_take(conn, operation_id, table, {table.owner: device_jid}) for table in tables)


def baileys(conn: Connection, backend: Backend, operation_id: str, organization_id: int, number: str) -> int:
    """Take all auth keys of a number in an organization."""
    if backend.auth is None:
        return 0
    row = {"organizationId": organization_id, "phoneJid": number}
    names = {"store": "baileys", "table": backend.auth.name}
    return _delete(conn, operation_id, backend.auth.identifier, row, names)


def _take(conn: Connection, operation_id: str, table: StoreTable, row: dict[str, Any]) -> int:
    names = {"store": "whatsmeow", "table": table.name}
    return _delete(conn, operation_id, whatsmeow.qualified(table), row, names)


def _delete(conn: Connection, operation_id: str, table: Composable, row: dict[str, Any], names: dict[str, str]) -> int:
    condition = SQL(" AND ").join(
        SQL("doomed.{} = {}").format(Identifier(c), Placeholder(f"c{n}")) for n, c in enumerate(row)
    )
    values = {f"c{n}": value for n, value in enumerate(row.values())}
    statement = _SQL.take.format(table=table, condition=condition)
    done = conn.execute(statement, values | names | {"operation": operation_id}).fetchone()
    return int(done["keys"]) if done else 0
