"""Alerts: which events of a phone's history become one, and when all is clear again."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import assert_never

from wa_sessions.health.events.connection import (
    Banned,
    Crashed,
    LoggedOut,
    LoginRefused,
    Outdated,
    PairingExpired,
    Replaced,
    SetAside,
    Unreachable,
)
from wa_sessions.health.events.detail import EventDetail
from wa_sessions.health.events.keys import ErrorCounted, SessionClosed
from wa_sessions.health.events.workers import Faulted, HandlerDead, HandlerEnded, HandlerFailed, HandlerUnfinished
from wa_sessions.health.limits import ErrorKind, Severity
from wa_sessions.health.reconnect import State

DOWN_AFTER = timedelta(minutes=5)
"""A session that cannot be brought back for so long is worth an alert; WhatsApp's own hiccups are shorter."""


class AlertKind(StrEnum):
    """What a receiver is told it is about."""

    HEALTH_CRITICAL = "health_critical"
    SESSION_CLOSED = "session_closed"
    SESSION_DOWN = "session_down"
    PAIRING_EXPIRED = "pairing_expired"
    REPLACED = "replaced"
    LOGGED_OUT = "logged_out"
    OUTDATED = "outdated"
    LOGIN_REFUSED = "login_refused"
    BANNED = "banned"
    FAULTED = "faulted"
    HANDLER = "handler"
    HANDLER_DEAD = "handler_dead"
    ALL_CLEAR = "all_clear"
    TEST = "test"


class AlertCase(StrEnum):
    """What has happened; ``wa_sessions.wording`` says it, with what the event tells."""

    NEXT_ERROR_CLOSES = "next_error_closes"
    LIMIT_REACHED = "limit_reached"
    CLOSED = "closed"
    PAIRING_EXPIRED = "pairing_expired"
    STILL_DOWN = "still_down"
    SET_ASIDE = "set_aside"
    STAYS_DOWN = "stays_down"
    HANDLER_ENDED = "handler_ended"
    HANDLER_TIMEOUT = "handler_timeout"
    HANDLER_UNFINISHED = "handler_unfinished"
    HANDLER_DEAD = "handler_dead"
    NODE_LOGGED_OUT = "node_logged_out"
    ALL_CLEAR = "all_clear"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Alert:
    """What an operator is told. ``phone`` is how it is typed in a command, ``operation`` what can be undone."""

    kind: AlertKind
    severity: Severity
    case: AlertCase
    about: EventDetail | None = None
    phone: str = ""
    operation: str | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it is news even if the phone's last alert was the same."""
        return self.kind in (AlertKind.SESSION_CLOSED, AlertKind.HANDLER_DEAD)

    @property
    def counter(self) -> ErrorCounted | SessionClosed | None:
        """What it says of a counter."""
        return self.about if isinstance(self.about, ErrorCounted | SessionClosed) else None

    @property
    def error_type(self) -> ErrorKind | None:
        """Whose counter that is."""
        return self.counter.error_kind if self.counter else None


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a target is written to, in seconds.

    ``gather``: an alert waits so long for others to go with it; ``interval``: between two messages to one target;
    after a failure the pause grows from ``first_retry`` to ``longest_retry``.
    """

    gather: float = 2.0
    interval: float = 30.0
    first_retry: float = 1.0
    longest_retry: float = 300.0


def after_event(detail: EventDetail, phone: str, operation: str | None = None) -> Alert | None:
    """The alert that an event is worth, if it is worth one."""
    match detail:
        case ErrorCounted(count=int(count), limit=int(limit)) if count == limit - 1:
            return _critical(AlertKind.HEALTH_CRITICAL, AlertCase.NEXT_ERROR_CLOSES, detail, phone)
        case SessionClosed():
            return _critical(AlertKind.SESSION_CLOSED, AlertCase.CLOSED, detail, phone, operation)
        case PairingExpired():
            return _critical(AlertKind.PAIRING_EXPIRED, AlertCase.PAIRING_EXPIRED, detail, phone)
        case Unreachable(down_seconds=down) | Crashed(down_seconds=down) if (down or 0) >= DOWN_AFTER.total_seconds():
            return _critical(AlertKind.SESSION_DOWN, AlertCase.STILL_DOWN, detail, phone)
        case SetAside():
            return _critical(AlertKind.SESSION_DOWN, AlertCase.SET_ASIDE, detail, phone)
        case Replaced() | LoggedOut() | Outdated() | LoginRefused() | Banned() | Faulted():
            return _critical(AlertKind(detail.kind), AlertCase.STAYS_DOWN, detail, phone)
        case HandlerFailed() | HandlerEnded() | HandlerUnfinished() | HandlerDead():
            return _of_handler(detail, phone)
        case _:
            return None


def _of_handler(detail: HandlerFailed | HandlerEnded | HandlerUnfinished | HandlerDead, phone: str) -> Alert | None:
    match detail:
        case HandlerUnfinished():
            return _critical(AlertKind.HANDLER, AlertCase.HANDLER_UNFINISHED, detail, phone)
        case HandlerEnded():
            return Alert(AlertKind.HANDLER, Severity.WARNING, AlertCase.HANDLER_ENDED, detail, phone)
        case HandlerDead():
            return Alert(AlertKind.HANDLER_DEAD, Severity.WARNING, AlertCase.HANDLER_DEAD, detail, phone)
        case HandlerFailed(error=error):
            too_long = Alert(AlertKind.HANDLER, Severity.WARNING, AlertCase.HANDLER_TIMEOUT, detail, phone)
            return too_long if error == "timeout" else None
        case _:
            assert_never(detail)


def standing_at(error: ErrorKind, count: int, limit: int) -> Alert | None:
    """The alert that a counter is worth as it stands."""
    if not count or count < limit - 1:
        return None
    case = AlertCase.NEXT_ERROR_CLOSES if count == limit - 1 else AlertCase.LIMIT_REACHED
    return _critical(AlertKind.HEALTH_CRITICAL, case, ErrorCounted(error, count, limit))


def node_logged_out() -> Alert:
    """The Node backend's phone has lost its session."""
    return _critical(AlertKind.LOGGED_OUT, AlertCase.NODE_LOGGED_OUT)


def is_clear(state: State, bad_mac: int, bad_decrypt: int) -> bool:
    """Whether nothing is left to alert of."""
    return state is State.CONNECTED and not bad_mac and not bad_decrypt


def all_clear() -> Alert:
    """The end of a phone's troubles."""
    return Alert(AlertKind.ALL_CLEAR, Severity.OK, AlertCase.ALL_CLEAR)


def trial() -> Alert:
    """What ``alerts test`` sends."""
    return Alert(AlertKind.TEST, Severity.OK, AlertCase.TEST)


def _critical(
    kind: AlertKind, case: AlertCase, about: EventDetail | None = None, phone: str = "", operation: str | None = None
) -> Alert:
    return Alert(kind, Severity.CRITICAL, case, about, phone, operation)
