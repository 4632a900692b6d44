"""What operators and the worker ask of a session."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wa_sessions.db import whatsmeow
from wa_sessions.db.restoring import AlreadyRestored
from wa_sessions.errors import DatabaseError, OwnedByAnother, UsageError, WaSessionsError
from wa_sessions.health.reconnect import End, State, after
from wa_sessions.keys.selection import Selection
from wa_sessions.worker import log
from wa_sessions.worker.plans import (
    Connect,
    Ended,
    LeaseLost,
    Order,
    Pair,
    Plan,
    Shutdown,
    StayDown,
    StoreLost,
    WriteDown,
)

if TYPE_CHECKING:
    from wa_sessions.worker.session import Item, PhoneSession

Answer = dict[str, Any]


async def obey(session: "PhoneSession", item: "Item") -> Plan | None:
    """Do what is asked; the plan that follows, or None to go on as before."""
    match item:
        case Shutdown():
            return await session.shut_down()
        case StoreLost():
            return Ended(after(End.STORE_DOWN)) if session.process else None
        case LeaseLost(reason):
            raise OwnedByAnother(reason)
        case Order():
            return await _order(session, item)
        case _:
            return None


async def _order(session: "PhoneSession", order: Order) -> Plan | None:
    verb, connected = _VERBS.get(order.verb), session.process is not None
    try:
        if verb is None:
            raise UsageError(f"this worker does not know {order.verb!r}; it may be older than your wa-sessions")
        plan, answer = await verb(session, order)
    except WaSessionsError as error:
        await session.worker.answer(order, error)
        return await session.connect_or_pair() if connected and session.process is None else None
    if answer is not None:
        await session.worker.answer(order, answer)
    return plan


async def _force_close(session: "PhoneSession", order: Order) -> tuple[Plan | None, Answer]:
    reason, logout = order.arguments["reason"], order.arguments["logout"]
    await session.disconnect()
    operation_id = order.arguments.get("operation")
    written = session.journal.force_close(reason, order.actor, logout=logout, operation_id=operation_id)
    await session.journal.flush()
    operation, taken = written()
    undo = f"; its keys are in quarantine, undo: wa-sessions restore {operation}" if operation else ""
    message = f"force-closed by {order.actor}: {reason}{undo}"
    log.warn(message, phone=session.number, event="force_closed", operation=operation)
    return StayDown(), {"operation": operation, "taken": asdict(taken)}


async def _clean(session: "PhoneSession", order: Order) -> tuple[Plan | None, Answer]:
    """Put keys into quarantine while the session is not connected; one that was connected goes on without them."""
    action, reason, operation_id = (order.arguments[name] for name in ("action", "reason", "operation"))
    selection = Selection.from_dict(order.arguments["selection"])
    device = session.journal.device if session.process else None
    if device:
        await session.disconnect()
    operation, taken = await session.journal.clean(selection, action, reason, order.actor, operation_id)
    if operation:
        undo = f"undo: wa-sessions restore {operation}"
        message = f"{taken.quarantined} keys quarantined by {order.actor} ({action}); {undo}"
        log.warn(message, phone=session.number, event="keys_quarantined", operation=operation)
    plan = WriteDown(Connect(device, for_repair=True)) if device else None
    return plan, {"operation": operation, "taken": asdict(taken)}


async def _restart(session: "PhoneSession", _order: Order) -> tuple[Plan | None, Answer]:
    if until := session.journal.banned_until:
        raise WaSessionsError(
            f"{session.number} is banned by WhatsApp until {until:%Y-%m-%d %H:%M:%S} UTC: a login before that could "
            "prolong it; the worker connects by itself then"
        )
    await session.disconnect()
    plan = await session.connect_or_pair()
    return plan, {"pairing": isinstance(plan, Pair)}


async def _relink(session: "PhoneSession", _order: Order) -> tuple[Plan | None, Answer]:
    devices = await session.journal.read(lambda conn: whatsmeow.device_of(conn, session.number))
    if devices:
        raise UsageError(
            f"{session.number} has its keys still: `wa-sessions restart {session.number}` connects with them, "
            f"`wa-sessions force-close {session.number} --logout` puts them into quarantine first"
        )
    await session.kill()
    return Pair(), {"pairing": True}


async def _restore(session: "PhoneSession", order: Order) -> tuple[Plan | None, Answer]:
    """Bring keys back and connect with them. What is refused is refused before the session is touched."""
    operation, overwrite = order.arguments["operation"], order.arguments.get("overwrite")
    try:
        await session.journal.restore(operation, order.actor, overwrite=overwrite, dry_run=True)
    except AlreadyRestored:
        return None, {"counts": {}, "overwritten": 0, "already": True}
    await session.disconnect()
    restored = await session.journal.restore(operation, order.actor, overwrite=overwrite)
    log.info(f"restored {operation}", phone=session.number, event="restored")
    plan = await session.connect_or_pair()
    if isinstance(plan, Connect):
        plan = Connect(plan.device, for_repair=True)
    answer = {"counts": restored.counts, "overwritten": restored.overwritten, "status": restored.status}
    return WriteDown(plan), answer | {"already": False}


async def _release(session: "PhoneSession", order: Order) -> tuple[Plan | None, None]:
    """End gracefully, and let whoever asked have the phone: it is not ours then, whether the answer arrives or not."""
    plan = await session.shut_down()
    await session.worker.give_up(session)
    log.info(f"given up to {order.actor}: {order.arguments['reason']}", phone=session.number, event="released")
    try:
        await session.worker.answer(order, {"released": True})
    except DatabaseError as error:
        log.warn(f"whoever asked was not told: {error}", phone=session.number, event="not_answered")
    return plan, None


async def _send(session: "PhoneSession", order: Order) -> tuple[None, None]:
    """Send in the background: the session goes on meanwhile."""
    process = session.process
    if process is None or session.journal.state is not State.CONNECTED:
        raise WaSessionsError(f"{session.number} is not connected ({session.journal.state}); see `wa-sessions stats`")

    async def send() -> None:
        try:
            message_id = await process.ask("send", to=order.arguments["to"], text=order.arguments["text"])
        except WaSessionsError as error:
            await session.worker.answer(order, error)
        else:
            await session.worker.answer(order, {"message_id": message_id})

    task = asyncio.create_task(send())
    session.background.add(task)
    task.add_done_callback(session.background.discard)
    return None, None


_VERBS: dict[str, Callable[["PhoneSession", Order], Awaitable[tuple[Plan | None, Answer | None]]]] = {
    "force_close": _force_close,
    "clean": _clean,
    "restart": _restart,
    "relink": _relink,
    "restore": _restore,
    "send": _send,
    "release": _release,
}
