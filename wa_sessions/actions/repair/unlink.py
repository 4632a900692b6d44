"""Logging the device of a closed session out at WhatsApp, which frees its place among the linked devices."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.plan import Change, Plan, PlanItem, Scope, Target
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, key_transfer, operations, rights, settings, unlinking, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import MOVING, Operation, OperationPart, OperationPhone
from wa_sessions.db.quarantine import QuarantineResult
from wa_sessions.db.unlinking import KeptDevice
from wa_sessions.errors import Conflict, DatabaseError, StoreAway, TryAgain, WaSessionsError
from wa_sessions.health.events import operators as events
from wa_sessions.worker.hosts.store import DEADLINE, log_out

_BY_HAND = "remove the device on the phone, under Linked devices"


@dataclass(frozen=True, slots=True)
class UnlinkedDevice:
    """What became of a device: ``already`` if somebody had removed it before, ``error`` if that failed."""

    device: KeptDevice
    unlinked: bool = False
    already: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class UnlinkedPhone:
    """What became of a phone's devices that an operation took."""

    operation: str
    devices: tuple[UnlinkedDevice, ...]

    @property
    def taken(self) -> QuarantineResult:
        """No key is deleted."""
        return QuarantineResult()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTarget(Target):
    """A phone of an operation, and its devices; without any it has Baileys keys, with which we cannot connect."""

    operation: str
    devices: tuple[KeptDevice, ...] = ()


UnlinkItem = PlanItem[DeviceTarget, None]
UnlinkPlan = Plan[DeviceTarget, None, UnlinkedPhone]


@dataclass(frozen=True, slots=True)
class Unlink(Change[DeviceTarget, None, UnlinkedPhone]):
    """Log every device of an operation out at WhatsApp, one after the other; its keys are useless afterwards.

    A device that was not unlinked has its ``error``; then its phone's part of the operation is as before, and this can
    be done again. ``restore``, ``purge`` and another ``unlink`` of that part wait meanwhile. ``store_url`` leads
    neonize to this same database, where the URL that is derived does not; ``deadline`` is in seconds for each device.
    ``connects``: not for a dry run.
    """

    singly: ClassVar[bool] = True
    operation_id: str
    connects: bool = True
    store_url: str | None = None
    deadline: float = DEADLINE

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[DeviceTarget]:
        """The phones whose devices are to be unlinked, and those of which only Baileys keys were taken.

        Raises Conflict where a device is in use, restored, purged or unlinked already, WaSessionsError for an unknown
        operation or one without a whole whatsmeow device, PermissionMissing, SchemaMissing.
        """
        rights.require(conn, opened.backend, {"neonize", "baileys"}, keys=("SELECT",))
        unlinking.require_create(conn)
        done = operations.operation(conn, self.operation_id.strip())
        parts = [part for part in done.phones if scope.organization_id in (None, part.organization_id)]
        by_phone: dict[int, list[KeptDevice]] = {}
        for device in _unlinkable(conn, opened, done, parts):
            by_phone.setdefault(device.phone_id, []).append(device)
        left_out = unlinking.baileys_numbers(conn, done.id)
        return [
            *(_target(done, phone_id, devices) for phone_id, devices in by_phone.items()),
            *(DeviceTarget(number, number, {}, operation=done.id) for number in left_out),
        ]

    def look(self, conn: Connection, opened: Opened, target: DeviceTarget, owner: WorkerInfo | None) -> UnlinkItem:  # noqa: ARG002
        """It was judged with the others."""
        return PlanItem(target, None)

    def concerns(self, item: UnlinkItem) -> bool:
        """wa-sessions cannot connect with Baileys keys."""
        return bool(item.target.devices)

    def beside_node(self, item: UnlinkItem) -> bool:  # noqa: ARG002
        """Its device is in quarantine: nobody uses it."""
        return False

    def apply(
        self,
        conn: Connection,
        opened: Opened,
        item: UnlinkItem,
        operation: str | None,
        *,
        stopped: bool,  # noqa: ARG002
    ) -> tuple[str | None, UnlinkedPhone]:
        """Unlink the devices of one phone, whose part of the operation nobody else changes meanwhile."""
        planned = item.target.devices
        part = OperationPart(item.target.operation, planned[0].phone_id)
        if not self.connects:
            return operation, UnlinkedPhone(part.operation_id, tuple(map(UnlinkedDevice, planned)))
        unlinking.stay_open(conn)
        if operations.lock_phone(conn, part).unlinked_at:
            gone = tuple(UnlinkedDevice(one, unlinked=True, already=True) for one in planned)
            return operation, UnlinkedPhone(part.operation_id, gone)
        done = operations.operation(conn, part.operation_id)
        devices = _unlinkable(conn, opened, done, [one for one in done.phones if one.phone_id == part.phone_id])
        url = settings.store_url(conn, opened.database.target, self.store_url)
        ends = tuple(self._unlink(opened, conn, part, device, url) for device in devices if device in planned)
        if ends and all(end.unlinked for end in ends):
            operations.mark_unlinked(conn, part, operator())
        return operation, UnlinkedPhone(part.operation_id, ends)

    def _unlink(
        self, opened: Opened, conn: Connection, part: OperationPart, device: KeptDevice, store_url: str
    ) -> UnlinkedDevice:
        with unlinking.scratch_store(opened.database, part.operation_id, device) as schema:
            try:
                removed = asyncio.run(log_out(unlinking.scratch_url(store_url, schema), device.jid, self.deadline))
            except (DatabaseError, StoreAway, TryAgain):
                raise
            except WaSessionsError as error:
                return UnlinkedDevice(device, error=str(error))
        detail = events.Unlinked(device.jid, operator(), already=not removed)
        health.record_event(conn, device.phone_id, device.organization_id, detail, operation_id=part.operation_id)
        return UnlinkedDevice(device, unlinked=True, already=not removed)


