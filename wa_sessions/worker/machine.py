"""The whole life of a session as one fold: ``step(session, event, now)`` gives the session after it, and what follows.

It has no clock and no I/O. An event first changes what the session is (``_react``); then it is settled: what it is gets
compared with what there ought to be (a login, none, a close, a command carried out), and the next thing that brings the
two together is asked for. So whatever fails in between, settling again leads on.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from wa_sessions.health import model
from wa_sessions.health.events.workers import HandlerEnded, HandlerFailed, HandlerSlow, HandlerUnfinished
from wa_sessions.health.reconnect import End, State
from wa_sessions.wording import counted
from wa_sessions.worker import commands, connection, linking, outage
from wa_sessions.worker.clock_steps import capped
from wa_sessions.worker.effects import (
    NO_EFFECTS,
    CloseAtLimit,
    CloseClient,
    DropClient,
    Effects,
    FindDevice,
    LogLine,
    LookAtVersions,
    Note,
    Step,
)
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.ports import ClientLost, HandlerEvent, RequestAnswered
from wa_sessions.worker.session import (
    PAUSED,
    ClientOpened,
    CollectionUnsynced,
    CommandGiven,
    CommandSettled,
    DeviceFound,
    Event,
    LeaseLost,
    MessageUndecrypted,
    Released,
    RestoreAllowed,
    Resumed,
    Return,
    Session,
    Shutdown,
    Started,
    StoreBack,
    StoreLost,
    TimeOver,
    Verb,
    VersionsSeen,
    WorkerEvent,
)

LOOK_EVERY = timedelta(seconds=60)  # between looks at messages that wait too long
VERSIONS_EVERY = timedelta(seconds=1)  # between looks at app-state versions while Bad Decrypt errors are counted

_OF_ANY_LOGIN = (ClientOpened, protocol.Decrypted, protocol.RetriesExhausted)


def step(session: Session, event: Event, now: datetime) -> Step:
    """What the session is after ``event``, and what follows from it."""
    if session.finished or _is_late(session, event):
        return session, NO_EFFECTS
    after, effects = _react(capped(session, now), event, now)
    while (found := _settled(after, now)) is not None:
        after, more = found
        effects += more
    return _dated(session, after, now), effects


def next_look(session: Session) -> datetime | None:
    """When ``TimeOver`` is to be told, whatever happens meanwhile."""
    times = [session.looked_at + LOOK_EVERY if session.looked_at else None]
    if session.store_away:
        times.append(session.trouble.retry_at)
    else:
        if session.state is State.PAIRING:
            times += linking.next_look(session)
        elif session.client is None:
            times.append(session.retry_at if session.state in PAUSED else None)
        elif session.online and not session.ending:
            times.append(session.deadline)
        if _counts_bad_decrypt(session) and session.versions_at:
            times.append(session.versions_at + VERSIONS_EVERY)
    return min((time for time in times if time is not None), default=None)


def seconds_to_look(session: Session, now: datetime) -> float | None:
    """Until ``TimeOver`` is to be told; never longer than between two looks, however far a clock has stepped back."""
    look = next_look(session)
    return None if look is None else min((look - now).total_seconds(), LOOK_EVERY.total_seconds())


# ---------------------------------------------------------------------------------------------------- reacting


def _react(session: Session, event: Event, now: datetime) -> Step:
    match event:
        case Started() | Resumed() | Shutdown() | LeaseLost() | TimeOver() | StoreLost() | StoreBack():
            return _worker(session, event, now)
        case CommandGiven() | CommandSettled() | RestoreAllowed() | RequestAnswered() | Released():
            return commands.react(session, event)
        case MessageUndecrypted() | CollectionUnsynced() | VersionsSeen():
            return connection.health(session, event, now)
        case protocol.Decrypted() | protocol.RetriesExhausted():
            return connection.health(session, event, now)
        case HandlerFailed() | HandlerSlow() | HandlerEnded() | HandlerUnfinished():
            return session, Effects((handler_note(event),))
        case protocol.StreamError():
            return session, Effects((connection.stream_error(event),))
        case DeviceFound(device):
            return _device_found(session, device, now)
        case _:
            return _client(session, event, now)


def _worker(session: Session, event: WorkerEvent, now: datetime) -> Step:
    """What the worker around the session tells."""
    match event:
        case Started():
            return _start(session, now)
        case Resumed():
            return _resume(session, now)
        case StoreLost(reason):
            return outage.lost(session, reason, now)
        case StoreBack():
            return outage.back(session, now)
        case LeaseLost(reason):
            return _lease_lost(session, reason)
        case TimeOver():
            return _time_over(session, now)
        case Shutdown(reason, ours):
            return replace(session, stopping=True, stop_reason=reason, ours=ours), NO_EFFECTS


def _client(session: Session, event: Event, now: datetime) -> Step:
    """What becomes of a login, and what it says of itself; nothing of one that is ended on purpose."""
    match event:
        case ClientOpened(client):
            return replace(session, client=client, ending=False, asked=False, last_word=None), NO_EFFECTS
        case protocol.Stopped():
            return _client_gone(session, "it was stopped"), NO_EFFECTS
        case ClientLost():
            return _client_lost(session, event, now)
        case _ if session.ending or not session.online:
            return connection.react_while_ending(session, event, now)
        case _ if session.state is State.PAIRING:
            return linking.react(session, event, now)
        case _:
            return connection.react(session, event, now)


def _start(session: Session, now: datetime) -> Step:
    session = replace(session, looked_at=now, begins=False)
    if (banned := session.banned_until) and banned > now:
        waiting = LogLine("banned", f"banned by WhatsApp until {banned:%Y-%m-%d %H:%M:%S} UTC; waiting for that")
        return session.towards(State.BANNED, session.detail, retry_at=banned), Effects(calls=(waiting,))
    return session.towards(State.CONNECTING), NO_EFFECTS


def _resume(session: Session, now: datetime) -> Step:
    """Every pause must have an end, but for a ban of which none was told. A fault resets no counter."""
    endless = session.state in PAUSED and session.retry_at is None and session.state is not State.BANNED
    session = replace(session, looked_at=now, retry_at=now if endless else session.retry_at, returning=Return.REPAIR)
    if session.client is None:
        session = commands.unanswered(session, "it was begun anew")
    return session.towards(State.CONNECTING) if session.state in (State.IDLE, State.STOPPED) else session, NO_EFFECTS


def _lease_lost(session: Session, reason: str) -> Step:
    drop = (DropClient(session.client),) if session.client is not None else ()
    say = LogLine("lease_lost", f"session given up: {reason}", "error")
    return replace(session, client=None, finished=True), Effects(calls=(*drop, say))


def _time_over(session: Session, now: datetime) -> Step:
    looked = replace(session, looked_at=now)
    if session.store_away:
        return outage.time_over(looked, now)
    effects = NO_EFFECTS
    if session.looked_at is None or now - session.looked_at >= LOOK_EVERY:
        session, effects = connection.decided(looked, model.TimePassed(now), now)
    session, more = _due_by_time(session, now)
    return session, effects + more


def _due_by_time(session: Session, now: datetime) -> Step:
    if session.state is State.PAIRING:
        return linking.time_over(session, now)
    if session.deadline and now >= session.deadline and session.online and not session.ending:
        return connection.ended(session, End.UNREACHABLE, "WhatsApp does not answer", now)
    if session.state in PAUSED and session.retry_at and now >= session.retry_at and session.client is None:
        return session.towards(State.CONNECTING), NO_EFFECTS
    if _counts_bad_decrypt(session) and session.versions_at and now - session.versions_at >= VERSIONS_EVERY:
        return replace(session, versions_at=now), Effects(calls=(LookAtVersions(),))
    return session, NO_EFFECTS


def _device_found(session: Session, device: str | None, now: datetime) -> Step:
    if not session.asked:
        return session, NO_EFFECTS
    session = replace(session, asked=False)
    if session.current is not None and session.current.verb in (Verb.RESTART, Verb.RELINK):
        return commands.device_found(session, device, now)
    if session.client is not None or _held_back(session):
        return session, NO_EFFECTS
    if session.state is State.PAIRING:
        return linking.device_found(session, device, now)
    if session.state is not State.CONNECTING:
        return session, NO_EFFECTS
    return connection.connect(session, device, now) if device else linking.begin(session, now)


def _client_gone(session: Session, reason: str) -> Session:
    unlinking = session.wrong_device is not None
    session = replace(session, client=None, ending=False, deadline=None, asked=session.asked and not unlinking)
    return commands.unanswered(session, reason)


def _client_lost(session: Session, lost: ClientLost, now: datetime) -> Step:
    """The process of the login is gone; what was asked of it will never be answered."""
    on_purpose = session.ending or not session.online or session.store_away
    session = _client_gone(session, lost.reason)
    if on_purpose:
        return session, NO_EFFECTS
    if session.wrong_device is not None:
        return linking.react(session, lost, now)
    if lost.lease_ran_out:
        return connection.ended(session, End.STORE_DOWN, "the lease was not renewed in time", now)
    if lost.set_aside:
        return connection.set_aside(session, lost.reason, now)
    if session.state is State.PAIRING:
        return linking.react(session, lost, now)
    return connection.ended(session, End.CRASHED, lost.reason, now)


def handler_note(event: HandlerEvent) -> Note:
    """What the history says of it."""
    match event:
        case HandlerFailed(error=error):
            message = f"the message handler failed: {error}"
        case HandlerSlow(seconds=seconds, waiting=number):
            waiting = counted(number or 0, "message")
            message = f"the message handler takes more than {seconds or 0:.0f} s; {waiting} waiting"
        case HandlerEnded(id_, error):
            message = f"the message handler's process ended{' with a message in hand' if id_ else ''}: {error}"
        case HandlerUnfinished(number):
            message = f"the message handler had not finished {counted(number or 0, 'message')} at the end"
        case _:
            assert_never(event)
    return Note(event, message, "warn")


# ---------------------------------------------------------------------------------------------------- settling


def _settled(session: Session, now: datetime) -> Step | None:
    """The next thing to be done so that there is what ought to be; None where that is so, or is on its way."""
    if session.finished:
        return None
    if (begun := outage.due(session, now) or commands.owed(session) or commands.beginning(session, now)) is not None:
        return begun
    if session.client is not None:
        if session.ending or _wants_client(session):
            return None
        return replace(session, ending=True), Effects(calls=(CloseClient(session.client),))
    return (
        linking.wrong_number(session, now)
        or _close_due(session, now)
        or commands.due(session, now)
        or _stop_due(session)
        or (None if _held_back(session) else linking.due(session, now) or _connect_due(session))
    )


def _wants_client(session: Session) -> bool:
    if not session.online or _held_back(session) or commands.needs_rest(session):
        return False
    return session.state is not State.PAIRING or linking.wants_client(session)


def _held_back(session: Session) -> bool:
    """Whether there must be no login now, whatever the session is about."""
    return session.stopping or session.store_away or session.health.closing is not None


def _close_due(session: Session, now: datetime) -> Step | None:
    kind = session.health.closing
    if kind is None or session.store_away:
        return None
    count, limit = session.health.errors(kind), session.settings.limits.of(kind)
    session, lost = connection.decided(session, model.Closed(now), now)
    closed = Effects((CloseAtLimit(kind, count, limit),)) + lost
    if not session.online and not session.coming_back:  # it stays down for another reason
        return session, closed
    session, pairing = linking.begin(session, now)
    return session, closed + pairing


def _stop_due(session: Session) -> Step | None:
    if not session.stopping or session.asked:
        return None
    if session.store_away:
        say = LogLine("not_written", "the last status could not be written: the database does not answer", "error")
        return replace(session, finished=True), Effects(calls=(say,))
    session, answers = commands.refused(session, commands.SHUTTING_DOWN)
    session, records = commands.stopped(session)
    return replace(session, finished=True), answers + records


def _connect_due(session: Session) -> Step | None:
    if session.asked or session.current is not None:
        return None
    if session.state in connection.CONNECTED_ANYHOW:
        return session.towards(State.CONNECTING, asked=True), Effects(calls=(FindDevice(),))
    return None


def _is_late(session: Session, event: Event) -> bool:
    """Whether these are words of an earlier login. What they say of keys holds all the same."""
    client = getattr(event, "client", None)
    return client is not None and client != session.client and not isinstance(event, _OF_ANY_LOGIN)


def _counts_bad_decrypt(session: Session) -> bool:
    return session.state is State.CONNECTED and session.health.bad_decrypt > 0


def _dated(before: Session, session: Session, now: datetime) -> Session:
    """When the state began, and since when the session tries to come back."""
    if session.state is not before.state:
        session = replace(session, since=now)
    down = (session.down_since or now) if session.coming_back else None
    return session if down == session.down_since else replace(session, down_since=down)
