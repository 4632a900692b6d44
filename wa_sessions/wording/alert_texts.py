"""What alerts say: to programs as JSON with the seed's names (``phoneId``, ``errorType``, …), to people as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from wa_sessions.health.alerting import Alert
from wa_sessions.health.events.connection import (
    Banned,
    Crashed,
    LoggedOut,
    LoginRefused,
    Outdated,
    Replaced,
    SetAside,
    Unreachable,
)
from wa_sessions.health.events.keys import ErrorCounted, SessionClosed
from wa_sessions.health.events.workers import Faulted, HandlerDead, HandlerEnded, HandlerUnfinished
from wa_sessions.health.limits import Severity
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.parts import Value, known, part
from wa_sessions.wording.phrases import Language, Phrase, say

MOST_LINES = 20
LONGEST_TEXT = 3500  # characters; Telegram takes 4096

Payload = Mapping[str, Any]
_TABLE = "alerts"


def alert_text(alert: Alert, language: Language = ENGLISH) -> str:
    """What has happened, and what to do."""
    return say(Phrase(_TABLE, alert.case, {"phone": alert.phone} | _values(alert)), language)


def _values(alert: Alert) -> dict[str, Value]:
    match alert.about:
        case ErrorCounted() as counted:
            return _counter(counted)
        case SessionClosed() as closed:
            return {"why": _why_closed(closed), "back": _back(alert.operation)}
        case Unreachable(reason, down) | Crashed(reason, down):
            return {"reason": known(reason), "minutes": (down or 0) // 60}
        case Replaced(reason) | LoggedOut(reason) | Outdated(reason) | LoginRefused(reason) | Banned(reason):
            return {"reason": known(reason)}
        case SetAside(reason) | Faulted(reason):
            return {"reason": known(reason)}
        case HandlerEnded(error=error):
            return {"error": known(error)}
        case HandlerUnfinished(waiting):
            return {"n": waiting or 0}
        case HandlerDead(_, error, attempts):
            return {"error": known(error), "n": attempts or 0}
        case _:
            return {}


def _counter(counter: ErrorCounted | SessionClosed) -> dict[str, Value]:
    label = counter.error_kind.label if counter.error_kind else part("an")
    return {"label": label, "count": known(counter.count), "limit": known(counter.limit)}


def _why_closed(closed: SessionClosed) -> Value:
    if closed.error_kind:
        return Phrase(_TABLE, "closed.limit" if closed.count is not None else "closed.uncounted", _counter(closed))
    return closed.reason or Phrase(_TABLE, "closed.reason")


def _back(operation: str | None) -> Value:
    return Phrase(_TABLE, "closed.back", {"operation": operation}) if operation else ""


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
        "type": alert.kind.value,
        "phoneId": phone_id,
        "phone": number,
        "organizationId": organization_id,
        "displayName": _plain(display_name) if display_name else None,
        "errorType": alert.error_type.value if alert.error_type else None,
        "currentCount": alert.counter.count if alert.counter else None,
        "maxAllowed": alert.counter.limit if alert.counter else None,
        "severity": alert.severity.value,
        "timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "operation": alert.operation,
        "text": _plain(alert_text(alert)),
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
    told = [line if counts[key] == 1 else _say("times", line=line, n=counts[key]) for key, line in lines.items()]
    shown = told[:MOST_LINES]
    while len(shown) > 1 and sum(map(len, shown)) > LONGEST_TEXT:
        shown.pop()
    rest = [_say("more", n=len(told) - len(shown))] if len(told) > len(shown) else []
    heading = [subject(alerts)] if len(alerts) > 1 else []
    return "\n".join([*heading, *shown, *rest])[: LONGEST_TEXT + 200]


def subject(alerts: Sequence[Payload]) -> str:
    """One line that says how bad it is and how many are concerned."""
    if len(alerts) == 1:
        alert = alerts[0]
        return f"[{alert['severity']}] {_name(alert)}{_words(alert['type'])}"
    kinds = Counter(alert["type"] for alert in alerts)
    listed = ", ".join(f"{count} {_words(kind)}" for kind, count in kinds.most_common())
    phones = _say("phones", n=len({alert["phoneId"] for alert in alerts}))
    return f"[{worst(alerts).value}] {listed} ({phones})"


def worst(alerts: Sequence[Payload]) -> Severity:
    """The severity of a message: critical if anything in it is."""
    found = {alert["severity"] for alert in alerts}
    order = (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN)
    return next((severity for severity in order if severity.value in found), Severity.OK)


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


def _say(form: str, **values: Value) -> str:
    return say(Phrase(_TABLE, form, values), ENGLISH)
