"""Taking a phone over from the Node backend: its keys become those of a device in our store, without a QR."""

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import fenced
from wa_sessions.actions.engine.plan import Change, Plan, PlanItem, Scope, Target
from wa_sessions.actions.move.moving import Arriving, MovedPhone, Refused, let_go, settle
from wa_sessions.actions.move.store import make_store, require_store
from wa_sessions.actions.operator import operator
from wa_sessions.db import key_transfer, leases, phones, quarantine, rights, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import ADOPT
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Conflict, OwnedByAnother, UsageError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import operators as events
from wa_sessions.keys.baileys.rows import BaileysPhone, Row
from wa_sessions.keys.conversion.refusals import refusals
from wa_sessions.keys.conversion.remarks import Remark
from wa_sessions.keys.conversion.to_whatsmeow import to_whatsmeow
from wa_sessions.keys.key_types import key_type
from wa_sessions.keys.whatsmeow.rows import LID_MAP

Pairs = tuple[tuple[str, str], ...]
Tables = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class AdoptTarget(Target):
    """A phone, and numbers by LID: as the store has them (None: there is none), and as the phones before it tell."""

    stored: Mapping[str, str] | None = None
    told: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adoption:
    """A phone's keys as they were read (a digest of them, and how many by type), and what they become."""

    digest: bytes
    keys_before: dict[str, int]
    arriving: Arriving


AdoptItem = PlanItem[AdoptTarget, Adoption]
AdoptPlan = Plan[AdoptTarget, Adoption, MovedPhone]


