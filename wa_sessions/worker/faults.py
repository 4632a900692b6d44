"""PURE: what is left of a session's state when an event met a fault of ours."""

from wa_sessions.worker.hosts.protocol import Stopped
from wa_sessions.worker.ports import ClientLost
from wa_sessions.worker.session import Command, CommandGiven, Event, Session, Shutdown


def after_fault(session: Session, event: Event) -> Session:
    """What the worker knows still when ``event`` met a fault; the rest is to be loaded.

    A client that is open is to be closed. The command in hand is lost, and ``event`` too, but for what it tells of the
    world: that a client has ended, or that the worker does.
    """
    gone = isinstance(event, Stopped | ClientLost) and event.client == session.client
    client = None if gone else session.client
    return Session(
        session.number,
        session.settings,
        client=client,
        ending=client is not None,
        drops=session.drops,
        wrong_device=session.wrong_device,
        unlinked=session.unlinked or False if session.wrong_device else None,
        last_word=session.last_word,
        requests=session.requests,
        results=session.results,
        waiting=session.waiting,
        stopping=session.stopping or isinstance(event, Shutdown),
        stop_reason=event.reason if isinstance(event, Shutdown) else session.stop_reason,
        ours=event.ours if isinstance(event, Shutdown) else session.ours,
    )


def lost_by_fault(session: Session, event: Event) -> tuple[Command, ...]:
    """The commands that nobody will carry out, as ``event`` met a fault: they are to be answered with it."""
    in_hand = (session.current,) if session.current else ()
    given = (event.command,) if isinstance(event, CommandGiven) and event.command not in session.unanswered else ()
    return (*in_hand, *given)
