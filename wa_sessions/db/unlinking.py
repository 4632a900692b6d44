"""The store of a device that connects once more, only to be logged out: a schema of its own, dropped at the end."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.sql import SQL, Identifier, Literal

from wa_sessions.db import dsn, whatsmeow
from wa_sessions.db.gateway import Connection, Database, errors_of
from wa_sessions.db.sql import queries
from wa_sessions.errors import Busy, DatabaseError, PermissionMissing
from wa_sessions.keys.whatsmeow_tables import DEVICE, PRE_KEYS, StoreTable

PREFIX = "wa_sessions_unlink_"
LOCK_CLASS = 1463899468
VERSION = "whatsmeow_version"
_SQL = queries("unlinking")


@dataclass(frozen=True, slots=True)
class KeptDevice:
    """A device whose row is in quarantine."""

    phone_id: int
    organization_id: int
    number: str
    jid: str


def devices(conn: Connection, operation_id: str) -> list[KeptDevice]:
    """The whole devices of whatsmeow's store that an operation took."""
    values = {"operation": operation_id, "table": DEVICE.name}
    return [KeptDevice(**row) for row in conn.execute(_SQL.devices, values)]


def baileys_numbers(conn: Connection, operation_id: str) -> list[str]:
    """The phones whose Baileys keys an operation took and still has."""
    return [row["number"] for row in conn.execute(_SQL.baileys_numbers, {"operation": operation_id})]


def require_create(conn: Connection) -> None:
    """Raise PermissionMissing where the role may make no schema in this database."""
    role = conn.execute(queries("rights").role).fetchone()
    if role and not role["may_create"]:
        raise PermissionMissing(
            f"nothing was changed: the database role {role['name']} may not CREATE a schema, where the device's keys "
            "stand while it is unlinked: GRANT CREATE ON DATABASE to it"
        )


def stay_open(conn: Connection) -> None:
    """Let this transaction wait for WhatsApp, however short the server's patience with idle ones is."""
    conn.execute(_SQL.no_idle_timeout)


@contextlib.contextmanager
def scratch_store(database: Database, operation_id: str, device: KeptDevice) -> Iterator[str]:
    """A schema with whatsmeow's tables and the device in them, dropped at the end; its name.

    Those that killed processes have left are dropped first: an advisory lock, on a connection of its own, says that a
    schema's process lives. Raises DatabaseError where there is no schema ``whatsmeow``.
    """
    with contextlib.closing(database.dedicated()) as holder:
        _drop_leftovers(database, holder)
        number = secrets.randbelow(1 << 31)
        name = f"{PREFIX}{number:08x}"
        if not _try_lock(database, holder, number):
            raise Busy(f"the lock of {name} is taken: run it again")
        with database.transaction() as conn:
            _make_tables(conn, name)
            for table in (DEVICE, PRE_KEYS):
                _copy_rows(conn, name, table, operation_id, device)
        try:
            yield name
        finally:
            _drop(database, name)


def scratch_url(store_url: str, schema: str) -> str:
    """The store's URL, leading to that schema."""
    base, query = dsn.split_query(store_url)
    return dsn.with_query(base, query | {"search_path": schema})


def _make_tables(conn: Connection, schema: str) -> None:
    """The store's tables, empty but for its version: whatsmeow makes none itself while another schema has them."""
    names = [row["name"] for row in conn.execute(_SQL.store_tables)]
    if VERSION not in names:
        raise DatabaseError("there is no schema whatsmeow with neonize's tables here: is this the right database?")
    conn.execute(_SQL.create_scratch.format(schema=Identifier(schema)))
    for name in names:
        target, source = Identifier(schema, name), Identifier(whatsmeow.SCHEMA, name)
        conn.execute(_SQL.copy_table.format(target=target, source=source))
    conn.execute(_SQL.copy_version.format(target=Identifier(schema, VERSION)))


def _copy_rows(conn: Connection, schema: str, table: StoreTable, operation_id: str, device: KeptDevice) -> None:
    """Copy what a login and a logout need out of quarantine: the device's row, and its prekeys.

    A client without prekeys makes new ones and uploads them before it says that it is connected (whatsmeow:
    ``handleConnectSuccess``); where the logout then fails, nobody would have those keys.
    """
    values = {
        "operation": operation_id,
        "phone_id": device.phone_id,
        "table": table.name,
        "target": f"{schema}.{table.name}",
        "device": device.jid,
    }
    if names := [row["name"] for row in conn.execute(_SQL.columns, values)]:
        target, columns = Identifier(schema, table.name), SQL(", ").join(map(Identifier, names))
        conn.execute(_SQL.copy_rows.format(target=target, columns=columns, owner=Literal(table.owner)), values)


def _drop_leftovers(database: Database, holder: Connection) -> None:
    with database.transaction() as conn:
        names = [row["name"] for row in conn.execute(_SQL.leftovers)]
    for name in names:
        number = int(name.removeprefix(PREFIX), 16)
        if _try_lock(database, holder, number):
            _drop(database, name)
            holder.execute(_SQL.unlock, {"class": LOCK_CLASS, "number": number})


def _drop(database: Database, name: str) -> None:
    with database.transaction() as conn:
        conn.execute(_SQL.drop_scratch.format(schema=Identifier(name)))


def _try_lock(database: Database, holder: Connection, number: int) -> bool:
    with errors_of(database.target):
        row = holder.execute(_SQL.try_lock, {"class": LOCK_CLASS, "number": number}).fetchone()
    return bool(row and row["locked"])
