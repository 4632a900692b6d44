"""``import``: a phone comes from another machine's file, in the format that it has there or converted to the other."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.move.adopt import make_store
from wa_sessions.actions.move.backup_contents import Contents, Saved, contents, read_again
from wa_sessions.actions.move.takeover import Moved, MovedPhone, Refused
from wa_sessions.actions.node_process import NodeProcess, refuse_running, while_stopped
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import keep_workers_off
from wa_sessions.db import health, phones, quarantine, restoring_file, rights, takeover
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import IMPORT
from wa_sessions.db.phones import Phone
from wa_sessions.errors import (
    AmbiguousPhone,
    Conflict,
    OwnedByAnother,
    PhoneNotFound,
    UsageError,
    WaSessionsError,
)
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import operators as events
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.backup_format import SavedRow
from wa_sessions.keys.baileys.rows import BaileysPhone, Row
from wa_sessions.keys.fields import Json
from wa_sessions.keys.key_types import key_type
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.saved_rows import auth_row, of_organization, store_row
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.keys.takeover.refusals import refusals, refusals_to_return
from wa_sessions.keys.takeover.remarks import Remark
from wa_sessions.keys.takeover.to_baileys import to_baileys
from wa_sessions.keys.takeover.to_whatsmeow import to_whatsmeow
from wa_sessions.keys.whatsmeow.rows import LID_MAP, WhatsmeowPhone

if TYPE_CHECKING:
    from wa_sessions.actions.move.sealed import Identity

Format = Literal["neonize", "baileys"]
Major = Literal[6, 7]
FORMATS: tuple[Format, ...] = ("neonize", "baileys")


@dataclass(frozen=True, slots=True)
class _Read:
    """A phone of the file: its rows in the store that it uses (``format``), and how many it has in the other."""

    contents: Contents
    saved: Saved
    format: Format
    rows: tuple[SavedRow, ...]

    @property
    def left_out(self) -> tuple[Remark, ...]:
        """What is not brought in."""
        others = self.saved.keys - len(self.rows)
        store = FORMATS[1 - FORMATS.index(self.format)]
        return (Remark(store, "keys in the other store, not those in use", others),) if others else ()

    def auth(self) -> list[Row]:
        """Its rows of the Node backend's table."""
        binary = self.contents.header.auth_binary
        return [auth_row(row, binary=binary) for row in self.rows]

    def store(self) -> dict[str, list[Json]]:
        """Its rows of whatsmeow's tables."""
        tables: dict[str, list[Json]] = {}
        for row in self.rows:
            tables.setdefault(row.table, []).append(store_row(row))
        pairs = self.saved.phone.lid_map
        return tables | {LID_MAP: [{"lid": lid, "pn": number} for lid, number in pairs]}


@dataclass(frozen=True, slots=True)
class _Made:
    """The keys as they come in: by type, how to put them there, and the JID of their device."""

    jid: str
    keys: dict[str, int]
    put: Callable[[Connection], None]
    left_out: tuple[Remark, ...] = ()
    notices: tuple[Remark, ...] = ()


def import_phone(
    opened: Opened,
    file: Path,
    *,
    identities: "Sequence[Identity]" = (),
    who: PhoneRef | None = None,
    organization_id: int | None = None,
    wanted: Format | None = None,
    major: Major | None = None,
    reason: str = "came from another machine",
    process_stopped: bool = False,
    node: NodeProcess | None = None,
    dry_run: bool = False,
    store_url: str | None = None,
) -> Moved:
    """Put a phone of a file (``who`` where it has several) into this database, in one transaction.

    It gets a row if it has none, in the file's organization or ``organization_id``. ``wanted`` converts its keys, with
    what ``adopt`` and ``return`` refuse; ``major`` is the backend's version of Baileys then. Raises WaSessionsError for
    a file that cannot be read; Conflict where a pairing of the number stands here; Refused and BadKey; OwnedByAnother,
    PhoneNotFound, AmbiguousPhone, UsageError, PermissionMissing, SchemaMissing, DatabaseError.
    """
    read = _read(file, identities, who)
    target = wanted or read.format
    with opened.database.transaction() as conn:
        rights.require(
            conn, opened.backend, {target}, keys=("SELECT", "INSERT", "DELETE"), phones=("SELECT", "INSERT", "UPDATE")
        )
    if target == "neonize":
        make_store(opened, store_url, dry_run=dry_run)
    beside_node = target == "baileys" or _is_in_node(opened, read, organization_id)
    meanwhile = node if beside_node and not dry_run else None
    stopped = process_stopped or meanwhile is not None or dry_run

    def bring_in() -> tuple[str, MovedPhone]:
        with opened.database.transaction() as conn:
            moved = _bring_in(conn, opened, read, target, organization_id, major, reason, stopped=stopped)
            if dry_run:
                conn.rollback()
        return moved

    ended = while_stopped(meanwhile, bring_in)
    operation, moved = ended.result
    return Moved(None if dry_run else operation, (moved,), (), dry_run, ended.down)


