"""PURE: pairing. QR codes until a phone scans one, client after client, for the length of a window."""

from dataclasses import replace
from datetime import datetime, timedelta

from wa_sessions.health.events import connection as events
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.phone_ref import number_of, same_account
from wa_sessions.worker import connection
from wa_sessions.worker.effects import (
    NO_EFFECTS,
    Effects,
    FindDevice,
    ForgetDevice,
    LogLine,
    Note,
    OpenClient,
    SetStatus,
    ShowQr,
    Step,
    UnlinkDevice,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.ports import ClientLost
from wa_sessions.worker.session import Event, Return, Session

UNLINK_TIMEOUT = timedelta(seconds=30)  # for a wrong device to log in and be unlinked
LONGEST_PAUSE = 20.0  # seconds between two clients that show codes
UNLINK_REQUEST = 0  # commands have numbers from 1
CODES_USED_UP = "timeout"


def begin(session: Session, now: datetime, detail: str | None = None) -> Step:
    """Open the window. ``detail`` says what went wrong before, if anything did."""
    until = now + session.settings.pairing_window
    session = session.towards(
        *(State.PAIRING, detail),
        retry_at=until,
        round_at=now,
        device=None,
        wrong_device=None,
        unlinked=None,
        attempts=0,
        returning=Return.LOGIN,
    )
    note = Note(events.PairingStarted(), f"pairing: scan the QR before {until:%H:%M:%S} UTC")
    return session, Effects((SetStatus(Status.PENDING, qr_code=None), note))


def react(session: Session, event: Event, now: datetime) -> Step:
    """What a client says that shows codes."""
    if session.wrong_device is not None:
        return _unlinking(session, event)
    match event:
        case protocol.QrCode(code=code):
            session = replace(session, deadline=now + session.settings.answer_timeout)
            say = LogLine("qr", 'a QR to scan is in "OrganizationPhone"."qrCode"', "info")
            return session, Effects((SetStatus(Status.PENDING, qr_code=code),), (say, ShowQr(code)))
        case protocol.Paired(jid=jid) if same_account(number_of(jid), session.number):
            until = now + session.settings.answer_timeout
            session = session.towards(State.CONNECTING, device=jid, deadline=until, round_at=None)
            return session, Effects((Note(events.Paired(), f"paired as {jid}"),))
        case protocol.Paired(jid=jid):
            return replace(session, wrong_device=jid, deadline=now + UNLINK_TIMEOUT), NO_EFFECTS
        case protocol.PairingFailed(reason=reason) | ClientLost(reason=reason):
            return _round_failed(session, reason, now)
        case protocol.ConnectFailed(in_store=False, error=error):
            return _round_failed(session, connection.unreachable(error), now)
        case _:
            return connection.end_of(session, event, now)


def time_over(session: Session, now: datetime) -> Step:
    """The window, a client, or the unlinking of a wrong device has had its time."""
    if session.wrong_device is not None:
        over = session.deadline is not None and now >= session.deadline
        given_up = replace(session, asked=False, unlinked=False, deadline=None)
        return given_up if over and session.unlinked is None else session, NO_EFFECTS
    if session.retry_at is None or now >= session.retry_at:
        message = f"no QR was scanned; `wa-sessions relink {session.number}` opens pairing again"
        note = Note(events.PairingExpired(), message, "warn")
        expired = session.towards(State.PAIRING_EXPIRED, "no QR was scanned", deadline=None, round_at=None)
        return expired, Effects((SetStatus(Status.LOGGED_OUT, qr_code=None), note))
    if session.deadline is not None and now >= session.deadline and not session.ending:
        return _round_failed(session, "WhatsApp does not answer", now)
    return session, NO_EFFECTS


def next_look(session: Session) -> list[datetime | None]:
    """When something is due by time."""
    if session.wrong_device is not None:
        return [session.deadline if session.unlinked is None else None]
    if session.client is None:
        return [session.retry_at, session.round_at]
    return [session.retry_at, None if session.ending else session.deadline]


def due(session: Session, now: datetime) -> Step | None:
    """The next client, once none is open; but first a look whether the phone was paired while nobody listened."""
    if session.state is not State.PAIRING or session.asked or (session.round_at is not None and now < session.round_at):
        return None
    return replace(session, asked=True), Effects(calls=(FindDevice(),))


def device_found(session: Session, device: str | None, now: datetime) -> Step:
    """Connect, or show codes."""
    if device is not None:
        return connection.connect(session, device, now)
    until = now + session.settings.answer_timeout
    return replace(session, round_at=None, asked=True, deadline=until), Effects(calls=(OpenClient(None),))


def wrong_number(session: Session, now: datetime) -> Step | None:
    """Another account has scanned the QR: keep nothing of it, once its client has ended."""
    device = session.wrong_device
    if device is None or session.store_away:
        return None
    ending = "unlinked again" if session.unlinked else "not unlinked: remove it there under Linked devices"
    number = number_of(device)
    message = f"the QR was scanned by {number}, not by {session.number}; that device was {ending}"
    note = Note(events.WrongNumber(bool(session.unlinked)), message, "error")
    forgotten = Effects((ForgetDevice(device), note))
    if session.state is not State.PAIRING:
        return replace(session, wrong_device=None, unlinked=None), forgotten
    session, pairing = begin(session, now, f"the QR was scanned by {number}")
    return session, forgotten + pairing


def wants_client(session: Session) -> bool:
    """Whether the client that shows codes may go on."""
    return session.round_at is None and session.unlinked is None


def _round_failed(session: Session, why: str, now: datetime) -> Step:
    """A client ended without a device; that its codes were used up is no failure."""
    at = now + timedelta(seconds=connection.pause(session.attempts, now, LONGEST_PAUSE))
    session = replace(session, round_at=at, deadline=None, attempts=session.attempts + 1)
    gone = Effects((SetStatus(Status.PENDING, qr_code=None),))
    if why == CODES_USED_UP:
        return session, gone
    session = replace(session, detail=f"last attempt failed: {why}")
    return session, gone + Effects((Note(events.PairingFailed(why), f"pairing failed: {why}", "warn"),))


def _unlinking(session: Session, event: Event) -> Step:
    """The device of another account logs in once, to be removed."""
    match event:
        case protocol.Connected(client) if not session.asked:
            return replace(session, asked=True), Effects(calls=(UnlinkDevice(client, UNLINK_REQUEST),))
        case protocol.LoggedOut() if session.asked:  # WhatsApp may say so before it answers
            return replace(session, asked=False, unlinked=True), NO_EFFECTS
        case protocol.ConnectFailed() | protocol.LoggedOut() | ClientLost() if session.unlinked is None:
            return replace(session, asked=False, unlinked=False), NO_EFFECTS
        case _:
            return session, NO_EFFECTS
