"""PURE: what an operator should do about a session, if anything."""

from wa_sessions.actions.stats import SessionErrorStats
from wa_sessions.health.limits import Severity
from wa_sessions.health.reconnect import State, Status

_UNKNOWN = {
    "waba": "the official API runs it: there are no keys that could break",
    "baileys": "the Node backend runs it and nobody reads its logs here: wa-sessions logs --pm2 NAME --record",
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
    State.OUTDATED: "WhatsApp refuses this version: upgrade neonize, then start the worker again",
    State.LOGIN_REFUSED: "look into the account on the phone, then wa-sessions restart {phone}",
    State.FORCE_CLOSED: "it was closed on purpose; to connect: wa-sessions restart {phone}",
    State.WAITING_FOR_STORE: "the worker cannot reach its database; it comes back by itself once that answers",
    State.STOPPED: "its worker is ending; start another: wa-sessions run {phone}",
}
_NEEDS_OPERATOR = _BY_STATE.keys() - {State.WAITING_FOR_STORE, State.STOPPED}
_COMING_BACK = {State.RECONNECTING, State.NO_ANSWER, State.UNREACHABLE, State.CRASHED}


def next_step(stats: SessionErrorStats) -> str | None:
    """One line for a person; None where all is well."""
    if not stats.observed:
        return _unwatched(stats)
    if stats.connection_type == "baileys" and stats.status == Status.LOGGED_OUT:
        return _NODE_LOGGED_OUT
    if stats.state == State.BANNED:
        return _banned(stats)
    if stats.state == State.FORCE_CLOSED and stats.status == "logged_out":
        return (
            "its keys are in quarantine: wa-sessions restore OPERATION brings them back without a QR, "
            f"wa-sessions relink {stats.phone} shows a QR"
        )
    if stats.state in _BY_STATE:
        return _BY_STATE[State(stats.state)].format(phone=stats.phone)
    if stats.state in _COMING_BACK:
        return "wait: it connects again by itself; if that goes on, look at the network and the worker's log"
    if stats.severity == Severity.CRITICAL:
        return "one more such error closes it and asks for a new QR: keep the phone at hand"
    if stats.severity == Severity.WARNING:
        return "wait: the damage mends itself, and the counter resets when something decrypts again"
    return None


def needs_operator(stats: SessionErrorStats) -> bool:
    """Whether nothing gets better until somebody acts, or soon gets much worse."""
    if not stats.observed:
        return False
    node_down = stats.connection_type == "baileys" and stats.status == Status.LOGGED_OUT
    down = node_down or stats.state in _NEEDS_OPERATOR or (stats.state == State.BANNED and stats.retry_at is None)
    return down or stats.severity == Severity.CRITICAL


def _unwatched(stats: SessionErrorStats) -> str:
    if stats.unknown_because == "baileys" and stats.status == Status.LOGGED_OUT:
        return _NODE_LOGGED_OUT
    if stats.unknown_because == "no_worker" and stats.state == State.LOGGED_OUT:
        return f"link it again by QR: wa-sessions run {stats.phone}"
    if stats.unknown_because == "no_worker" and stats.state == State.FAULTED:
        return f"wa-sessions failed with it ({stats.state_detail}); to try again: wa-sessions run {stats.phone}"
    return _UNKNOWN[stats.unknown_because or "no_worker"].format(phone=stats.phone)


def _banned(stats: SessionErrorStats) -> str:
    if stats.retry_at is not None:
        return "WhatsApp has banned it for a time; it connects again by itself when that is over"
    return "WhatsApp has banned it and told no end: look at the account on the phone"
