"""PURE: what an operator asks of a session, from the asking to the one answer."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from types import UnionType

from wa_sessions.errors import UsageError, WaSessionsError
from wa_sessions.health.events.workers import Stopped
from wa_sessions.health.reconnect import State, Status
from wa_sessions.worker import connection, linking
from wa_sessions.worker.effects import (
    NO_EFFECTS,
    AnswerCommand,
    CheckRestore,
    CleanKeys,
    Effects,
    FindDevice,
    ForceClose,
    Note,
    Record,
    ReleaseLease,
    RestoreKeys,
    SendText,
    SetStatus,
    Step,
)
from wa_sessions.worker.ports import RequestAnswered
from wa_sessions.worker.session import (
    Command,
    CommandGiven,
    CommandSettled,
    Event,
    Released,
    RestoreAllowed,
    Return,
    Session,
    Verb,
)

SHUTTING_DOWN = "the worker ends: try again when one runs the phone"
STOPPED = Note(Stopped(), "session stopped")

_ARGUMENTS: Mapping[str, Mapping[str, type | UnionType]] = {
    Verb.FORCE_CLOSE: {"reason": str, "logout": bool, "operation": str | None},
    Verb.CLEAN: {"action": str, "reason": str, "operation": str | None, "selection": dict},
    Verb.RESTORE: {"operation": str, "overwrite": str | None},
    Verb.SEND: {"to": str, "text": str},
}
"""What a verb needs to know. Whoever may write into the table of commands may write anything into it."""


def react(session: Session, event: Event) -> Step:
    """What was asked, and what came of it."""
    match event:
        case CommandGiven(command) if command.verb == Verb.SEND:
            return _send(session, command)
        case CommandGiven(command):
            return replace(session, waiting=(*session.waiting, command)), NO_EFFECTS
        case RequestAnswered(request=linking.UNLINK_REQUEST, error=error) if session.wrong_device:
            return replace(session, asked=False, unlinked=session.unlinked or error is None), NO_EFFECTS
        case RequestAnswered():
            return _sent(session, event), NO_EFFECTS
        case RestoreAllowed(command_id) if session.current and session.current.id == command_id:
            return replace(session, asked=False, checked=True), NO_EFFECTS
        case CommandSettled(command_id, done) if session.current and session.current.id == command_id:
            return _settled(session, done=done), NO_EFFECTS
        case Released():
            return replace(session, current=None, finished=True), NO_EFFECTS
        case _:
            return session, NO_EFFECTS


def needs_rest(session: Session) -> bool:
    """Whether the command in hand is carried out without a WebSocket."""
    if session.current is None:
        return False
    match session.current.verb:
        case Verb.FORCE_CLOSE | Verb.CLEAN | Verb.RESTART | Verb.RELEASE:
            return True
        case _:
            return session.checked


def beginning(session: Session, now: datetime) -> Step | None:
    """Take the next command, and see whether something stands in its way, before any WebSocket is closed for it."""
    if session.store_away or session.begins:
        return None
    if session.current is None:
        return _take(session, session.waiting[0], now) if session.waiting else None
    if session.checked or session.asked:
        return None
    match session.current.verb:
        case Verb.RELINK:
            return replace(session, asked=True), Effects(calls=(FindDevice(),))
        case Verb.RESTORE:
            return replace(session, asked=True), Effects((CheckRestore(session.current),))
        case _:
            return None


def due(session: Session, now: datetime) -> Step | None:
    """Carry out the command in hand, as no client is open by now."""
    command = session.current
    if command is None or session.asked or session.store_away:
        return None
    match command.verb:
        case Verb.RESTART | Verb.RELINK if refusal := _refusal(session, command, now):
            return _done(session), Effects((AnswerCommand(command.id, refusal),))
        case Verb.FORCE_CLOSE:
            return _force_close(session, command)
        case Verb.CLEAN:
            return _clean(session, command)
        case Verb.RESTART:
            return replace(session, asked=True), Effects(calls=(FindDevice(),))
        case Verb.RELINK if session.checked:
            session, pairing = linking.begin(_done(session), now)
            return session, Effects((AnswerCommand(command.id, {"pairing": True}),)) + pairing
        case Verb.RESTORE if session.checked:
            return replace(session, asked=True), Effects((RestoreKeys(command),))
        case Verb.RELEASE:
            return _release(session, command)
        case _:
            return None


def device_found(session: Session, device: str | None, now: datetime) -> Step:
    """Which keys there are decides a restart and a relink."""
    command = session.current
    assert command
    if command.verb == Verb.RESTART:
        session = replace(_done(session), returning=Return.LOGIN, attempts=0)
        session, effects = connection.connect(session, device, now) if device else linking.begin(session, now)
        return session, Effects((AnswerCommand(command.id, {"pairing": device is None}),)) + effects
    if device is None:
        return replace(session, checked=True), NO_EFFECTS
    number = session.number
    refusal = UsageError(
        f"{number} has its keys still: `wa-sessions restart {number}` connects with them, "
        f"`wa-sessions force-close {number} --logout` puts them into quarantine first"
    )
    return _done(session), Effects((AnswerCommand(command.id, refusal),))


def unanswered(session: Session, reason: str) -> Session:
    """What was asked of WhatsApp through a client that is gone will never be answered."""
    error = WaSessionsError(f"the session ended before it answered: {reason}")
    return replace(session, results={**dict.fromkeys(session.requests, error), **session.results})


def owed(session: Session) -> Step | None:
    """Pass on what WhatsApp has answered, once that can be written."""
    if session.store_away or not session.results:
        return None
    answers = tuple(AnswerCommand(id_, result) for id_, result in session.results.items() if id_ in session.requests)
    rest = {id_: command for id_, command in session.requests.items() if id_ not in session.results}
    return replace(session, requests=rest, results={}), Effects(answers)


def answered_meanwhile(session: Session, answered: Collection[int]) -> Session:
    """The session without the commands of which the database has answers."""
    current = session.current
    if current is not None and current.id in answered:
        session = _settled(session, done=current.verb == Verb.RESTORE and session.checked)
    return replace(
        session,
        waiting=tuple(command for command in session.waiting if command.id not in answered),
        requests={id_: command for id_, command in session.requests.items() if id_ not in answered},
    )


def refused(session: Session, why: str) -> Step:
    """Everything that was asked and has no answer yet."""
    answers = tuple(AnswerCommand(command.id, WaSessionsError(why)) for command in session.unanswered)
    return replace(session, current=None, waiting=(), requests={}), Effects(answers)


def stopped(session: Session) -> Step:
    """The session ends with its worker, or to be another's."""
    why = session.stop_reason
    note = Note(Stopped(why), f"session let go: {why}") if why else STOPPED
    records: tuple[Record, ...] = (note,)
    if session.online or session.coming_back:
        session = session.towards(State.STOPPED)
        records = (SetStatus(Status.DISCONNECTED, qr_code=None), note) if session.ours else (note,)
    return session, Effects(records)