def _read(file: Path, identities: "Sequence[Identity]", who: PhoneRef | None) -> _Read:
    """The one phone that is meant; the whole file is read before anything of it is believed."""
    read = contents(file, identities)
    if who and who.digits is None:
        raise UsageError(f"{who} is an id of a database: name the phone of the file by its number")
    meant = [saved for saved in read.phones if who is None or saved.phone.number == who.digits]
    if not meant:
        raise PhoneNotFound(f"{file} has no phone {who or ''}".rstrip())
    if len(meant) > 1:
        some = ", ".join(saved.phone.number for saved in meant[:5]) + (", …" if len(meant) > 5 else "")
        raise AmbiguousPhone(f"{file} has {len(meant)} phones ({some}): choose one with --phone, or export one alone")
    [saved] = meant
    if not saved.stores:
        raise WaSessionsError(f"{file} has {saved.phone.number} without a single key: there is nothing to import")
    used = saved.store
    rows: list[SavedRow] = []

    def take(at: int, row: SavedRow) -> None:
        if at == saved.at and (row.table in restoring_file.AUTH_TABLES) == (used == "baileys"):
            rows.append(row)

    if read_again(read, identities, take) != read.totals:
        raise Conflict(f"{file} has changed while it was read: nothing was changed")
    return _Read(read, saved, cast("Format", used), tuple(rows))


def _is_in_node(opened: Opened, read: _Read, organization_id: int | None) -> bool:
    """Whether the phone's row is one that the Node backend may run, whatever it becomes."""
    with opened.database.transaction() as conn:
        found = _known(conn, opened, read, organization_id)
    return found is not None and found.connection_type == ConnectionType.BAILEYS


def _bring_in(
    conn: Connection,
    opened: Opened,
    read: _Read,
    target: Format,
    organization_id: int | None,
    major: Major | None,
    reason: str,
    *,
    stopped: bool,
) -> tuple[str, MovedPhone]:
    phone = _row(conn, opened, read, organization_id)
    if not stopped:
        refuse_running(conn, [phone])
    if target == "neonize":
        phones.require_alone(conn, opened.backend, phone)
    _refuse_paired(conn, opened, phone)
    _refuse_old(conn, read, phone)
    made = _made(conn, opened, read, phone, target, major)
    status, file = Status.DISCONNECTED, read.contents.file.name
    part = quarantine.begin(
        conn, opened.backend, phone, action=IMPORT, reason=reason, actor=operator(), status_after=status
    )
    taken = [
        quarantine.take(conn, opened.backend, part, replace(phone, connection_type=ConnectionType(store)), EVERYTHING)
        for store in sorted(FORMATS)
    ]
    if target == "neonize":
        quarantine.under_devices(conn, part, [made.jid])
    made.put(conn)
    phones.assign(conn, opened.backend, phone, ConnectionType(target))
    phones.set_status(conn, opened.backend, phone.id, status, qr_code=None, phone_jid=made.jid)
    health.clear_counters(conn, phone, State.IDLE, f"imported from {file}")
    ours = phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))
    detail = events.Imported(
        actor=operator(),
        reason=reason,
        file=file,
        made_at=read.contents.header.made_at.isoformat(),
        keys=sum(made.keys.values()),
        quarantined=quarantine.together(taken).quarantined,
        device=made.jid,
        connection_type=target,
        connection_type_before=phone.connection_type,
        pairing=quarantine.pairing_of(conn, opened.backend, ours),
        mark=takeover.mark(conn, opened.backend, ours),
    )
    health.record_event(conn, phone.id, phone.organization_id, detail, operation_id=part.operation_id)
    before = _by_type(read)
    return part.operation_id, MovedPhone(ours, made.jid, before, made.keys, read.left_out + made.left_out, made.notices)


def _row(conn: Connection, opened: Opened, read: _Read, organization_id: int | None) -> Phone:
    """The phone's row, made if there is none; no worker may own it."""
    saved = read.saved.phone
    phone = _known(conn, opened, read, organization_id)
    if phone is None:
        organization, name = _organization(read, organization_id), saved.row.get("displayName")
        phone = phones.add(conn, opened.backend, saved.number, organization, name if isinstance(name, str) else None)
        health.record_event(conn, phone.id, phone.organization_id, events.Added(operator()))
    if phone.connection_type == ConnectionType.WABA:
        raise OwnedByAnother(f"{phone.number} is a waba phone here (the official API): it has no session to import")
    return keep_workers_off(conn, opened, phone.id)


