"""PURE: what an operator should do about a session, if anything."""

from datetime import timedelta

from wa_sessions.actions.stats import SessionErrorStats
from wa_sessions.health.checking import WAITS_LONG
from wa_sessions.health.limits import Severity
from wa_sessions.health.reconnect import State, Status
from wa_sessions.health.sentences import counted

_UNKNOWN = {
    "waba": "the official API runs it: there are no keys that could break",
    "baileys": "the Node backend runs it and nobody reads its logs here: wa-sessions logs --pm2 NAME --record",
    "logs": "its logs are read and do not tell how it is: wa-sessions logs --pm2 NAME",
    "no_worker": "no worker runs it: wa-sessions run {phone}",
    "no_sign_of_life": "its session hangs in its worker: see the worker's log, then stop it and start it again",
    "no_schema": "no errors are recorded in this database yet: wa-sessions db upgrade",
    "no_permission": "this database role may not read the schema wa_sessions: GRANT it USAGE and SELECT",
}
_NODE_LOGGED_OUT = "start the Node backend again and scan its QR"
_BY_STATE = {
    State.REPLACED: "another program uses these keys: stop it, then wa-sessions restart {phone}",
    State.LOGGED_OUT: "link it again by QR: wa-sessions relink {phone}",
    State.PAIRING: "scan the QR on the phone: WhatsApp, Linked devices, Link a device",
    State.PAIRING_EXPIRED: "nobody scanned the QR; show a new one: wa-sessions relink {phone}",
    State.OUTDATED: "WhatsApp refuses this version: upgrade neonize, then stop the worker and start it again",
    State.LOGIN_REFUSED: "look into the account on the phone, then wa-sessions restart {phone}",
    State.FORCE_CLOSED: "it was closed on purpose; to connect: wa-sessions restart {phone}",
    State.WAITING_FOR_STORE: "the worker cannot reach its database; it comes back by itself once that answers",
    State.STOPPED: "its worker is ending; start another: wa-sessions run {phone}",
}
_NEEDS_OPERATOR = _BY_STATE.keys() - {State.WAITING_FOR_STORE, State.STOPPED}
_COMING_BACK = {State.RECONNECTING, State.NO_ANSWER, State.UNREACHABLE, State.CRASHED}
_AT_ONCE = timedelta(minutes=5)
"""What crashed is tried again within this time; later, if its process ended again and again."""


def next_step(stats: SessionErrorStats) -> str | None:
    """One line for a person; None where all is well. A message waits for what its session needs, too."""
    session = session_step(stats)
    if stats.inbox_dead:
        are = "is" if stats.inbox_dead == 1 else "are"
        dead = f"{counted(stats.inbox_dead, 'message')} {are} set aside: wa-sessions inbox {stats.phone} --dead"
        return f"{session}; {dead}" if session else dead
    if session is None and (waited := _waited_long(stats)):
        minutes = waited // timedelta(minutes=1)
        return f"a message has waited {minutes} min for its handler: wa-sessions inbox {stats.phone}"
    return session


def session_step(stats: SessionErrorStats) -> str | None:
    """The same of its session alone, whatever waits for a handler."""
    if not stats.observed:
        return _unwatched(stats)
    if stats.connection_type == "baileys" and stats.status == Status.LOGGED_OUT:
        return _NODE_LOGGED_OUT
    if stats.state == State.BANNED:
        return _banned(stats)
    if stats.state == State.FORCE_CLOSED and stats.status == Status.LOGGED_OUT:
        return _in_quarantine(stats, "relink")
    if stats.state in _BY_STATE:
        return _BY_STATE[State(stats.state)].format(phone=stats.phone)
    if stats.state in _COMING_BACK:
        return _coming_back(stats)
    if stats.severity == Severity.CRITICAL:
        return "one more such error closes it and asks for a new QR: keep the phone at hand"
    if stats.severity == Severity.WARNING:
        return "wait: the damage mends itself, and the counter resets when something decrypts again"
    return None


def needs_operator(stats: SessionErrorStats) -> bool:
    """Whether nothing gets better until somebody acts, or soon gets much worse; or messages are set aside or stuck."""
    if stats.inbox_dead or _waited_long(stats):
        return True
    if not stats.observed:
        return _is_faulted(stats) or stats.unknown_because == "no_sign_of_life"
    node_down = stats.connection_type == "baileys" and stats.status == Status.LOGGED_OUT
    down = node_down or stats.state in _NEEDS_OPERATOR or (stats.state == State.BANNED and stats.retry_at is None)
    return down or _is_set_aside(stats) or stats.severity == Severity.CRITICAL


def _waited_long(stats: SessionErrorStats) -> timedelta | None:
    waited = timedelta(seconds=stats.inbox_oldest_seconds or 0)
    return waited if waited >= WAITS_LONG else None


def _unwatched(stats: SessionErrorStats) -> str:
    if stats.unknown_because == "baileys" and stats.status == Status.LOGGED_OUT:
        return _NODE_LOGGED_OUT
    if stats.unknown_because == "no_worker" and stats.state == State.LOGGED_OUT:
        return f"link it again by QR: wa-sessions run {stats.phone}"
    if stats.unknown_because == "no_worker" and stats.state == State.FORCE_CLOSED and stats.status == Status.LOGGED_OUT:
        return _in_quarantine(stats, "run")
    if _is_faulted(stats):
        return (
            "wa-sessions itself failed with it five times: report the worker's log to its developers; "
            f"to try again: wa-sessions run {stats.phone}"
        )
    return _UNKNOWN[stats.unknown_because or "no_worker"].format(phone=stats.phone)


def _coming_back(stats: SessionErrorStats) -> str:
    if _is_set_aside(stats):
        return (
            "its process ends again and again: look in the worker's log for why; "
            f"to try before its next attempt: wa-sessions restart {stats.phone}"
        )
    if stats.state == State.CRASHED:
        return "wait: it connects again by itself in a new process; if that goes on, the worker's log says why"
    return "wait: it connects again by itself; if that goes on, look at the network and the worker's log"


def _in_quarantine(stats: SessionErrorStats, pairing: str) -> str:
    return (
        "its keys are in quarantine; back without a QR: restore the operation that "
        f"wa-sessions operations {stats.phone} names; with a new QR: wa-sessions {pairing} {stats.phone}"
    )


def _is_faulted(stats: SessionErrorStats) -> bool:
    return stats.unknown_because == "no_worker" and stats.state == State.FAULTED


def _is_set_aside(stats: SessionErrorStats) -> bool:
    """Its process crashed again and again, so that its worker leaves it alone for long."""
    if stats.state != State.CRASHED or stats.retry_at is None or stats.state_since is None:
        return False
    return stats.retry_at - stats.state_since > _AT_ONCE


def _banned(stats: SessionErrorStats) -> str:
    if stats.retry_at is not None:
        return "WhatsApp has banned it for a time; it connects again by itself when that is over"
    return "WhatsApp has banned it and told no end: look at the account on the phone"
