"""Alerts: which entries of a phone's history become one, when all is clear again, and what a message says.

What a receiver gets has the seed's names (``phoneId``, ``errorType``, …).
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from wa_sessions.health.limits import ErrorKind, Severity
from wa_sessions.health.reconnect import State
from wa_sessions.wording.numbers import counted

ALL_CLEAR = "all_clear"
CRITICAL = "health_critical"
DOWN = "session_down"
CLOSED = "session_closed"
HANDLER = "handler"
DEAD = "handler_dead"
TEST = "test"
DOWN_AFTER = timedelta(minutes=5)
"""A session that cannot be brought back for so long is worth an alert; WhatsApp's own hiccups are shorter."""

MOST_LINES = 20
LONGEST_TEXT = 3500  # characters; Telegram takes 4096
_STAYS_DOWN = {State.REPLACED, State.LOGGED_OUT, State.OUTDATED, State.LOGIN_REFUSED, State.BANNED, State.FAULTED}

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Alert:
    """What an operator is told. ``count`` and ``limit`` are of ``error_type``."""

    kind: str
    severity: Severity
    text: str
    error_type: ErrorKind | None = None
    count: int | None = None
    limit: int | None = None
    operation: str | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it is news even if the phone's last alert was the same."""
        return self.kind in (CLOSED, DEAD)


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