def _target(done: Operation, phone_id: int, devices: list[KeptDevice]) -> DeviceTarget:
    like = {"device": ", ".join(device.jid for device in devices)}
    return DeviceTarget(phone_id, devices[0].number, like, operation=done.id, devices=tuple(devices))


def _unlinkable(conn: Connection, opened: Opened, done: Operation, meant: list[OperationPhone]) -> list[KeptDevice]:
    """The devices of these phones; raises WaSessionsError where there is none, Conflict where one is in use."""
    operations.require_keys(done)
    if done.action in MOVING:
        raise Conflict(f"{done.id} ({done.action}) only moved its device, which is in use where it is now")
    parts = {part.phone_id: part for part in meant}
    purged = [part.purged_at for part in parts.values() if part.purged_at]
    kept = [device for device in unlinking.devices(conn, done.id) if device.phone_id in parts]
    if not kept and purged:
        raise Conflict(f"the keys of {done.id} were purged at {purged[0]:%Y-%m-%d %H:%M:%S} UTC: {_BY_HAND}")
    if not kept and unlinking.baileys_numbers(conn, done.id):
        raise WaSessionsError(f"{done.id} took Baileys keys, with which wa-sessions cannot connect: {_BY_HAND}")
    if not kept:
        raise WaSessionsError(f"{done.id} ({done.action}) took no whole device: only a closed session is unlinked")
    devices = [device for device in kept if parts[device.phone_id].undoable]
    if not devices:
        last = parts[kept[-1].phone_id]
        if last.unlinked_at:
            raise Conflict(
                f"{done.id} was already unlinked at {last.unlinked_at:%Y-%m-%d %H:%M:%S} UTC by {last.unlinked_by}"
            )
        raise Conflict(f"{done.id} was restored: its device is in use again")
    for device in devices:
        _refuse_in_use(conn, opened, done, device)
    return devices


def _refuse_in_use(conn: Connection, opened: Opened, done: Operation, device: KeptDevice) -> None:
    if device.jid in whatsmeow.device_of(conn, device.number):
        raise Conflict(f"the device {device.jid} of {done.id} is in use: it stands in the key store")
    later = operations.later_operation(conn, done, device.number, [device.jid])
    if later and later.action in MOVING:
        raise Conflict(f"{later.id} ({later.action}) moved the device {device.jid}, which is in use where it is now")
    if device.jid in key_transfer.devices_in_node(conn, opened.backend, device.number):
        raise Conflict(f"the device {device.jid} of {done.id} is in use: it stands in the Node backend's table")
