"""Taking a phone over from the Node backend: its keys become those of a device in our store, without a QR."""

import asyncio
import secrets
from collections.abc import Iterable

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.plan import Progress
from wa_sessions.actions.move.takeover import Moved, MovedPhone, Refused, each
from wa_sessions.actions.node_process import NodeProcess, refuse_running
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import keep_workers_off
from wa_sessions.db import health, leases, phones, quarantine, rights, settings, takeover, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import ADOPT
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Conflict, OwnedByAnother, UsageError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import operators as events
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.baileys.rows import BaileysPhone
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.keys.takeover.refusals import refusals
from wa_sessions.keys.takeover.remarks import Converted, Remark
from wa_sessions.keys.takeover.to_whatsmeow import to_whatsmeow
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone
from wa_sessions.worker.hosts.store import prepare_store

Pairs = tuple[tuple[str, str], ...]


def adopt(
    opened: Opened,
    who: PhoneRef | None,
    organization_id: int | None = None,
    *,
    lid_map: Iterable[tuple[str, str]] = (),
    reason: str = "taken over by wa-sessions",
    process_stopped: bool = False,
    node: NodeProcess | None = None,
    dry_run: bool = False,
    store_url: str | None = None,
    reserve: float = 0.0,
    progress: Progress = lambda _done, _all: None,
) -> Moved:
    """Take one phone over, or all ``baileys`` phones (``who`` is None), each in a transaction of its own.

    The keys go into quarantine, so a stray Node process finds none. ``lid_map``: pairs of LID and number that are
    known from elsewhere. ``reserve``: seconds for which no worker takes the phone by itself. Raises Refused and
    BadKey (keys that cannot be converted), OwnedByAnother (not a ``baileys`` phone, or its Node process runs),
    PhoneNotFound, AmbiguousPhone, PermissionMissing, SchemaMissing, DatabaseError; of many phones those that cannot
    be taken over are ``failed``.
    """
    found = _meant(opened, who, organization_id)
    with opened.database.transaction() as conn:
        rights.require(conn, opened.backend, {"baileys"}, keys=("SELECT", "DELETE"), phones=("UPDATE",))
    if not (process_stopped or node or dry_run):
        require_stopped(opened, who, organization_id)
    make_store(opened, store_url, dry_run=dry_run)
    stopped = process_stopped or node is not None or dry_run
    pairs = tuple(lid_map)

    def move(phone: Phone, operation: str | None) -> tuple[str, MovedPhone]:
        with opened.database.transaction() as conn:
            moved = _adopt(conn, opened, phone, pairs, reason, operation, stopped=stopped)
            if reserve:
                leases.reserve(conn, phone.id, reserve)
            if dry_run:
                conn.rollback()
        return moved

    return each(found, move, alone=who is not None, node=node, dry_run=dry_run, progress=progress)


def require_stopped(opened: Opened, who: PhoneRef | None, organization_id: int | None = None) -> None:
    """Raise OwnedByAnother where, by their status, the Node process runs one of the phones that are meant."""
    found = _meant(opened, who, organization_id)
    with opened.database.transaction() as conn:
        refuse_running(conn, found)


def make_store(opened: Opened, store_url: str | None, *, dry_run: bool = False) -> None:
    """Let neonize make its tables where it has not (no ``dry_run`` does), and see that they are those that we know.

    Raises DatabaseError, PermissionMissing.
    """
    with opened.database.transaction() as conn:
        if takeover.store_version(conn) is None:
            if dry_run:
                return
            whatsmeow.ensure_schema(conn)
            url = settings.store_url(conn, opened.database.target, store_url)
        else:
            takeover.require_store(conn)
            rights.require(conn, opened.backend, {"neonize"}, keys=("SELECT", "INSERT"))
            return
    asyncio.run(prepare_store(url))
    with opened.database.transaction() as conn:
        takeover.require_store(conn)


def _meant(opened: Opened, who: PhoneRef | None, organization_id: int | None) -> list[Phone]:
    with opened.database.transaction() as conn:
        if who is not None:
            phone = phones.find(conn, opened.backend, who, organization_id)
            _require_baileys(phone)
            return [phone]
        listed = phones.list_phones(conn, opened.backend, organization_id)
        found = [phone for phone in listed if phone.connection_type == ConnectionType.BAILEYS]
    if not found:
        raise UsageError("there is no baileys phone to take over: wa-sessions sessions lists all")
    return found


def _adopt(
    conn: Connection,
    opened: Opened,
    phone: Phone,
    pairs: Pairs,
    reason: str,
    operation: str | None,
    *,
    stopped: bool,
) -> tuple[str, MovedPhone]:
    phone = keep_workers_off(conn, opened, phone.id)
    _require_baileys(phone)
    if not stopped:
        refuse_running(conn, [phone])
    phones.require_alone(conn, opened.backend, phone)
    part = quarantine.begin(
        conn,
        opened.backend,
        phone,
        action=ADOPT,
        reason=reason,
        actor=operator(),
        status_after=Status.DISCONNECTED,
        operation_id=operation,
    )
    taken = quarantine.take(conn, opened.backend, part, phone, EVERYTHING)
    if taken.left:
        raise Conflict(f"keys of {phone.number} were written meanwhile: stop what runs it; nothing was changed")
    before = BaileysPhone.of_rows(takeover.kept_rows(conn, part.operation_id, phone))
    known = takeover.lid_map(conn) if takeover.store_version(conn) is not None else []
    converted = _judged(conn, phone, before, (*known, *pairs))
    device = converted.phone.device.jid
    phones.assign(conn, opened.backend, phone, ConnectionType.NEONIZE)
    phones.set_status(conn, opened.backend, phone.id, Status.DISCONNECTED, qr_code=None, phone_jid=device)
    health.clear_counters(conn, phone, State.IDLE, "taken over from the Node backend")
    ours = phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))
    mark = None
    if takeover.store_version(conn) is not None:
        takeover.put_device(conn, converted.phone.rows())
        mark = takeover.mark(conn, opened.backend, ours)
    detail = events.Adopted(operator(), reason, taken.quarantined, device, mark)
    health.record_event(conn, phone.id, phone.organization_id, detail, operation_id=part.operation_id)
    after = _counted(converted.phone)
    return part.operation_id, MovedPhone(ours, device, taken.by_type, after, converted.left_out, converted.notices)


def _judged(conn: Connection, phone: Phone, before: BaileysPhone, pairs: Pairs) -> Converted[WhatsmeowPhone]:
    """The phone converted; raises Refused with every reason why it may not be."""
    reasons = list(refusals(before, phone.number))
    if devices := whatsmeow.device_of(conn, phone.number):
        reasons.append(Remark("whatsmeow_device", f"the store has a device of it already ({', '.join(devices)})"))
    if reasons:
        raise Refused(phone, tuple(reasons))
    return to_whatsmeow(before, fresh_pre_key=secrets.token_bytes(32), lid_map=pairs)


def _require_baileys(phone: Phone) -> None:
    if phone.connection_type == ConnectionType.WABA:
        raise OwnedByAnother(f"{phone.number} is a waba phone (the official API): it has no session to take over")
    if phone.connection_type == ConnectionType.NEONIZE:
        raise OwnedByAnother(f"{phone.number} is ours already: wa-sessions run {phone.number}")
    if phone.connection_type != ConnectionType.BAILEYS:
        raise OwnedByAnother(f"{phone.number} is a {phone.connection_type} phone: only a baileys phone is taken over")


def _counted(phone: WhatsmeowPhone) -> dict[str, int]:
    return quarantine.by_kind({name: len(rows) for name, rows in phone.rows().items()})
