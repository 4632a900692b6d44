"""``return``: giving a phone back to the Node backend, its keys as they are now, without a QR."""

import secrets
import time
from collections import Counter
from typing import Literal

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.plan import Progress
from wa_sessions.actions.move.takeover import Moved, MovedPhone, Refused, each
from wa_sessions.actions.node_process import NodeProcess
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import ask, keep_workers_off, live_owners
from wa_sessions.db import auth_keys, health, phones, quarantine, rights, takeover, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import RETURN
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Conflict, OwnedByAnother, UsageError, WaSessionsError, with_words
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import operators as events
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.baileys.rows import BaileysPhone
from wa_sessions.keys.key_types import key_type
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.keys.takeover.refusals import refusals_to_return
from wa_sessions.keys.takeover.to_baileys import to_baileys
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

Major = Literal[6, 7]


def give_back(
    opened: Opened,
    who: PhoneRef | None,
    organization_id: int | None = None,
    *,
    major: Major | None = None,
    reason: str = "returned to the Node backend",
    node: NodeProcess | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Moved:
    """Give one phone back, or all ``neonize`` phones that have keys (``who`` is None), each in its own transaction.

    A worker that runs a phone is asked to end its session and let it go. ``major`` is the version of Baileys that the
    backend has; without it that of the keys from before the takeover, else that of its other phones. ``node`` is
    stopped and started around it, so that it takes the phones up. Raises Refused and BadKey, OwnedByAnother (not a
    ``neonize`` phone), Conflict (auth keys of it stand there), PhoneNotFound, AmbiguousPhone, PermissionMissing,
    SchemaMissing, DatabaseError; of many phones those that cannot be given back are ``failed``.
    """
    found, owners = _meant(opened, who, organization_id)

    def move(phone: Phone, operation: str | None) -> tuple[str, MovedPhone]:
        owner = owners.get(phone.id)
        if owner or dry_run:
            with opened.database.transaction() as conn:
                seen = _give_back(conn, opened, phone, major, reason, operation, owned=owner is not None)
                conn.rollback()
            if owner is None or dry_run:
                return seen
            ask(opened, phone, owner, "release", reason=reason)
        try:
            with opened.database.transaction() as conn:
                return _give_back(conn, opened, phone, major, reason, operation, owned=False)
        except WaSessionsError as error:
            if owner is None:
                raise
            let_go = f"its worker has let {phone.number} go: wa-sessions run {phone.number} runs it again"
            raise with_words(error, let_go) from None

    return each(found, move, alone=who is not None, node=node, dry_run=dry_run, progress=progress)


def _meant(
    opened: Opened, who: PhoneRef | None, organization_id: int | None
) -> tuple[list[Phone], dict[int, WorkerInfo]]:
    with opened.database.transaction() as conn:
        opened.backend.require_phones()
        rights.require(conn, opened.backend, {"neonize"}, keys=("SELECT", "DELETE"), phones=("UPDATE",))
        rights.require(conn, opened.backend, {"baileys"}, keys=("SELECT", "INSERT"))
        if who is not None:
            phone = phones.find(conn, opened.backend, who, organization_id)
            _require_neonize(phone)
            found = [phone]
            takeover.require_store(conn)
        else:
            takeover.require_store(conn)
            listed = phones.list_phones(conn, opened.backend, organization_id)
            ours = [phone for phone in listed if phone.connection_type == ConnectionType.NEONIZE]
            found = [phone for phone in ours if whatsmeow.device_of(conn, phone.number)]
        if not found:
            raise UsageError("there is no neonize phone with keys to give back: wa-sessions sessions lists all")
        return found, live_owners(conn)


def _give_back(
    conn: Connection,
    opened: Opened,
    phone: Phone,
    major: Major | None,
    reason: str,
    operation: str | None,
    *,
    owned: bool,
) -> tuple[str, MovedPhone]:
    """Move one phone; one that is ``owned`` only to see how it would go."""
    if not owned:
        phone = keep_workers_off(conn, opened, phone.id)
    _require_neonize(phone)
    phones.require_alone(conn, opened.backend, phone)
    quarantine.lock_devices(conn, phone)
    devices = whatsmeow.device_of(conn, phone.number)
    if len(devices) != 1:
        raise Conflict(f"{phone.number} has {len(devices)} devices in the store: there must be one to give back")
    there = auth_keys.sums(conn, opened.backend, phone.organization_id, phone.number)
    if there.by_type:
        raise Conflict(
            f"auth keys of {phone.number} stand in the Node backend's table already: two sets of keys are one too many"
        )
    ours = WhatsmeowPhone.of_rows(takeover.device_rows(conn, devices[0]))
    if reasons := refusals_to_return(ours):
        raise Refused(phone, reasons)
    kept = takeover.kept_auth_rows(conn, phone)
    before = BaileysPhone.of_rows(kept) if kept else None
    converted = to_baileys(
        ours,
        major=major or _major(conn, opened, phone, before),
        before=before,
        pairing_key=secrets.token_bytes(32),
        now=round(time.time() * 1000),
    )
    part = quarantine.begin(
        conn,
        opened.backend,
        phone,
        action=RETURN,
        reason=reason,
        actor=operator(),
        status_after=Status.DISCONNECTED,
        operation_id=operation,
    )
    taken = quarantine.take(conn, opened.backend, part, phone, EVERYTHING)
    rows = converted.phone.rows()
    takeover.put_auth_keys(conn, opened.backend, phone, rows)
    phones.assign(conn, opened.backend, phone, ConnectionType.BAILEYS)
    phones.set_status(conn, opened.backend, phone.id, Status.DISCONNECTED, qr_code=None, phone_jid=ours.device.jid)
    health.clear_counters(conn, phone, State.IDLE, reason)
    theirs = phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))
    detail = events.Returned(
        actor=operator(),
        reason=reason,
        keys=taken.quarantined,
        device=ours.device.jid,
        pairing=quarantine.pairing_of(conn, opened.backend, theirs),
        mark=takeover.mark(conn, opened.backend, theirs),
    )
    health.record_event(conn, phone.id, phone.organization_id, detail, operation_id=part.operation_id)
    after = dict(Counter(key_type(row.key) for row in rows))
    moved = MovedPhone(theirs, ours.device.jid, taken.by_type, after, converted.left_out, converted.notices)
    return part.operation_id, moved


def _major(conn: Connection, opened: Opened, phone: Phone, before: BaileysPhone | None) -> Major:
    if before is not None:
        return before.major
    return 7 if takeover.uses_seven(conn, opened.backend, phone.organization_id) else 6


def _require_neonize(phone: Phone) -> None:
    if phone.connection_type != ConnectionType.NEONIZE:
        raise OwnedByAnother(
            f"{phone.number} is a {phone.connection_type} phone: there is nothing of ours to give back"
        )
