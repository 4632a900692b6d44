"""whatsmeow's store: the tables that neonize makes and fills in the schema ``whatsmeow``."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composed, Identifier, Literal

from wa_sessions.db import dsn
from wa_sessions.db.auth_keys import Sums
from wa_sessions.db.gateway import Connection, Database, schemas
from wa_sessions.db.settings import Target
from wa_sessions.db.sql import queries
from wa_sessions.errors import DatabaseError
from wa_sessions.keys import phone_ref, session_record
from wa_sessions.keys.phone_ref import spellings
from wa_sessions.keys.signal_address import is_lid, signal_address, twin, user_of
from wa_sessions.keys.whatsmeow_tables import TABLES, StoreTable

SCHEMA = "whatsmeow"
_SQL = queries("whatsmeow")


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A Signal record of the store, under the address at which it stands."""

    address: str
    record: bytes | None = field(repr=False)

    @property
    def session_mark(self) -> str | None:
        """See ``wa_sessions.keys.session_record``."""
        return session_record.session_mark(self.record) if self.record else None

    @property
    def sender_key_mark(self) -> str | None:
        """See ``wa_sessions.keys.session_record``."""
        return session_record.sender_key_mark(self.record) if self.record else None


def ensure_schema(conn: Connection) -> None:
    """Make the schema, empty, where it is absent; neonize makes the tables."""
    found = conn.execute(_SQL.schema_exists).fetchone()
    if not found or not found["present"]:
        conn.execute(_SQL.create_schema)


def require_search_path(store_url: str) -> None:
    """Raise DatabaseError unless neonize, through this URL, makes and finds its tables in the schema ``whatsmeow``."""
    base, query = dsn.split_query(store_url)
    wanted = query.pop("search_path", None)
    if wanted is None:
        conninfo, _ = dsn.read_dsn(dsn.with_query(base, query), "the store's URL")
        target = Target(conninfo, None, "the store's URL")
        with Database.open(target, size=1) as database, database.transaction() as conn:
            wanted = next(iter(schemas(conn)), None)
    if (wanted or "").split(",")[0].strip(' "') != SCHEMA:
        raise DatabaseError(
            f"through the store's URL neonize would keep its tables in {wanted or 'no schema'}, not in {SCHEMA}: set "
            f"search_path to {SCHEMA} for its role or in the pooler's connect_query, or add search_path={SCHEMA} to it"
        )


def qualified(table: StoreTable) -> Identifier:
    """A table's name for SQL."""
    return Identifier(SCHEMA, table.name)


def existing_tables(conn: Connection) -> tuple[StoreTable, ...]:
    """Those of the known tables that are there, in the order in which rows can be deleted."""
    present = {row["name"] for row in conn.execute(_SQL.tables)}
    return tuple(table for table in TABLES if table.name in present)


def device_of(conn: Connection, number: str) -> list[str]:
    """The JIDs of the devices that are that number's account; empty where there is no store yet."""
    return devices_in(conn, existing_tables(conn), number)


def devices_in(conn: Connection, tables: Collection[StoreTable], number: str) -> list[str]:
    """The same, for whoever knows already which tables are there."""
    if not tables:
        return []
    return [row["jid"] for row in conn.execute(_SQL.devices, {"numbers": list(spellings(number))})]


def lid_of(conn: Connection, number: str) -> str | None:
    """The LID that stands for a number, if the store knows it."""
    return _mapped(conn, _SQL.lid_of, number)


def number_of(conn: Connection, lid: str) -> str | None:
    """The number behind a LID, if the store knows it."""
    return _mapped(conn, _SQL.number_of, lid)


def find_session(conn: Connection, device_jid: str, sender: str, *, lock: bool = False) -> StoredRecord | None:
    """A sender's session, the one under the LID first; ``lock`` keeps the row for this transaction."""
    if not existing_tables(conn):
        return None
    addresses = _addresses(conn, sender)
    statement = _SQL.session_locked if lock else _SQL.session
    row = conn.execute(statement, {"device": device_jid, "addresses": addresses}).fetchone()
    return StoredRecord(row["address"], row["record"]) if row else None


def find_sender_key(
    conn: Connection, device_jid: str, chat: str, sender: str, *, lock: bool = False
) -> StoredRecord | None:
    """A sender's key in a group, the one under the LID first; ``lock`` keeps the row for this transaction."""
    if not existing_tables(conn):
        return None
    addresses = _addresses(conn, sender)
    statement = _SQL.sender_key_locked if lock else _SQL.sender_key
    row = conn.execute(statement, {"device": device_jid, "chat": chat, "addresses": addresses}).fetchone()
    return StoredRecord(row["address"], row["record"]) if row else None