@dataclass(frozen=True, slots=True)
class Adopt(Change[AdoptTarget, Adoption, MovedPhone]):
    """Take phones over from the Node backend. The keys go into quarantine, so a stray Node process finds none.

    ``lid_map``: pairs of LID and number that are known from elsewhere. ``reserve``: seconds for which no worker takes
    the phone by itself. ``node_runs``: the Node process runs until it is stopped for this, so its keys may be others by
    then, and are read and judged anew where they are; in any other case that is refused.
    """

    lid_map: Pairs = ()
    reason: str = "taken over by wa-sessions"
    reserve: float = 0.0
    store_url: str | None = None
    node_runs: bool = False

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[AdoptTarget]:
        """One ``baileys`` phone, or all.

        Raises OwnedByAnother for another, PhoneNotFound, AmbiguousPhone, UsageError, PermissionMissing, SchemaMissing,
        DatabaseError for a store of another version.
        """
        if scope.phone is not None:
            found = [phones.find(conn, opened.backend, scope.phone, scope.organization_id)]
            _require_baileys(found[0])
        else:
            listed = phones.list_phones(conn, opened.backend, scope.organization_id)
            found = [phone for phone in listed if phone.connection_type == ConnectionType.BAILEYS]
        if not found:
            raise UsageError("there is no baileys phone to take over: wa-sessions sessions lists all")
        rights.require(conn, opened.backend, {"baileys"}, keys=("SELECT", "DELETE"), phones=("UPDATE",))
        stored = dict(key_transfer.lid_map(conn)) if require_store(conn, opened) else None
        told: dict[str, str] = {}
        return [replace(AdoptTarget.of(phone), stored=stored, told=told) for phone in found]

    def look(self, conn: Connection, opened: Opened, target: AdoptTarget, owner: WorkerInfo | None) -> AdoptItem:  # noqa: ARG002
        """Read, judge and convert its keys. Raises Refused, BadKey, OwnedByAnother."""
        assert target.phone
        phones.require_alone(conn, opened.backend, target.phone)
        found = self._judged(conn, target, target.phone, key_transfer.auth_rows(conn, opened.backend, target.phone))
        return PlanItem(target, found, sum(found.keys_before.values()))

    def prepare(self, opened: Opened, items: Sequence[AdoptItem]) -> None:
        """Let neonize make its tables where it has not."""
        if any(item.target.stored is None for item in items):
            make_store(opened, self.store_url)

    def apply(
        self, conn: Connection, opened: Opened, item: AdoptItem, operation: str | None, *, stopped: bool
    ) -> tuple[str, MovedPhone]:
        """Put the converted keys into the store, those that they were made of into quarantine."""
        phone = fenced(conn, opened, item, stopped=stopped)
        phones.require_alone(conn, opened.backend, phone)
        leaving = let_go(conn, opened, phone, action=ADOPT, reason=self.reason, operation=operation)
        found = self._unused(conn, item, phone, key_transfer.kept_rows(conn, leaving.part.operation_id, phone))
        _refuse_device(conn, phone)
        arriving, keys = found.arriving, leaving.taken.quarantined
        ours = settle(
            conn,
            opened,
            leaving,
            arriving,
            ConnectionType.NEONIZE,
            said="taken over from the Node backend",
            detail=lambda _, mark: events.Adopted(operator(), self.reason, keys, arriving.device, mark),
        )
        if self.reserve:
            leases.reserve(conn, phone.id, self.reserve)
        return leaving.part.operation_id, MovedPhone.of(ours, leaving, arriving)

    def _unused(self, conn: Connection, item: AdoptItem, phone: Phone, rows: list[Row]) -> Adoption:
        """What was found, if these are the keys that it was found of."""
        if _digest(rows) == item.found.digest:
            return item.found
        if self.node_runs:
            return self._judged(conn, item.target, phone, rows)
        raise Conflict(
            f"keys of {phone.number} were written since they were looked at: stop what runs it; nothing was changed"
        )

    def _judged(self, conn: Connection, target: AdoptTarget, phone: Phone, rows: list[Row]) -> Adoption:
        """The phone converted; raises Refused with every reason why it may not be."""
        before = BaileysPhone.of_rows(rows)
        reasons = list(refusals(before, phone.number))
        if devices := whatsmeow.device_of(conn, phone.number):
            reasons.append(_has_device(devices))
        if reasons:
            raise Refused(phone, tuple(reasons))
        stored = target.stored or {}
        pairs = (*stored.items(), *self.lid_map, *target.told.items())
        converted = to_whatsmeow(before, fresh_pre_key=secrets.token_bytes(32), lid_map=pairs)
        tables = converted.phone.rows()
        target.told.update({pair.lid: pair.pn for pair in converted.phone.lid_map if pair.lid not in stored})
        tables[LID_MAP] = [row for row in tables[LID_MAP] if row["lid"] not in stored]
        device = converted.phone.device.jid
        after = quarantine.by_kind({name: len(rows) for name, rows in tables.items()})
        put = partial(_put, tables=tables)
        arriving = Arriving(device, after, put, converted.left_out, converted.notices)
        return Adoption(_digest(rows), dict(Counter(key_type(row.key) for row in rows)), arriving)


def _put(conn: Connection, _phone: Phone, *, tables: Tables) -> None:
    if key_transfer.store_version(conn) is not None:  # a dry run makes none
        key_transfer.put_device(conn, tables)


def _digest(rows: Sequence[Row]) -> bytes:
    """By which a change of keys is seen."""
    whole = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.key):
        value = row.value.encode() if isinstance(row.value, str) else row.value
        for part in (row.key.encode(), value, row.type.encode()):
            whole.update(len(part).to_bytes(4))
            whole.update(part)
    return whole.digest()


def _refuse_device(conn: Connection, phone: Phone) -> None:
    if devices := whatsmeow.device_of(conn, phone.number):
        raise Refused(phone, (_has_device(devices),))


def _has_device(devices: list[str]) -> Remark:
    return Remark("whatsmeow_device", f"the store has a device of it already ({', '.join(devices)})")


def _require_baileys(phone: Phone) -> None:
    if phone.connection_type == ConnectionType.WABA:
        raise OwnedByAnother(f"{phone.number} is a waba phone (the official API): it has no session to take over")
    if phone.connection_type == ConnectionType.NEONIZE:
        raise OwnedByAnother(f"{phone.number} is ours already: wa-sessions run {phone.number}")
    if phone.connection_type != ConnectionType.BAILEYS:
        raise OwnedByAnother(f"{phone.number} is a {phone.connection_type} phone: only a baileys phone is taken over")
