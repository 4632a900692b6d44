"""Undoing a quarantine: its rows go back byte for byte, or nothing is changed at all."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from psycopg import errors
from psycopg.sql import SQL, Composable, Identifier, Literal

from wa_sessions.db import operations, phones, quarantine, whatsmeow
from wa_sessions.db.backend import PHONES, AuthTable, Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import EXPORT, MOVES, MOVING, Operation, OperationPart, OperationPhone, alternative_for
from wa_sessions.db.phones import KEEP, Phone
from wa_sessions.db.sql import queries
from wa_sessions.errors import Conflict, PhoneNotFound
from wa_sessions.health.backend_words import BackendStatus, ConnectionType
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.phone_ref import PhoneRef, number_of, same_account
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.keys.whatsmeow_tables import DEVICE, TABLES, StoreTable

_SQL = queries("quarantine")
_SIDES: Final = {"baileys": "baileys", "whatsmeow": "neonize"}
_INSIST = "--overwrite puts what stands there into quarantine and restores all the same"


class AlreadyRestored(Conflict):
    """Somebody has undone it before."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back for one phone: rows by table; ``overwritten`` counts the newer rows that went into quarantine.

    ``status`` is the phone's status now.
    """

    phone: Phone
    counts: dict[str, int]
    overwritten: int
    status: BackendStatus

    @property
    def keys(self) -> int:
        """How many rows came back."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class _QuarantinedTable:
    """The rows of one table in quarantine, and where they go."""

    store: str
    kept_as: str
    rows: int
    columns: tuple[str, ...]
    target: Composable
    title: str
    key: tuple[str, ...]


def restore(
    conn: Connection, backend: Backend, done: Operation, phone_id: int, *, actor: str, overwrite: str | None = None
) -> Restored:
    """Put back what an operation took from a phone, its JID and its status.

    Raises Conflict where something newer stands there. ``overwrite`` names the open operation that then takes it.
    """
    with conn.transaction():
        return _restore(conn, backend, done, OperationPart(done.id, phone_id), actor, overwrite)


def _restore(
    conn: Connection, backend: Backend, done: Operation, part: OperationPart, actor: str, overwrite: str | None
) -> Restored:
    before = operations.lock_phone(conn, part)
    _refuse_ended(done, before)
    phone = _phone(conn, backend, part)
    kept = _kept(conn, backend, part)
    whole = _is_whole(conn, part, kept)
    if whole and done.action not in MOVES:
        _refuse_gone_on(conn, done, before, insisted=overwrite is not None)
    if done.action not in (*MOVES, EXPORT):
        stores = {_SIDES[table.store] for table in kept if table.store in _SIDES}
        require_own_store(conn, backend, phone, stores, done.id)
    renumbered = _has_another_number(phone, before)
    if renumbered and not overwrite:
        raise Conflict(f"{_renumbered(done, phone, before)}; {_INSIST}")
    status = _status(phone, before)
    replaced = 0
    if overwrite:
        replaced = _make_room(conn, backend, phone, part, kept, whole=whole, operation_id=overwrite, status=status)
    else:
        _refuse_newer_pairing(conn, backend, phone, before, part, kept, whole=whole)
    if renumbered and not replaced:
        raise Conflict(
            f"{_renumbered(done, phone, before)}, and nothing would lead back to it: change that there first"
        )
    counts = {table.kept_as: _put_back(conn, part, table) for table in kept}
    back = whole and before.phone_jid_before not in (None, phone.phone_jid)
    jid = before.phone_jid_before if back and before.phone_jid_before else KEEP
    if status is not None or jid is not KEEP:
        qr_code = None if status is not None else KEEP
        phones.set_status(conn, backend, phone.id, status or KEEP, qr_code=qr_code, phone_jid=jid)
    operations.mark_restored(conn, part, actor)
    return Restored(phone, counts, replaced, status or phone.status)


def _refuse_ended(done: Operation, before: OperationPhone) -> None:
    if before.restored_at is not None:
        raise AlreadyRestored(
            f"{done.id} was already restored at {before.restored_at:%Y-%m-%d %H:%M:%S} UTC by {before.restored_by}"
        )
    if before.purged_at is not None:
        raise Conflict(
            f"the keys of {before.number} in {done.id} were purged at {before.purged_at:%Y-%m-%d %H:%M:%S} UTC: "
            "link the phone by QR"
        )
    if before.unlinked_at is not None:
        raise Conflict(
            f"the device of {before.number} in {done.id} was unlinked at WhatsApp at "
            f"{before.unlinked_at:%Y-%m-%d %H:%M:%S} UTC: its keys are of no use any more, link the phone by QR"
        )