def session_mark(conn: Connection, device_jid: str, sender: str) -> str | None:
    """What identifies the state of a sender's session; None: there is none, or it cannot be read."""
    found = find_session(conn, device_jid, sender)
    return found.session_mark if found else None


def sender_key_mark(conn: Connection, device_jid: str, chat: str, sender: str) -> str | None:
    """What identifies the state of a sender's key in a group; None: there is none, or it cannot be read."""
    found = find_sender_key(conn, device_jid, chat, sender)
    return found.sender_key_mark if found else None


def app_state_versions(conn: Connection, device_jid: str) -> dict[str, int]:
    """How far each synced collection of a device is."""
    if not existing_tables(conn):
        return {}
    rows = conn.execute(_SQL.app_state_versions, {"device": device_jid})
    return {row["name"]: row["version"] for row in rows}


def forget_device(conn: Connection, device_jid: str) -> None:
    """Delete every row of a device of somebody else's account, without quarantine: nothing of it may be kept."""
    for table in existing_tables(conn):
        statement = _SQL.forget_rows.format(table=qualified(table), owner=Identifier(table.owner))
        conn.execute(statement, {"device": device_jid})
    conn.execute(_SQL.forget_mapping, {"number": user_of(device_jid)})


def sums(conn: Connection, number: str) -> Sums:
    """Number by type and size of the rows of all devices that are paired under a number."""
    tables = existing_tables(conn)
    devices = devices_in(conn, tables, number)
    if not devices:
        return Sums({}, 0)
    return Sums.of(conn.execute(_of_all(_SQL.sums, tables), {"devices": devices}))


def counts_by_number(conn: Connection) -> dict[str, dict[str, int]]:
    """Rows by type of all numbers that have a device; where two devices have one number, of both together."""
    found: dict[str, Counter[str]] = {}
    if tables := existing_tables(conn):
        for row in conn.execute(_of_all(_SQL.counts_by_device, tables)):
            found.setdefault(phone_ref.number_of(row["device"]), Counter())[row["type"]] += row["rows"]
    return {number: dict(by_type) for number, by_type in found.items()}


def names(conn: Connection, number: str, *, key_type: str | None, after: str | None, limit: int) -> list[str]:
    """The names of a number's rows in order: type, then what tells the row apart, its device too if there are two."""
    existing = existing_tables(conn)
    devices = devices_in(conn, existing, number)
    tables = [table for table in existing if key_type in (None, table.kind)]
    if not (devices and tables):
        return []
    rows = SQL(" UNION ALL ").join(_row_names(table, several=len(devices) > 1) for table in tables)
    values = {"devices": devices, "after": after, "limit": limit}
    return [row["name"] for row in conn.execute(_SQL.names.format(rows=rows), values)]


def _of_all(statement: SQL, tables: Iterable[StoreTable]) -> Composed:
    parts = (
        statement.format(type=Literal(table.kind), table=qualified(table), owner=Identifier(table.owner))
        for table in tables
    )
    return SQL(" UNION ALL ").join(parts)


def _row_names(table: StoreTable, *, several: bool) -> Composed:
    parts = [Identifier(column) for column in table.key if several or column != table.owner]
    joined = SQL(", ").join(parts) if parts else SQL("NULL")
    names = {"type": Literal(table.kind), "table": qualified(table), "owner": Identifier(table.owner)}
    statement: Composed = _SQL.row_names.format(parts=joined, **names)
    return statement


def _mapped(conn: Connection, statement: SQL, user: str) -> str | None:
    if not existing_tables(conn):
        return None
    row = conn.execute(statement, {"user": user}).fetchone()
    return str(row["user"]) if row else None


def _addresses(conn: Connection, sender: str) -> list[str]:
    """Where a sender's rows may stand, the likeliest first: whatsmeow moves them from the number to the LID."""
    if is_lid(sender):
        number = number_of(conn, user_of(sender))
        jids = [sender] + ([twin(sender, number)] if number else [])
    else:
        lid = lid_of(conn, user_of(sender))
        jids = ([twin(sender, lid)] if lid else []) + [sender]
    return [signal_address(jid) for jid in jids]