def after_event(kind: str, detail: Payload, number: str, operation: str | None = None) -> Alert | None:
    """The alert that an entry of the history is worth, if it is worth one."""
    match kind:
        case "error_counted" if detail["count"] == detail["limit"] - 1:
            return standing_at(ErrorKind(detail["error_kind"]), detail["count"], detail["limit"])
        case "session_closed":
            return _closed(detail, operation)
        case "pairing_expired":
            text = f"no QR was scanned: wa-sessions relink {number} shows new ones"
            return Alert(kind, Severity.CRITICAL, text)
        case "unreachable" | "crashed" if detail.get("down_seconds", 0) >= DOWN_AFTER.total_seconds():
            minutes = int(detail["down_seconds"] // 60)
            return Alert(DOWN, Severity.CRITICAL, f"down for {minutes} min, still trying: {detail['reason']}")
        case _ if kind.startswith("handler_"):
            return _of_handler(kind, detail, number)
        case "set_aside":
            again = f"{detail['reason']}, again and again"
            return Alert(
                DOWN, Severity.CRITICAL, f"{again}; it waits half an hour, or for wa-sessions restart {number}"
            )
        case _ if kind in _STAYS_DOWN:
            return Alert(kind, Severity.CRITICAL, f"{detail['reason']}; look with wa-sessions stats {number}")
        case _:
            return None


def _of_handler(kind: str, detail: Payload, number: str) -> Alert | None:
    match kind:
        case "handler_ended":
            return Alert(HANDLER, Severity.WARNING, f"the message handler's process ended: {detail.get('error')}")
        case "handler_failed" if detail.get("error") == "timeout":
            return Alert(HANDLER, Severity.WARNING, "the message handler took too long for a message and was killed")
        case "handler_unfinished":
            waiting = counted(detail.get("waiting") or 0, "message")
            text = f"the worker ended with {waiting} that the message handler had not finished"
            return Alert(HANDLER, Severity.CRITICAL, text)
        case "handler_dead":
            attempts = counted(detail["attempts"], "attempt")
            text = f"a message is set aside after {attempts} of its handler: {detail['error']}"
            return Alert(DEAD, Severity.WARNING, f"{text}; wa-sessions inbox {number} --dead")
        case _:
            return None


def standing_at(error: ErrorKind, count: int, limit: int) -> Alert | None:
    """The alert that a counter is worth as it stands."""
    if not count or count < limit - 1:
        return None
    warning = ": the next one closes the session" if count == limit - 1 else ""
    text = f"{error.label} error {count} of {limit}{warning}"
    return Alert(CRITICAL, Severity.CRITICAL, text, error, count, limit)


def node_logged_out() -> Alert:
    """The Node backend's phone has lost its session."""
    return Alert("logged_out", Severity.CRITICAL, "logged out: start the Node backend again and scan its QR")


def is_clear(state: State, bad_mac: int, bad_decrypt: int) -> bool:
    """Whether nothing is left to alert of."""
    return state is State.CONNECTED and not bad_mac and not bad_decrypt


def all_clear() -> Alert:
    """The end of a phone's troubles."""
    return Alert(ALL_CLEAR, Severity.OK, "connected and healthy again")


def trial() -> Alert:
    """What ``alerts test`` sends."""
    return Alert(TEST, Severity.OK, "a test: alerts of wa-sessions arrive here")


def payload(
    alert: Alert,
    at: datetime,
    *,
    phone_id: int | None = None,
    number: str | None = None,
    organization_id: int | None = None,
    display_name: str | None = None,
) -> dict[str, Any]:
    """An alert as its receiver gets it, but for its ``id``."""
    return {
        "type": alert.kind,
        "phoneId": phone_id,
        "phone": number,
        "organizationId": organization_id,
        "displayName": _plain(display_name) if display_name else None,
        "errorType": alert.error_type.value if alert.error_type else None,
        "currentCount": alert.count,
        "maxAllowed": alert.limit,
        "severity": alert.severity.value,
        "timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "operation": alert.operation,
        "text": _plain(alert.text),
    }


# ------------------------------------------------------------------------------------------------ messages


def body(alerts: Sequence[Payload]) -> dict[str, Any]:
    """A webhook's JSON: the alert itself, or several as a ``group``, in order."""
    if len(alerts) == 1:
        return dict(alerts[0])
    return {
        "type": "group",
        "count": len(alerts),
        "severity": worst(alerts).value,
        "timestamp": alerts[-1]["timestamp"],
        "text": text(alerts),
        "alerts": [dict(alert) for alert in alerts],
    }


def text(alerts: Sequence[Payload]) -> str:
    """A message for people: a heading, then one line for each phone and kind of alert, in order."""
    lines = {(alert["phoneId"], alert["type"], alert["errorType"]): _line(alert) for alert in alerts}
    counts = Counter((alert["phoneId"], alert["type"], alert["errorType"]) for alert in alerts)
    told = [line if counts[key] == 1 else f"{line} ({counts[key]} times)" for key, line in lines.items()]
    shown = told[:MOST_LINES]
    while len(shown) > 1 and sum(map(len, shown)) > LONGEST_TEXT:
        shown.pop()
    rest = [f"and {len(told) - len(shown)} more"] if len(told) > len(shown) else []
    heading = [subject(alerts)] if len(alerts) > 1 else []
    return "\n".join([*heading, *shown, *rest])[: LONGEST_TEXT + 200]


def subject(alerts: Sequence[Payload]) -> str:
    """One line that says how bad it is and how many are concerned."""
    if len(alerts) == 1:
        alert = alerts[0]
        return f"[{alert['severity']}] {_name(alert)}{_words(alert['type'])}"
    kinds = Counter(alert["type"] for alert in alerts)
    listed = ", ".join(f"{count} {_words(kind)}" for kind, count in kinds.most_common())
    phones = len({alert["phoneId"] for alert in alerts})
    return f"[{worst(alerts).value}] {listed} ({phones} phone{'s' if phones > 1 else ''})"


def worst(alerts: Sequence[Payload]) -> Severity:
    """The severity of a message: critical if anything in it is."""
    found = {alert["severity"] for alert in alerts}
    order = (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN)
    return next((severity for severity in order if severity.value in found), Severity.OK)


def signature(secret: str, timestamp: str, content: bytes) -> str:
    """The value of a webhook's signature header: HMAC-SHA256 over ``<timestamp>.<body>``."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + content, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def _closed(detail: Payload, operation: str | None) -> Alert:
    kind = detail.get("error_kind")
    error = ErrorKind(kind) if kind in set(ErrorKind) else None
    count, limit = detail.get("count"), detail.get("limit")
    why = f"{error.label} limit reached ({count} of {limit})" if error else str(detail.get("reason") or "closed")
    back = f", or wa-sessions restore {operation} without a QR" if operation else ""
    return Alert(
        CLOSED, Severity.CRITICAL, f"session closed: {why}; scan the new QR{back}", error, count, limit, operation
    )


def _line(alert: Payload) -> str:
    severity = "ok" if alert["severity"] == Severity.OK.value else alert["severity"].upper()
    return f"{severity} {_name(alert)}{alert['text']}"


def _name(alert: Payload) -> str:
    if not alert["phone"]:
        return ""
    shown = f" ({alert['displayName']})" if alert["displayName"] else ""
    return f"{alert['phone']}{shown}: "


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _plain(text: str) -> str:
    """One line without control characters, whatever somebody called a phone."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