def _take(session: Session, command: Command, now: datetime) -> Step:
    session = replace(session, waiting=session.waiting[1:])
    if refusal := _refusal(session, command, now):
        return session, Effects((AnswerCommand(command.id, refusal),))
    resume = session.online and session.state is not State.PAIRING
    return replace(session, current=command, checked=False, resume=resume), NO_EFFECTS


def _refusal(session: Session, command: Command, now: datetime) -> WaSessionsError | None:
    if session.stopping:
        return WaSessionsError(SHUTTING_DOWN)
    if (malformed := _malformed(command)) is not None:
        return malformed
    banned = session.banned_until
    if command.verb == Verb.RESTART and banned and banned > now:
        return WaSessionsError(
            f"{session.number} is banned by WhatsApp until {banned:%Y-%m-%d %H:%M:%S} UTC: a login before that could "
            "prolong it; " + _after_the_ban(session)
        )
    return None


def _after_the_ban(session: Session) -> str:
    if session.state is State.BANNED:
        return "the worker connects by itself then"
    return f"wa-sessions restart {session.number} again then"


def _malformed(command: Command) -> UsageError | None:
    older = "it may be older than your wa-sessions"
    if command.verb not in set(Verb):
        return UsageError(f"this worker does not know {command.verb!r}; {older}")
    given = command.arguments
    known = _ARGUMENTS.get(command.verb, {})
    if isinstance(given, Mapping) and all(isinstance(given.get(name), kind) for name, kind in known.items()):
        return None
    return UsageError(f"this worker does not understand what {command.verb!r} was asked with; {older}")


def _done(session: Session) -> Session:
    return replace(session, current=None, checked=False, asked=False)


def _settled(session: Session, *, done: bool) -> Session:
    """A restore was answered. Keys that came back are connected with; a session that was disturbed for nothing too."""
    disturbed, resume = session.checked, session.resume
    session = _done(session)
    if session.banned_until:
        return session.towards(State.BANNED, session.detail, retry_at=session.banned_until)
    if done or (disturbed and resume and session.online):
        return session.towards(State.CONNECTING, returning=Return.REPAIR)
    return session


def _force_close(session: Session, command: Command) -> Step:
    health = replace(session.health, bad_mac=0, bad_decrypt=0, counted_senders=frozenset(), closing=None)
    closed = {"retry_at": session.banned_until}  # a ban goes on, whoever closes what
    session = _done(replace(session, health=health)).towards(State.FORCE_CLOSED, command.arguments["reason"], **closed)
    return session, Effects((ForceClose(command),))


def _clean(session: Session, command: Command) -> Step:
    """A session that was connected goes on without the keys, and as after any repair its counters stay."""
    resume = session.resume and session.online
    session = _done(session)
    if resume:
        session = session.towards(State.CONNECTING, returning=Return.REPAIR)
    return session, Effects((CleanKeys(command),))


def _release(session: Session, command: Command) -> Step:
    if session.checked:
        return replace(session, asked=True), Effects(calls=(ReleaseLease(command),))
    session, effects = stopped(session)
    return replace(session, checked=True), effects


def _send(session: Session, command: Command) -> Step:
    sending = replace(session, requests={**session.requests, command.id: command})
    if (malformed := _malformed(command)) is not None:
        return replace(sending, results={**session.results, command.id: malformed}), NO_EFFECTS
    if session.state is not State.CONNECTED or session.client is None or session.ending:
        what = f"{session.number} is not connected ({session.state.value}); see `wa-sessions stats {session.number}`"
        return replace(sending, results={**session.results, command.id: WaSessionsError(what)}), NO_EFFECTS
    call = SendText(session.client, command.id, command.arguments["to"], command.arguments["text"])
    return sending, Effects(calls=(call,))


def _sent(session: Session, event: RequestAnswered) -> Session:
    result = {"message_id": event.result} if event.error is None else WaSessionsError(event.error)
    return replace(session, results={**session.results, event.request: result})
