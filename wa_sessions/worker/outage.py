"""PURE: the database is away, for the worker or for this session's own writes alone, and comes back.

What everybody meets is the worker's to tell. A session whose own write fails while the database answers the worker
tells why, once for each cause, and comes back with growing pauses: else it would fail again at once, and for ever.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from wa_sessions.health.events import connection as events
from wa_sessions.health.reconnect import State
from wa_sessions.worker import connection
from wa_sessions.worker.connection import LONGEST_STORE_PAUSE, SETTLED_AFTER
from wa_sessions.worker.effects import NO_EFFECTS, Effects, LogLine, Note, Step, SuspectStore
from wa_sessions.worker.session import Event, Session, Started, StoreBack
from wa_sessions.worker.store_trouble import StoreTrouble


def lost(session: Session, reason: str | None, now: datetime) -> Step:
    """Nothing can be written: there is no record of it yet, only the socket closes.

    ``reason``: this session's own error. The first one may be anybody's, so it comes back as soon as the database is
    found to answer; the next within a minute is its own.
    """
    trouble = session.trouble
    if reason is None:
        session = replace(session, trouble=replace(trouble, reason=None, retry_at=None))
        return session if session.store_away else _away(session, now), NO_EFFECTS
    of_late = session.store_away or (trouble.back_at is not None and now - trouble.back_at < SETTLED_AFTER)
    attempts = session.store_attempts + 1 if of_late else 1
    pause = connection.pause(attempts - 2, now, LONGEST_STORE_PAUSE, first=0.5)
    retry_at = now + timedelta(seconds=pause) if attempts > 1 else None
    session = replace(session, store_attempts=attempts, trouble=replace(trouble, reason=reason, retry_at=retry_at))
    return _told(session) if session.store_away else (_away(session, now), NO_EFFECTS)


def comes_back(session: Session) -> bool:
    """Whether a database that answers brings the session back now."""
    return session.store_away and session.trouble.retry_at is None


def back(session: Session, now: datetime) -> Step:
    """The database answers. During a pause that tells only that the trouble is this session's own.

    That it was back may have been written already, and what the login said since is heard even so.
    """
    if session.store_lost_at is None:
        return _heard(session)
    session, effects = _told(session)
    if not comes_back(session):
        return session, effects
    session = replace(session, store_lost_at=None, trouble=replace(session.trouble, back_at=now))
    if session.trouble.reason is None:
        session, written = _written_down(session, now)
        effects += written
    elif session.store_attempts == 1:
        effects += Effects((Note(events.StoreLost(reason=session.trouble.reason)),))
    session, ended = _heard(session)
    given_up = () if session.stopping else (State.IDLE, State.STOPPED)  # by another worker, which had it meanwhile
    if ended == NO_EFFECTS and session.state is State.PAIRING:
        session = replace(session, round_at=now)
    elif ended == NO_EFFECTS and session.state in (*connection.CONNECTED_ANYHOW, State.WAITING_FOR_STORE, *given_up):
        session = session.towards(State.CONNECTING)
    return session, effects + ended


def _heard(session: Session) -> Step:
    """What ended the login for good meanwhile."""
    word, session = session.last_word, replace(session, last_word=None)
    if word is None or not (session.online or session.coming_back):
        return session, NO_EFFECTS
    return connection.end_of(session, *word)


def was_written(session: Session, event: Event, now: datetime) -> Session:
    """What ``event`` wrote stands in the database, though that seemed to fail; it is not taken again."""
    match event:
        case Started():
            return replace(session, begins=False)
        case StoreBack():
            return _was_back(session, now)
        case _:
            return session


def _was_back(session: Session, now: datetime) -> Session:
    trouble = replace(session.trouble, back_at=now)
    if trouble.reason is None:
        trouble = StoreTrouble(back_at=now)
    return replace(session, store_lost_at=None, trouble=trouble)


def due(session: Session, now: datetime) -> Step | None:
    """Write down what this session met alone, once it is over: a login, the end of the worker, or a quiet minute."""
    trouble = session.trouble
    if trouble.since is None or trouble.back_at is None or session.store_away:
        return None
    over = session.state is State.CONNECTED or session.stopping or now - trouble.back_at >= SETTLED_AFTER
    return _written_down(session, trouble.back_at) if over else None


def time_over(session: Session, now: datetime) -> Step:
    """A pause has ended: the database is looked at, and if it answers the session comes back."""
    if session.trouble.retry_at is None or now < session.trouble.retry_at:
        return session, NO_EFFECTS
    return replace(session, trouble=replace(session.trouble, retry_at=None)), Effects(calls=(SuspectStore(),))


def _away(session: Session, now: datetime) -> Session:
    trouble = replace(session.trouble, since=session.trouble.since or now)
    return replace(session.stumbled(), store_lost_at=now, asked=False, trouble=trouble)


def _written_down(session: Session, back_at: datetime) -> Step:
    trouble = session.trouble
    down = round((back_at - (trouble.since or back_at)).total_seconds(), 1)
    message = "the database takes again what the session writes" if trouble.told else None
    notes = Effects((Note(events.StoreLost(down, trouble.reason)), Note(events.StoreBack(), message)))
    return replace(session, trouble=StoreTrouble(back_at=trouble.back_at)), notes


def _told(session: Session) -> Step:
    """Say why it is this session alone that cannot write, unless the log has it."""
    reason = session.trouble.reason
    if reason is None or reason == session.trouble.told:
        return session, NO_EFFECTS
    say = LogLine("store_lost", f"{reason}: socket closed, WhatsApp keeps the messages; it is tried again", "error")
    return replace(session, trouble=replace(session.trouble, told=reason)), Effects(calls=(say,))
