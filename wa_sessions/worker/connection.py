"""PURE: how a login goes: connecting, lost and back, ended for good or for a while, and what it says of its keys."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from wa_sessions.health import model
from wa_sessions.health.classify import Cause
from wa_sessions.health.decide import decide
from wa_sessions.health.events import connection as events
from wa_sessions.health.reconnect import ComeBack, End, State, Status, StayDown, WaitForStore, after
from wa_sessions.keys.phone_ref import number_of, same_account
from wa_sessions.worker.effects import (
    NO_EFFECTS,
    CloseClient,
    Effects,
    Note,
    Notify,
    OpenClient,
    Record,
    SetStatus,
    Step,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.ports import MoveAsked
from wa_sessions.worker.session import (
    CollectionUnsynced,
    Event,
    MessageUndecrypted,
    Return,
    Session,
    VersionsSeen,
)

SETTLED_AFTER = timedelta(seconds=60)  # a connection must last so long for the next pause to be short again
LONGEST_PAUSE = 60.0  # seconds between two attempts to connect
LONGEST_STORE_PAUSE = 30.0  # seconds
LONGEST_BAN = 10 * 365 * 86_400  # seconds; WhatsApp may name any number, and a date has to come of it
_FINAL = (protocol.Replaced, protocol.LoggedOut, protocol.Outdated, protocol.LoginRefused, protocol.Banned)
CONNECTED_ANYHOW = (State.CONNECTING, State.CONNECTED, State.RECONNECTING, State.NO_ANSWER)
_DOWN: Mapping[State, type[events.StaysDown]] = {
    State.REPLACED: events.Replaced,
    State.LOGGED_OUT: events.LoggedOut,
    State.OUTDATED: events.Outdated,
    State.LOGIN_REFUSED: events.LoginRefused,
    State.BANNED: events.Banned,
}
_BACK: Mapping[State, type[events.ComesBack | events.Banned]] = {
    State.UNREACHABLE: events.Unreachable,
    State.CRASHED: events.Crashed,
    State.BANNED: events.Banned,
}
SET_ASIDE_FOR = timedelta(minutes=30)  # for a session that brings its hosts down


def connect(session: Session, device: str, now: datetime) -> Step:
    """Begin a login with the keys of ``device``. A phone that only moves keeps its status meanwhile."""
    session = session.towards(
        State.CONNECTING, device=device, asked=True, deadline=now + session.settings.answer_timeout
    )
    records = () if session.returning is Return.MOVE else (SetStatus(Status.LOADING),)
    return session, Effects(records, (OpenClient(device),))


def react(session: Session, event: Event, now: datetime) -> Step:
    """What the login says, while there ought to be one."""
    match event:
        case protocol.Connected() if session.device:
            return _connected(session, session.device, now)
        case protocol.Disconnected():
            session = replace(session.stumbled(), drops=session.drops + 1)
            session = replace(session, deadline=now + session.settings.answer_timeout)
            return _changed(session, State.RECONNECTING, Status.RECONNECTING, events.Disconnected(), "connection lost")
        case protocol.PingUnanswered() if session.state is State.CONNECTED:
            message = "WhatsApp does not answer pings"
            session = replace(session, deadline=now + session.settings.answer_timeout)
            return _changed(session, State.NO_ANSWER, Status.RECONNECTING, events.NoAnswer(), message)
        case protocol.PingAnswered() if session.state is State.NO_ANSWER:
            session = replace(session, deadline=None)
            return _changed(session, State.CONNECTED, Status.CONNECTED, events.AnswersAgain(), "WhatsApp answers again")
        case MoveAsked(client) if session.state is State.CONNECTED:
            moving = session.towards(State.CONNECTING, returning=Return.MOVE, ending=True)
            return moving, Effects(calls=(CloseClient(client),))
        case _:
            return end_of(session, event, now)


def react_while_ending(session: Session, event: Event, now: datetime) -> Step:
    """What holds though the login is ended on purpose: that there is none any more, or that a stranger has paired."""
    match event:
        case protocol.Paired(jid=jid) if not same_account(number_of(jid), session.number):
            return replace(session, wrong_device=jid, unlinked=False), NO_EFFECTS
        case _ if not isinstance(event, _FINAL) or not session.online or session.wrong_device is not None:
            return session, NO_EFFECTS
        case _ if session.store_away:
            return replace(session, last_word=(event, now)), NO_EFFECTS
        case _:
            return end_of(session, event, now)


def end_of(session: Session, event: Event, now: datetime) -> Step:
    """What ends a login for good, as far as whatsmeow is concerned."""
    match event:
        case protocol.Replaced():
            return ended(session, End.REPLACED, "another client logged in with these keys", now)
        case protocol.LoggedOut(reason=reason):
            return ended(session, End.LOGGED_OUT, f"WhatsApp removed this device ({reason.lower()})", now)
        case protocol.Outdated():
            return ended(session, End.OUTDATED, "WhatsApp refuses this version of the client: upgrade neonize", now)
        case protocol.LoginRefused(reason=reason):
            return ended(session, End.LOGIN_REFUSED, f"WhatsApp refused the login ({reason.lower()})", now)
        case protocol.Banned(seconds=0):
            return ended(session, End.BANNED, "banned by WhatsApp, no end is told", now)
        case protocol.Banned(seconds=seconds):
            until = now + timedelta(seconds=min(seconds, LONGEST_BAN))
            return ended(session, End.BANNED, f"banned by WhatsApp until {until:%Y-%m-%d %H:%M:%S} UTC", now, until)
        case protocol.ConnectFailed(in_store=True, error=error):
            return ended(session, End.STORE_DOWN, f"the session cannot use the database ({error})", now)
        case protocol.StoreFailed():
            return ended(session, End.STORE_DOWN, "the database does not answer the session", now)
        case protocol.ConnectFailed(error=error):
            return ended(session, End.UNREACHABLE, unreachable(error), now)
        case _:
            return session, NO_EFFECTS


def ended(session: Session, end: End, detail: str, now: datetime, until: datetime | None = None) -> Step:
    """The login has ended: stay down, come back after a pause, or wait for the store."""
    if session.connected_at and now - session.connected_at >= SETTLED_AFTER:
        session = replace(session, attempts=0, store_attempts=0)
    session = replace(session, deadline=None, connected_at=None, returning=Return.LOGIN)
    follows = after(end, ban_expires_at=until)
    told = Effects((SetStatus(follows.status, qr_code=None),), (Notify(follows.state.value),))
    match follows:
        case StayDown(state=state):
            session, effects = _stay_down(session, state, detail)
        case ComeBack(state=state, not_before=not_before):
            session, effects = _come_back(session, state, detail, now, not_before)
        case WaitForStore():
            at = now + timedelta(seconds=pause(session.store_attempts, now, LONGEST_STORE_PAUSE, first=0.5))
            session = session.towards(follows.state, detail, retry_at=at, store_attempts=session.store_attempts + 1)
            message = f"{detail}: socket closed, WhatsApp keeps the messages"
            effects = Effects((Note(events.StoreLost(reason=detail), message, "error"),))
        case _:
            assert_never(follows)
    return session, told + effects


def set_aside(session: Session, reason: str, now: datetime) -> Step:
    """This session brings down whatever process runs it: leave it alone for long."""
    until = now + SET_ASIDE_FOR
    detail = f"{reason}, again and again"
    message = f"{detail}: left alone until {until:%H:%M:%S} UTC; to try now: wa-sessions restart {session.number}"
    note = Note(events.SetAside(reason), message, "error")
    session = replace(session, deadline=None, connected_at=None, returning=Return.LOGIN)
    session = session.towards(State.CRASHED, detail, retry_at=until)
    return session, Effects((SetStatus(Status.RECONNECTING, qr_code=None), note), (Notify(State.CRASHED.value),))


def health(session: Session, event: Event, now: datetime) -> Step:
    """What says something about keys, however the login stands by now."""
    match event:
        case _ if session.wrong_device is not None:  # of whose keys nothing is kept
            return session, NO_EFFECTS
        case MessageUndecrypted(one):
            session, effects = decided(session, _failed(event, now), now)
            return session, effects + Effects(calls=(Notify("undecrypted", {"cause": one.cause.value}),))
        case protocol.Decrypted(_, message_id, sender, chat):
            session, effects = decided(session, model.MessageDecrypted(now, message_id, sender, chat), now)
            return session, effects + Effects(calls=(Notify("decrypted"),))
        case protocol.RetriesExhausted(_, message_id):
            return decided(session, model.MessageGivenUp(now, message_id), now)
        case CollectionUnsynced(one, versions):
            if one.cause is Cause.BAD_DECRYPT:  # its own version goes with the repair
                kept = {name: version for name, version in versions.items() if name != one.collection}
                session = replace(session, versions=kept, versions_at=now)
            return decided(session, model.CollectionFailed(now, one.collection, one.cause), now)
        case VersionsSeen(versions):
            newer = [name for name, version in versions.items() if version > session.versions.get(name, 0)]
            if newer and session.health.bad_decrypt:
                return decided(session, model.CollectionSynced(now, newer[0]), now)
        case _:
            pass
    return session, NO_EFFECTS


def decided(session: Session, event: model.HealthEvent, now: datetime) -> Step:
    """Let the health policy decide. A close that it asks for stands in ``health.closing``: settling sees to it."""
    found, actions = decide(session.health, event, session.settings.limits)
    session = session if found is session.health else replace(session, health=found)
    records = tuple(a for a in actions if not isinstance(a, model.CloseSession | model.LeaveStore))
    leave = any(isinstance(action, model.LeaveStore) for action in actions)
    if leave and session.online and not session.ending and session.client is not None:
        session, effects = ended(session, End.STORE_DOWN, "the database does not answer the session", now)
        return session, Effects(records) + effects
    return session, Effects(records)


def stream_error(event: protocol.StreamError) -> Note:
    """A reason that whatsmeow knows no answer to: it tells it, and goes on when the socket is lost."""
    code = f"with code {event.code}" if event.code else "without a code"
    message = f"WhatsApp ended the stream {code}, which whatsmeow does not know"
    return Note(events.StreamError(event.code), message, "warn")


def unreachable(error: str) -> str:
    """For people: a proxy, a certificate, a name that is not found make a difference to them."""
    return f"WhatsApp cannot be reached ({error})" if error else "WhatsApp cannot be reached"


def pause(attempts: int, now: datetime, longest: float, first: float = 1.0) -> float:
    """Seconds until the next attempt: exponential, with a jitter of up to ``first`` out of the clock's last digits."""
    return min(first * 2.0 ** min(attempts, 16), longest) + first * now.microsecond / 1e6