def _known(conn: Connection, opened: Opened, read: _Read, organization_id: int | None) -> Phone | None:
    ref = PhoneRef(digits=read.saved.phone.number)
    try:
        return phones.find(conn, opened.backend, ref, _organization(read, organization_id))
    except PhoneNotFound:
        return None


def _organization(read: _Read, organization_id: int | None) -> int:
    return read.saved.phone.organization_id if organization_id is None else organization_id


def _refuse_paired(conn: Connection, opened: Opened, phone: Phone) -> None:
    for store in FORMATS:
        if quarantine.pairing_of(conn, opened.backend, replace(phone, connection_type=ConnectionType(store))):
            raise Conflict(
                f"a pairing of {phone.number} stands here already ({store}): if the file shall take its place, "
                f"wa-sessions force-close {phone.number} --logout puts it into quarantine first"
            )


def _refuse_old(conn: Connection, read: _Read, phone: Phone) -> None:
    """Raise Conflict where the phone went on here after the file was made, or came in with this file before."""
    file, made_at = read.contents.file, read.contents.header.made_at
    made = f"{file} was made at {made_at:%Y-%m-%d %H:%M:%S} UTC"
    old = "its keys are old and would break the session: import the newest file"
    if phone.last_connected_at and phone.last_connected_at > made_at:
        raise Conflict(
            f"{made}, and {phone.number} connected here at {phone.last_connected_at:%Y-%m-%d %H:%M:%S} UTC: {old}"
        )
    if later := takeover.moved_after(conn, phone.id, made_at):
        raise Conflict(f"{made}, and {phone.number} was {later.kind} here since, as {later.operation}: {old}")


def _made(conn: Connection, opened: Opened, read: _Read, phone: Phone, target: Format, major: Major | None) -> _Made:
    if read.format == target:
        return _as_it_is(opened, read, phone)
    if target == "neonize":
        return _as_device(conn, read, phone)
    return _as_auth_keys(conn, opened, read, phone, major)


def _as_it_is(opened: Opened, read: _Read, phone: Phone) -> _Made:
    rows = read.rows
    if read.format == "baileys" and phone.organization_id != read.saved.phone.organization_id:
        rows = tuple(of_organization(row, phone.organization_id) for row in rows)

    def put(conn: Connection) -> None:
        if read.format == "neonize" and takeover.store_version(conn) is None:
            return  # a dry run makes no tables

        def feed(take: Callable[[SavedRow], None]) -> None:
            for row in rows:
                take(row)

        restoring_file.put_back(conn, opened.backend, feed, binary=read.contents.header.auth_binary)
        if read.format == "neonize":
            takeover.put_lid_map(conn, read.saved.phone.lid_map)

    jid = next(iter(read.saved.devices), read.saved.phone.phone_jid)
    return _Made(jid, _by_type(read), put)


def _as_device(conn: Connection, read: _Read, phone: Phone) -> _Made:
    before = BaileysPhone.of_rows(read.auth())
    if reasons := refusals(before, phone.number):
        raise Refused(phone, reasons)
    has_store = takeover.store_version(conn) is not None
    known = takeover.lid_map(conn) if has_store else []
    converted = to_whatsmeow(before, fresh_pre_key=secrets.token_bytes(32), lid_map=known)
    tables = converted.phone.rows()

    def put(conn: Connection) -> None:
        if has_store:
            takeover.put_device(conn, tables)

    keys = quarantine.by_kind({name: len(rows) for name, rows in tables.items()})
    return _Made(converted.phone.device.jid, keys, put, converted.left_out, converted.notices)


def _as_auth_keys(conn: Connection, opened: Opened, read: _Read, phone: Phone, major: Major | None) -> _Made:
    before = WhatsmeowPhone.of_rows(read.store())
    if reasons := refusals_to_return(before):
        raise Refused(phone, reasons)
    seven = takeover.uses_seven(conn, opened.backend, phone.organization_id)
    converted = to_baileys(
        before,
        major=major or (7 if seven else 6),
        before=None,
        pairing_key=secrets.token_bytes(32),
        now=round(time.time() * 1000),
    )
    rows = converted.phone.rows()
    keys = dict(Counter(key_type(row.key) for row in rows))

    def put(conn: Connection) -> None:
        takeover.put_auth_keys(conn, opened.backend, phone, rows)

    return _Made(before.device.jid, keys, put, converted.left_out, converted.notices)


def _by_type(read: _Read) -> dict[str, int]:
    if read.format == "neonize":
        return quarantine.by_kind(Counter(row.table for row in read.rows))
    return dict(Counter(key_type(row.key) for row in read.auth()))
