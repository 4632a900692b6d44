"""What a session process tells, and the plan that follows from it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wa_sessions.db import whatsmeow
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.model import CollectionFailed, Connected, MessageDecrypted, MessageFailed, MessageGivenUp
from wa_sessions.health.reconnect import End, State, Status, after
from wa_sessions.worker import log
from wa_sessions.worker.plans import Ended, Plan
from wa_sessions.worker.session_process import LEASE_RAN_OUT

if TYPE_CHECKING:
    from wa_sessions.worker.process import SessionEvent
    from wa_sessions.worker.session import PhoneSession

Report = Callable[["PhoneSession", dict[str, Any]], Awaitable[Plan | None]]


async def told(session: "PhoneSession", event: "SessionEvent") -> Plan | None:
    """Take one event of the session process; the plan that follows, or None to go on."""
    report = _REPORTS.get(event.name)
    return await report(session, event.fields) if report else None


# --------------------------------------------------------------------------------------------- connections


async def _connected(session: "PhoneSession", _fields: dict[str, Any]) -> Plan | None:
    session.connected()
    journal = session.journal
    assert journal.device
    journal.phone = replace(journal.phone, phone_jid=journal.device)
    journal.set_state(State.CONNECTED)
    journal.set_status(Status.CONNECTED, qr_code=None, phone_jid=journal.device, now=True)
    journal.note("connected", f"connected as {journal.device}")
    for_repair, session.for_repair = session.for_repair, False
    return await session.happened(Connected(datetime.now(UTC), for_repair=for_repair))


async def _disconnected(session: "PhoneSession", _fields: dict[str, Any]) -> None:
    session.dropped()
    await _changed(session, State.RECONNECTING, Status.RECONNECTING, "disconnected", "connection lost")


async def _no_answer(session: "PhoneSession", fields: dict[str, Any]) -> None:
    if fields["count"] == 1:
        await _changed(session, State.NO_ANSWER, Status.RECONNECTING, "no_answer", "WhatsApp does not answer pings")


async def _answers_again(session: "PhoneSession", _fields: dict[str, Any]) -> None:
    await _changed(session, State.CONNECTED, Status.CONNECTED, "answers_again", "WhatsApp answers again")


async def _changed(session: "PhoneSession", state: State, status: Status, kind: str, message: str) -> None:
    session.journal.set_state(state)
    session.journal.set_status(status)
    session.journal.note(kind, message, level=log.warn)
    await session.journal.flush()


async def _replaced(_session: "PhoneSession", _fields: dict[str, Any]) -> Plan:
    return Ended(after(End.REPLACED), "another client logged in with these keys")


async def _logged_out(_session: "PhoneSession", fields: dict[str, Any]) -> Plan:
    return Ended(after(End.LOGGED_OUT), f"WhatsApp removed this device ({fields['reason'].lower()})")


async def _outdated(_session: "PhoneSession", _fields: dict[str, Any]) -> Plan:
    return Ended(after(End.OUTDATED), "WhatsApp refuses this version of the client: upgrade neonize")


async def _login_refused(_session: "PhoneSession", fields: dict[str, Any]) -> Plan:
    return Ended(after(End.LOGIN_REFUSED), f"WhatsApp refused the login ({fields['reason'].lower()})")


async def _banned(_session: "PhoneSession", fields: dict[str, Any]) -> Plan:
    if not fields["seconds"]:
        return Ended(after(End.BANNED), "banned by WhatsApp, no end is told")
    until = datetime.now(UTC) + timedelta(seconds=fields["seconds"])
    return Ended(after(End.BANNED, ban_expires_at=until), f"banned by WhatsApp until {until:%Y-%m-%d %H:%M:%S} UTC")


async def _connect_failed(_session: "PhoneSession", fields: dict[str, Any]) -> Plan:
    if fields["store"]:
        return Ended(after(End.STORE_DOWN))
    return Ended(after(End.UNREACHABLE), "WhatsApp cannot be reached")


async def _exited(_session: "PhoneSession", fields: dict[str, Any]) -> Plan:
    if fields["code"] == LEASE_RAN_OUT:
        return Ended(after(End.STORE_DOWN))
    reason = fields["reason"] or "no reason given"
    return Ended(after(End.CRASHED), f"the session process ended with {fields['code']}: {reason}")


async def _store_failed(_session: "PhoneSession", _fields: dict[str, Any]) -> Plan:
    return Ended(after(End.STORE_DOWN))


# ------------------------------------------------------------------------------------------------- messages


async def _undecrypted(session: "PhoneSession", fields: dict[str, Any]) -> Plan | None:
    sender, chat, cause = fields["sender"], fields["chat"], Cause(fields["cause"])
    encryption = Encryption(fields["encryption"])
    is_group = chat.endswith("@g.us") or encryption is Encryption.SENDER_KEY_MESSAGE
    return await session.happened(
        MessageFailed(
            at=datetime.now(UTC),
            message_id=fields["message_id"],
            sender=sender,
            chat=chat,
            is_group=is_group,
            cause=cause,
            encryption=encryption,
            connection=session.connection,
            session_mark=await _mark(session, sender, chat, is_group=is_group) if cause is Cause.BAD_MAC else None,
        )
    )


async def _mark(session: "PhoneSession", sender: str, chat: str, *, is_group: bool) -> str | None:
    device = session.journal.device
    if device is None:
        return None
    if is_group:
        return await session.journal.read(lambda conn: whatsmeow.sender_key_mark(conn, device, chat, sender))
    return await session.journal.read(lambda conn: whatsmeow.session_mark(conn, device, sender))


async def _decrypted(session: "PhoneSession", fields: dict[str, Any]) -> Plan | None:
    return await session.happened(MessageDecrypted(datetime.now(UTC), **fields))


async def _retries_exhausted(session: "PhoneSession", fields: dict[str, Any]) -> Plan | None:
    return await session.happened(MessageGivenUp(datetime.now(UTC), fields["message_id"]))


async def _unsynced(session: "PhoneSession", fields: dict[str, Any]) -> Plan | None:
    collection, cause = fields["collection"], Cause(fields["cause"])
    if cause is Cause.BAD_DECRYPT:
        session.sync_baseline = await session.versions()
        session.sync_baseline.pop(collection, None)  # the repair takes its version away
    return await session.happened(CollectionFailed(datetime.now(UTC), collection, cause))


# --------------------------------------------------------------------------------------------- the handler


async def _handler_failed(session: "PhoneSession", fields: dict[str, Any]) -> None:
    await _noted(session, "handler_failed", f"the message handler failed: {fields['error']}", fields)


async def _handler_slow(session: "PhoneSession", fields: dict[str, Any]) -> None:
    message = f"the message handler takes more than {fields['seconds']:.0f} s; {fields['waiting']} messages wait"
    await _noted(session, "handler_slow", message, fields)


async def _handler_missing(_session: "PhoneSession", fields: dict[str, Any]) -> Plan:
    return Ended(after(End.CRASHED), fields["error"])


async def _noted(session: "PhoneSession", kind: str, message: str, fields: dict[str, Any]) -> None:
    session.journal.note(kind, message, level=log.warn, **fields)
    await session.journal.flush()


async def _stderr(session: "PhoneSession", fields: dict[str, Any]) -> None:
    log.info(fields["line"], phone=session.number, event="output")


_REPORTS: dict[str, Report] = {
    "connected": _connected,
    "disconnected": _disconnected,
    "no_answer": _no_answer,
    "answers_again": _answers_again,
    "replaced": _replaced,
    "logged_out": _logged_out,
    "outdated": _outdated,
    "login_refused": _login_refused,
    "banned": _banned,
    "connect_failed": _connect_failed,
    "exited": _exited,
    "store_failed": _store_failed,
    "undecrypted": _undecrypted,
    "decrypted": _decrypted,
    "retries_exhausted": _retries_exhausted,
    "unsynced": _unsynced,
    "handler_failed": _handler_failed,
    "handler_slow": _handler_slow,
    "handler_missing": _handler_missing,
    "stderr": _stderr,
}