def _connected(session: Session, device: str, now: datetime) -> Step:
    returning = session.returning
    session = session.towards(State.CONNECTED, deadline=None, connected_at=now, returning=Return.LOGIN, versions_at=now)
    if returning is Return.MOVE:
        records: tuple[Record, ...] = (Note(events.Moved(), "connected again in another process"),)
    else:
        status = SetStatus(Status.CONNECTED, qr_code=None, phone_jid=device, connected_now=True)
        records = (status, Note(events.Connected(), f"connected as {device}"))
    session, effects = decided(session, model.Connected(now, for_repair=returning is not Return.LOGIN), now)
    return session, Effects(records, (Notify("connected"),)) + effects


def _changed(session: Session, state: State, status: Status, detail: events.ConnectionDetail, message: str) -> Step:
    """What whatsmeow mends by itself."""
    return session.towards(state), Effects((SetStatus(status), Note(detail, message, "warn")))


def _stay_down(session: Session, state: State, detail: str) -> Step:
    advice = f"`wa-sessions {'relink' if state is State.LOGGED_OUT else 'restart'} {session.number}`"
    note = Note(_DOWN[state](detail), f"{detail}; it stays down until {advice}", "error")
    return session.towards(state, detail), Effects((note,))


def _come_back(session: Session, state: State, detail: str, now: datetime, not_before: datetime | None) -> Step:
    at = not_before or now + timedelta(seconds=pause(session.attempts, now, LONGEST_PAUSE))
    down = int((now - session.down_since).total_seconds()) if session.down_since else 0
    message = f"{detail}; next attempt at {at:%H:%M:%S} UTC"
    note = Note(_BACK[state](detail, down), message, "warn")
    return session.towards(state, detail, retry_at=at, attempts=session.attempts + 1), Effects((note,))


def _failed(event: MessageUndecrypted, now: datetime) -> model.MessageFailed:
    one = event.frame
    return model.MessageFailed(
        at=now,
        message_id=one.message_id,
        sender=one.sender,
        chat=one.chat,
        is_group=one.is_group,
        cause=one.cause,
        encryption=one.encryption,
        connection=event.connection,
        session_mark=event.session_mark,
    )
