"""Pairing: QR codes until a phone scans one, in processes that can be killed.

After an expired QR or a failed pairing neonize's ``connect()`` never returns (0.5.2): each round has its own process.
"""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wa_sessions.db import whatsmeow
from wa_sessions.errors import WaSessionsError
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.phone_ref import number_of
from wa_sessions.worker import log, orders, reports
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.plans import Pair, Plan, Shutdown, StayDown
from wa_sessions.worker.process import SessionEvent

if TYPE_CHECKING:
    from wa_sessions.worker.session import PhoneSession

UNLINK_DEADLINE = 30.0  # seconds for a wrong device to log in and be unlinked


async def pair(session: "PhoneSession", detail: str | None = None) -> Plan:
    """Show QR codes for the length of the window, then live on with the device that was made."""
    journal = session.journal
    until = datetime.now(UTC) + session.options.pairing_window
    journal.device = None
    journal.set_state(State.PAIRING, detail, retry_at=until)
    journal.set_status(Status.PENDING, qr_code=None)
    journal.note("pairing_started", f"pairing: scan the QR before {until:%H:%M:%S} UTC")
    await journal.flush()
    backoff = Backoff(most=20)
    while (left := (until - datetime.now(UTC)).total_seconds()) > 0:
        await session.spawn(None)
        plan = await _round(session, until)
        if plan is not None:
            return plan
        await session.kill()
        journal.set_status(Status.PENDING, qr_code=None)
        await journal.flush()
        if (plan := await session.pause(min(backoff.next(), left))) is not None:
            return plan
    journal.set_state(State.PAIRING_EXPIRED, "no QR was scanned")
    journal.set_status(Status.LOGGED_OUT, qr_code=None)
    message = f"no QR was scanned; `wa-sessions relink {session.number}` opens pairing again"
    journal.note("pairing_expired", message, level=log.warn)
    await journal.flush()
    return StayDown()


async def _round(session: "PhoneSession", until: datetime) -> Plan | None:
    """One client's QR codes; None if it can give no more."""
    answer_by = time.monotonic() + session.options.answer_timeout
    while True:
        item = await session.next_item(min((until - datetime.now(UTC)).total_seconds(), answer_by - time.monotonic()))
        if item is None:
            await _unanswered(session, until)
            return None
        if not isinstance(item, SessionEvent):
            plan = await orders.obey(session, item)
        elif item.process is not session.process:
            continue
        elif item.name == "qr":
            answer_by = time.monotonic() + session.options.answer_timeout
            await _show(session, item.fields["code"])
            continue
        elif item.name == "paired":
            plan = await _paired(session, item.fields["jid"])
        elif _is_failure(item):
            await _failed(session, _why(item))
            return None
        else:
            plan = await reports.told(session, item)
        if plan is not None:
            return plan


def _is_failure(event: SessionEvent) -> bool:
    if event.name == "login_status":
        return bool(event.fields["status"] != "success")
    return event.name in ("pairing_failed", "exited", "connect_failed")


async def _show(session: "PhoneSession", code: str) -> None:
    session.journal.set_status(Status.PENDING, qr_code=code)
    await session.journal.flush()
    log.info('a QR to scan is in "OrganizationPhone"."qrCode"', phone=session.number, event="qr")
    session.options.on_qr(session.number, code)


def _why(event: SessionEvent) -> str:
    if event.name == "connect_failed":
        return "the database does not answer" if event.fields["store"] else "WhatsApp cannot be reached"
    return str(event.fields.get("status") or event.fields.get("error") or "the session process ended")


async def _unanswered(session: "PhoneSession", until: datetime) -> None:
    if datetime.now(UTC) < until:
        await _failed(session, "WhatsApp does not answer")


async def _failed(session: "PhoneSession", why: str) -> None:
    """A round ended without a device; that its codes were used up is no failure."""
    if why == "timeout":
        return
    session.journal.set_state(State.PAIRING, f"last attempt failed: {why}")
    session.journal.note("pairing_failed", f"pairing failed: {why}", level=log.warn, reason=why)
    await session.journal.flush()


async def _paired(session: "PhoneSession", jid: str) -> Plan:
    if number_of(jid) != session.number:
        return await _wrong_number(session, jid)
    session.journal.device = jid
    session.journal.note("paired", f"paired as {jid}")
    session.expect_answer()
    return await session.live()


async def _wrong_number(session: "PhoneSession", jid: str) -> Plan:
    """Another account has scanned the QR: unlink what it made and keep nothing of it."""
    unlinked = await _unlink(session)
    await session.kill()
    await session.journal.read(lambda conn: whatsmeow.forget_device(conn, jid))
    ending = "unlinked again" if unlinked else "not unlinked: remove it there under Linked devices"
    message = f"the QR was scanned by {number_of(jid)}, not by {session.number}; that device was {ending}"
    session.journal.note("wrong_number", message, level=log.error, unlinked=unlinked)
    return Pair(f"the QR was scanned by {number_of(jid)}")


async def _unlink(session: "PhoneSession") -> bool:
    """Wait for the new device's login and remove it at WhatsApp."""
    process, end = session.process, time.monotonic() + UNLINK_DEADLINE
    assert process
    while (left := end - time.monotonic()) > 0:
        item = await session.next_item(left)
        if isinstance(item, Shutdown):
            await session.inbox.put(item)
            return False
        if not isinstance(item, SessionEvent) or item.process is not process:
            continue
        if item.name in ("exited", "connect_failed", "logged_out"):
            return False
        if item.name == "connected":
            try:
                await process.ask("unlink")
            except WaSessionsError:
                return False
            return True
    return False
