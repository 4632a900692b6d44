"""Logging the device of a closed session out at WhatsApp, which frees its place among the linked devices."""

import asyncio
from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.plan import Progress
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, operations, rights, settings, takeover, unlinking, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import MOVING, Operation, Part
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
class Unlinked:
    """What became of an operation's devices."""

    operation: str
    devices: tuple[UnlinkedDevice, ...]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The devices that would be unlinked. ``baileys`` are numbers whose devices we cannot unlink."""

    operation: str
    devices: tuple[KeptDevice, ...]
    baileys: tuple[str, ...]


def plan(opened: Opened, operation_id: str, organization_id: int | None = None) -> Plan:
    """What ``unlink`` would do.

    Raises Conflict where the device is in use, restored, purged or unlinked already, WaSessionsError for an unknown
    operation or one without a whole whatsmeow device, PermissionMissing, SchemaMissing.
    """
    with opened.database.transaction() as conn:
        rights.require(conn, opened.backend, {"neonize", "baileys"}, keys=("SELECT",))
        unlinking.require_create(conn)
        done = operations.operation(conn, operation_id.strip())
        devices = _unlinkable(conn, opened, done, organization_id)
        return Plan(done.id, tuple(devices), tuple(unlinking.baileys_numbers(conn, done.id)))


def unlink(
    opened: Opened,
    operation_id: str,
    organization_id: int | None = None,
    *,
    store_url: str | None = None,
    deadline: float = DEADLINE,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Unlinked:
    """Log every device of an operation out at WhatsApp, one after the other; its keys are useless afterwards.

    A device that was not unlinked has its ``error``; then its phone's part of the operation is as before, and this can
    be done again. ``restore``, ``purge`` and another ``unlink`` of that part wait meanwhile. ``store_url`` leads
    neonize to this same database, where the URL that is derived does not; ``deadline`` is in seconds for each device.
    Raises what ``plan`` raises, DatabaseError if neonize cannot use the database.
    """
    planned = plan(opened, operation_id, organization_id)
    if dry_run:
        return Unlinked(planned.operation, tuple(map(UnlinkedDevice, planned.devices)), dry_run=True)
    ends: list[UnlinkedDevice] = []
    for phone_id in dict.fromkeys(device.phone_id for device in planned.devices):
        progress(len(ends), len(planned.devices))
        devices = [device for device in planned.devices if device.phone_id == phone_id]
        ends += _unlink_phone(opened, Part(planned.operation, phone_id), devices, store_url, deadline)
    return Unlinked(planned.operation, tuple(ends), dry_run=False)


def _unlinkable(
    conn: Connection, opened: Opened, done: Operation, organization_id: int | None = None
) -> list[KeptDevice]:
    operations.require_keys(done)
    if done.action in MOVING:
        raise Conflict(f"{done.id} ({done.action}) only moved its device, which is in use where it is now")
    parts = {part.phone_id: part for part in done.phones if organization_id in (None, part.organization_id)}
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
    later = operations.went_on(conn, done, device.number, [device.jid])
    if later and later.action in MOVING:
        raise Conflict(f"{later.id} ({later.action}) moved the device {device.jid}, which is in use where it is now")
    if device.jid in takeover.devices_in_node(conn, opened.backend, device.number):
        raise Conflict(f"the device {device.jid} of {done.id} is in use: it stands in the Node backend's table")


def _unlink_phone(
    opened: Opened, part: Part, planned: list[KeptDevice], store_url: str | None, deadline: float
) -> list[UnlinkedDevice]:
    """Unlink the devices of one phone, whose part of the operation nobody else changes meanwhile."""
    with opened.database.transaction() as conn:
        unlinking.stay_open(conn)
        if operations.lock_phone(conn, part).unlinked_at:
            return [UnlinkedDevice(device, unlinked=True, already=True) for device in planned]
        devices = _unlinkable(conn, opened, operations.operation(conn, part.operation_id))
        url = settings.store_url(conn, opened.database.target, store_url)
        mine = [device for device in devices if device in planned]
        ends = [_unlink(opened, conn, part.operation_id, device, url, deadline) for device in mine]
        if ends and all(end.unlinked for end in ends):
            operations.mark_unlinked(conn, part, operator())
        return ends


def _unlink(
    opened: Opened, conn: Connection, operation_id: str, device: KeptDevice, store_url: str, deadline: float
) -> UnlinkedDevice:
    with unlinking.scratch_store(opened.database, operation_id, device) as schema:
        try:
            removed = asyncio.run(log_out(unlinking.scratch_url(store_url, schema), device.jid, deadline))
        except (DatabaseError, StoreAway, TryAgain):
            raise
        except WaSessionsError as error:
            return UnlinkedDevice(device, error=str(error))
    detail = events.Unlinked(device.jid, operator(), already=not removed)
    health.record_event(conn, device.phone_id, device.organization_id, detail, operation_id=operation_id)
    return UnlinkedDevice(device, unlinked=True, already=not removed)
