"""``return``: a phone goes back to the Node backend, its keys as they are now, without a QR."""

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import after_release, fenced
from wa_sessions.actions.engine.plan import Change, Plan, PlanItem, Scope, Target
from wa_sessions.actions.move.moving import Arriving, MovedPhone, Refused, let_go, settle
from wa_sessions.actions.operator import operator
from wa_sessions.db import auth_keys, key_transfer, phones, quarantine, rights, whatsmeow
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import RETURN
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Conflict, OwnedByAnother, UsageError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import operators as events
from wa_sessions.keys.baileys.rows import BaileysPhone, Row
from wa_sessions.keys.conversion.refusals import refusals_to_return
from wa_sessions.keys.conversion.to_baileys import to_baileys
from wa_sessions.keys.key_types import key_type
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

Major = Literal[6, 7]


@dataclass(frozen=True, slots=True)
class Returning:
    """A phone's keys as they were read (``mark``: a digest of them), and what they become.

    ``live``: its session goes on until its worker lets it go, so its keys are others by then.
    """

    mark: str
    arriving: Arriving
    live: bool


ReturnItem = PlanItem[Target, Returning]
ReturnPlan = Plan[Target, Returning, MovedPhone]


@dataclass(frozen=True, slots=True)
class Return(Change[Target, Returning, MovedPhone]):
    """Give phones back to the Node backend.

    ``major`` is the version of Baileys that the backend has; without it that of the keys from before the takeover, else
    that of its other phones.
    """

    major: Major | None = None
    reason: str = "returned to the Node backend"

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[Target]:
        """One ``neonize`` phone, or all that have keys.

        Raises OwnedByAnother for another, PhoneNotFound, AmbiguousPhone, UsageError, PermissionMissing, SchemaMissing,
        DatabaseError for a store that is not there or of another version.
        """
        opened.backend.require_phones()
        rights.require(conn, opened.backend, {"neonize"}, keys=("SELECT", "DELETE"), phones=("UPDATE",))
        rights.require(conn, opened.backend, {"baileys"}, keys=("SELECT", "INSERT"))
        if scope.phone is not None:
            found = [phones.find(conn, opened.backend, scope.phone, scope.organization_id)]
            _require_neonize(found[0])
            key_transfer.require_store(conn)
        else:
            key_transfer.require_store(conn)
            listed = phones.list_phones(conn, opened.backend, scope.organization_id)
            ours = [phone for phone in listed if phone.connection_type == ConnectionType.NEONIZE]
            found = [phone for phone in ours if whatsmeow.device_of(conn, phone.number)]
        if not found:
            raise UsageError("there is no neonize phone with keys to give back: wa-sessions sessions lists all")
        return [Target.of(phone) for phone in found]

    def look(self, conn: Connection, opened: Opened, target: Target, owner: WorkerInfo | None) -> ReturnItem:
        """Read, judge and convert its keys. Raises Refused, BadKey, Conflict, OwnedByAnother."""
        assert target.phone
        found = self._judged(conn, opened, target.phone, live=owner is not None)
        return PlanItem(target, found, sum(found.arriving.keys.values()), owner)

    def beside_node(self, item: ReturnItem) -> bool:  # noqa: ARG002
        """It is not the Node backend's until it has gone back."""
        return False

    def stops_node(self, items: Sequence[ReturnItem]) -> bool:  # noqa: ARG002
        """The Node process takes up its phones when it starts."""
        return True

    def apply(
        self, conn: Connection, opened: Opened, item: ReturnItem, operation: str | None, *, stopped: bool
    ) -> tuple[str, MovedPhone]:
        """Put the converted keys into the backend's table, those that they were made of into quarantine."""
        phone = fenced(conn, opened, item, stopped=stopped)
        quarantine.lock_devices(conn, phone)
        arriving = self._unused(conn, opened, item, phone).arriving
        leaving = let_go(conn, opened, phone, action=RETURN, reason=self.reason, operation=operation)
        theirs = settle(
            conn,
            opened,
            leaving,
            arriving,
            ConnectionType.BAILEYS,
            said=self.reason,
            detail=lambda pairing, mark: events.Returned(
                actor=operator(),
                reason=self.reason,
                keys=leaving.taken.quarantined,
                device=arriving.device,
                pairing=pairing,
                mark=mark,
            ),
        )
        return leaving.part.operation_id, MovedPhone.of(theirs, leaving, arriving)

    def by_worker(
        self, opened: Opened, item: ReturnItem, operation: str | None
    ) -> tuple[str | None, MovedPhone | None]:
        """Its worker ends its session and lets it go first."""
        live = replace(item, found=replace(item.found, live=True))
        return after_release(opened, self, live, operation, reason=self.reason, stopped=True)

    def _unused(self, conn: Connection, opened: Opened, item: ReturnItem, phone: Phone) -> Returning:
        """What was found, if these are the keys that it was found of."""
        if item.found.live:
            return self._judged(conn, opened, phone, live=True)
        phones.require_alone(conn, opened.backend, phone)
        _refuse_auth_keys(conn, opened, phone)
        if key_transfer.fingerprint(conn, opened.backend, phone) != item.found.mark:
            raise Conflict(
                f"keys of {phone.number} were used since they were looked at; nothing was changed: look again"
            )
        return item.found

    def _judged(self, conn: Connection, opened: Opened, phone: Phone, *, live: bool) -> Returning:
        """The phone converted; raises Refused with every reason why it may not be."""
        phones.require_alone(conn, opened.backend, phone)
        devices = whatsmeow.device_of(conn, phone.number)
        if len(devices) != 1:
            raise Conflict(f"{phone.number} has {len(devices)} devices in the store: there must be one to give back")
        _refuse_auth_keys(conn, opened, phone)
        mark = key_transfer.fingerprint(conn, opened.backend, phone)
        ours = WhatsmeowPhone.of_rows(key_transfer.device_rows(conn, devices[0]))
        if reasons := refusals_to_return(ours):
            raise Refused(phone, reasons)
        kept = key_transfer.kept_auth_rows(conn, phone)
        before = BaileysPhone.of_rows(kept) if kept else None
        converted = to_baileys(
            ours,
            major=self.major or _major(conn, opened, phone, before),
            before=before,
            pairing_key=secrets.token_bytes(32),
            now=round(time.time() * 1000),
        )
        rows = converted.phone.rows()
        put = partial(_put, backend=opened.backend, rows=rows)
        keys = dict(Counter(key_type(row.key) for row in rows))
        arriving = Arriving(ours.device.jid, keys, put, converted.left_out, converted.notices)
        return Returning(mark, arriving, live)


def _put(conn: Connection, phone: Phone, *, backend: Backend, rows: list[Row]) -> None:
    key_transfer.put_auth_keys(conn, backend, phone, rows)


def _refuse_auth_keys(conn: Connection, opened: Opened, phone: Phone) -> None:
    if auth_keys.sums(conn, opened.backend, phone.organization_id, phone.number).by_type:
        raise Conflict(
            f"auth keys of {phone.number} stand in the Node backend's table already: two sets of keys are one too many"
        )


def _major(conn: Connection, opened: Opened, phone: Phone, before: BaileysPhone | None) -> Major:
    if before is not None:
        return before.major
    return 7 if key_transfer.uses_seven(conn, opened.backend, phone.organization_id) else 6


def _require_neonize(phone: Phone) -> None:
    if phone.connection_type != ConnectionType.NEONIZE:
        raise OwnedByAnother(
            f"{phone.number} is a {phone.connection_type} phone: there is nothing of ours to give back"
        )