def _has_another_number(phone: Phone, before: OperationPhone) -> bool:
    """Whether somebody gave the row the number of another account since."""
    jid = before.phone_jid_before
    return bool(jid and phone.phone_jid) and not same_account(number_of(jid or ""), phone.number)


def _renumbered(done: Operation, phone: Phone, before: OperationPhone) -> str:
    return f"phone #{phone.id} has the number {phone.number} since {done.id}, which is of {before.number}"


def require_own_store(conn: Connection, backend: Backend, phone: Phone, stores: Collection[str], what: str) -> None:
    """Raise Conflict unless one of these stores, of which ``what`` has keys, is the phone's own (``baileys``, …)."""
    if not stores or phone.connection_type in {*stores, "waba"}:
        return
    moved, way = ("adopted", "return") if phone.connection_type == ConnectionType.NEONIZE else ("returned", "adopt")
    first = f"wa-sessions {way} {phone.number} first"
    if quarantine.pairing_of(conn, backend, phone) is None:
        first = f"wa-sessions assign {phone.number} {min(stores)} first, as it has no keys any more"
    raise Conflict(f"{what} has keys of {phone.number} as a {min(stores)} phone, and it was {moved} since: {first}")


def _refuse_gone_on(conn: Connection, done: Operation, before: OperationPhone, *, insisted: bool) -> None:
    """Raise Conflict for a pairing that was in use after it was taken, as from a backup: it is older than what follows.

    ``insisted`` passes over all but what moved it.
    """
    later = (
        operations.later_operation(conn, done, before.number, (before.pairing or "").split(","))
        if before.pairing
        else None
    )
    if later is None:
        return
    stale = f"the session of {before.number} went on since {done.id}, in {later.id} ({later.action}), and its old keys"
    if later.action in MOVING:
        raise Conflict(f"{stale} would break it: {alternative_for(later.action, before.number)}")
    if not insisted:
        raise Conflict(f"{stale} would break it: wa-sessions restore {later.id}; {_INSIST}")


def _phone(conn: Connection, backend: Backend, part: OperationPart) -> Phone:
    """The phone, its own row brought back if that is what the operation took."""
    try:
        return phones.find(conn, backend, PhoneRef(phone_id=part.phone_id))
    except PhoneNotFound:
        row = next((table for table in _kept(conn, backend, part) if table.store == "backend"), None)
        if row is None:
            raise
        _put_phone_back(conn, part, row)
        return phones.find(conn, backend, PhoneRef(phone_id=part.phone_id))


def _put_phone_back(conn: Connection, part: OperationPart, row: _QuarantinedTable) -> None:
    try:
        with conn.transaction():
            _put_back(conn, part, row)
    except errors.UniqueViolation:
        raise Conflict(
            f"the number of phone #{part.phone_id} stands at another phone by now: remove that one first, then restore "
            f"{part.operation_id}"
        ) from None


def _status(phone: Phone, before: OperationPhone) -> BackendStatus | None:
    """The status to go back to: none where the operation gave none, or somebody has given another since.

    A neonize phone is connected only while a worker says so.
    """
    given = {before.status_after, Status.PENDING, Status.LOGGED_OUT}
    if before.status_after is None or before.status_before is None or phone.status not in given:
        return None
    lively = {Status.CONNECTED, Status.RECONNECTING, Status.LOADING, Status.PENDING}
    if phone.connection_type == ConnectionType.NEONIZE and before.status_before in lively:
        return Status.DISCONNECTED
    return before.status_before


def _kept(conn: Connection, backend: Backend, part: OperationPart) -> list[_QuarantinedTable]:
    """The tables from which rows were taken, parents first."""
    values = {"operation": part.operation_id, "phone_id": part.phone_id}
    found = {row["table_name"]: row for row in conn.execute(_SQL.kept_tables, values)}
    kept = [_checked(conn, found[PHONES], backend.phones, f'"{PHONES}"', ("id",)) for name in found if name == PHONES]
    for table in reversed(TABLES):
        if table.name in found:
            title = f"{whatsmeow.SCHEMA}.{table.name}"
            kept.append(_checked(conn, found[table.name], whatsmeow.qualified(table), title, table.key))
    for row in found.values():
        if row["store"] == "baileys":
            auth = _auth_table(backend, part)
            kept.append(_checked(conn, row, auth.identifier, f'"{auth.name}"', auth.key))
    return kept


def _checked(
    conn: Connection, row: "dict[str, object]", target: Identifier, title: str, key: tuple[str, ...]
) -> _QuarantinedTable:
    wanted = {str(column) for column in _list(row["columns"])}
    present = {column["name"] for column in conn.execute(_SQL.columns, {"table": target.as_string()})}
    if missing := wanted - present:
        raise Conflict(f"{title} has changed since: it has no column {', '.join(sorted(missing))}")
    kept_as, rows = str(row["table_name"]), int(str(row["rows"]))
    return _QuarantinedTable(str(row["store"]), kept_as, rows, tuple(sorted(wanted)), target, title, key)


def _is_whole(conn: Connection, part: OperationPart, kept: list[_QuarantinedTable]) -> bool:
    """Whether the operation took a whole pairing."""
    if any(table.kept_as == DEVICE.name for table in kept):
        return True
    row = conn.execute(_SQL.kept_creds, {"operation": part.operation_id, "phone_id": part.phone_id}).fetchone()
    return bool(row and row["present"])


def _refuse_newer_pairing(
    conn: Connection,
    backend: Backend,
    phone: Phone,
    before: OperationPhone,
    part: OperationPart,
    kept: list[_QuarantinedTable],
    *,
    whole: bool,
) -> None:
    """What returns must belong to the pairing that is there; a whole pairing must have no successor."""
    if any(table.store == "whatsmeow" for table in kept):
        _refuse_newer_device(conn, phone, part, kept)
        return
    now = quarantine.pairing_of(conn, backend, phone)
    if before.pairing is None or now == before.pairing or not any(table.store == "baileys" for table in kept):
        return
    if now is not None:
        raise Conflict(
            f"{phone.number} was paired anew since: the old keys of {part.operation_id} stay in quarantine; {_INSIST}"
        )
    if not whole:
        raise Conflict(f"the pairing of {part.operation_id} is gone: restore the operation that took it first")


def _refuse_newer_device(conn: Connection, phone: Phone, part: OperationPart, kept: list[_QuarantinedTable]) -> None:
    returning = _devices(conn, part, DEVICE)
    present = set(whatsmeow.device_of(conn, phone.number))
    if returning and (newer := present - returning):
        raise Conflict(
            f"{phone.number} was paired anew since ({', '.join(sorted(newer))}): the old session stays in quarantine; "
            f"{_INSIST}"
        )
    store = {table.name: table for table in TABLES}
    owners = {jid for table in kept if table.kept_as in store for jid in _devices(conn, part, store[table.kept_as])}
    for jid in owners - returning:
        if jid not in present and number_of(jid) == phone.number:
            raise Conflict(f"the device {jid} of {part.operation_id} is gone: restore the operation that took it first")


def _devices(conn: Connection, part: OperationPart, table: StoreTable) -> set[str]:
    statement = _SQL.kept_devices.format(owner=Literal(table.owner))
    values = {"operation": part.operation_id, "phone_id": part.phone_id, "table": table.name}
    return {row["jid"] for row in conn.execute(statement, values)}


def _make_room(
    conn: Connection,
    backend: Backend,
    phone: Phone,
    part: OperationPart,
    kept: list[_QuarantinedTable],
    *,
    whole: bool,
    operation_id: str,
    status: BackendStatus | None,
) -> int:
    """Put into quarantine what stands where the rows go: for a whole pairing all keys, else the rows that differ."""
    paired = quarantine.pairing_of(conn, backend, phone)
    room = operations.add_phone(conn, operation_id, phone, status_after=status, pairing=paired)
    if whole:
        taken = quarantine.take(conn, backend, room, phone, EVERYTHING).quarantined
    else:
        taken = sum(
            quarantine.overwritten(conn, room, table.target, table.store, table.key, table.kept_as, part)
            for table in kept
            if table.store != "backend"
        )
    if not taken:
        operations.forget_phone(conn, room)
    return taken


def _put_back(conn: Connection, part: OperationPart, kept: _QuarantinedTable) -> int:
    columns = SQL(", ").join(map(Identifier, kept.columns))
    key = SQL(", ").join(map(Identifier, kept.key))
    values = {"operation": part.operation_id, "phone_id": part.phone_id, "kept_as": kept.kept_as}
    conn.execute(_SQL.put_back.format(table=kept.target, columns=columns, key=key), values)
    clash = conn.execute(_SQL.conflicts.format(table=kept.target, key=key), values).fetchone()
    if clash and clash["rows"]:
        raise Conflict(
            f"{part.operation_id} would overwrite {clash['rows']} newer rows of {kept.title}: nothing was restored; "
            f"{_INSIST}"
        )
    return kept.rows


def _auth_table(backend: Backend, part: OperationPart) -> AuthTable:
    if backend.auth is None:
        raise Conflict(f"the backend's table of auth keys, from which {part.operation_id} took rows, is gone")
    return backend.auth


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
