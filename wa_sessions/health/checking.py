"""What a monitor is told of a phone, or of a fleet: a verdict in Nagios's four words, and its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import Literal, assert_never

from wa_sessions.health.backend_words import BackendStatus, ConnectionType, PhoneType, SessionState
from wa_sessions.health.limits import Limits, Severity
from wa_sessions.health.reconnect import Status
from wa_sessions.health.unknown import Because

WAITS_LONG = timedelta(minutes=5)
"""A message that has waited so long for its handler is worth a look, unless somebody says another limit."""


class Verdict(IntEnum):
    """What a plugin's exit status means to Nagios (Monitoring Plugins Development Guidelines)."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


WORST_FIRST = (Verdict.CRITICAL, Verdict.WARNING, Verdict.UNKNOWN, Verdict.OK)
_NOBODY_RUNS_IT = (Because.NO_WORKER, Because.NO_SIGN_OF_LIFE)
UNREADABLE = (Because.NO_SCHEMA, Because.NO_PERMISSION)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one phone; the counters are those of ``wa_sessions.health.limits.severity``.

    ``age``: how long ago its observer gave a sign of life; None where that is not known. ``keys``: how many auth keys
    there are; None where nobody asked, or where there are none to have. ``inbox_age``: how long the oldest message has
    waited for its handler, of ``inbox_waiting``; ``inbox_dead``: messages that are set aside. ``closed_in_logs``: the
    Node backend's logs say that it closed the session at the limit. ``uncounted_reason``: that messages fail again and
    again for reasons that count towards no limit.
    """

    phone: str
    connection_type: PhoneType
    status: BackendStatus
    state: SessionState | None
    severity: Severity
    unknown_because: Because | None
    unknown_reason: str | None
    bad_mac: int
    bad_decrypt: int
    limits: Limits
    pending: int
    lost: int
    age: timedelta | None
    keys: int | None
    inbox_age: timedelta | None = None
    inbox_dead: int = 0
    inbox_waiting: int = 0
    closed_in_logs: bool = False
    uncounted_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """``freshness``: older data says nothing. ``few_keys``: fewer are critical; None: they are not looked at.

    ``inbox_warning``, ``inbox_critical``: so long a message may wait for its handler.
    """

    freshness: timedelta
    few_keys: int | None = None
    inbox_warning: timedelta = WAITS_LONG
    inbox_critical: timedelta = timedelta(minutes=30)


class Finding(StrEnum):
    """Something that a verdict rests on; ``wa_sessions.wording`` says it with what is known of the phone."""

    LOGGED_OUT = "logged_out"
    UNOBSERVED = "unobserved"
    FEW_KEYS = "few_keys"
    STALE = "stale"
    MESSAGE_WAITS = "message_waits"
    MESSAGES_SET_ASIDE = "messages_set_aside"
    CLOSED_IN_LOGS = "closed_in_logs"
    NEXT_ERROR_CLOSES = "next_error_closes"
    IS_BEING_CLOSED = "is_being_closed"
    BACKEND_SHOULD_CLOSE = "backend_should_close"
    ERRORS_COUNTED = "errors_counted"
    MESSAGES_FAIL = "messages_fail"
    WELL = "well"


@dataclass(frozen=True, slots=True)
class PhoneVerdict:
    """The verdict on a phone, and what it rests on. ``observed``: the counters are of now."""

    known: Known
    thresholds: Thresholds
    verdict: Verdict
    findings: tuple[Finding, ...]
    observed: bool


def phone_verdict(known: Known, thresholds: Thresholds) -> PhoneVerdict:
    """Judge one phone. What stands in the tables counts before what an observer says, as it needs none."""
    judged = _of_session(known, thresholds)
    critical = judged.verdict is Verdict.CRITICAL
    of_inbox = _of_inbox(known, thresholds, waits_too_long=critical)
    if not of_inbox:
        return judged
    of_session = () if judged.verdict is Verdict.OK else judged.findings
    return replace(judged, verdict=Verdict.CRITICAL if critical else Verdict.WARNING, findings=of_session + of_inbox)


def fleet_verdict(fleet: Sequence[PhoneVerdict]) -> Verdict:
    """The worst: critical, warning, unknown, ok."""
    judged = [one.verdict for one in counted_in_fleet(fleet)]
    return next((verdict for verdict in WORST_FIRST if verdict in judged), Verdict.UNKNOWN)


def counted_in_fleet(fleet: Sequence[PhoneVerdict]) -> list[PhoneVerdict]:
    """Those that count in a fleet: nobody can observe the official API, so its silence is left out."""
    return [
        one for one in fleet if one.known.connection_type != ConnectionType.WABA or one.verdict is not Verdict.UNKNOWN
    ]


def _of_inbox(known: Known, thresholds: Thresholds, *, waits_too_long: bool) -> tuple[Finding, ...]:
    waits = known.inbox_age is not None and known.inbox_age >= thresholds.inbox_warning
    found = [Finding.MESSAGE_WAITS] if waits and not waits_too_long else []
    return (*found, Finding.MESSAGES_SET_ASIDE) if known.inbox_dead else tuple(found)


def _of_session(known: Known, thresholds: Thresholds) -> PhoneVerdict:
    findings = _from_tables(known, thresholds)
    stale = known.age is not None and known.age > thresholds.freshness
    observed = known.severity is not Severity.UNKNOWN and not stale
    if findings:
        return PhoneVerdict(known, thresholds, Verdict.CRITICAL, findings, observed)
    if known.severity is Severity.UNKNOWN:
        return PhoneVerdict(known, thresholds, Verdict.UNKNOWN, (Finding.UNOBSERVED,), observed)
    if stale:
        return PhoneVerdict(known, thresholds, Verdict.UNKNOWN, (Finding.STALE,), observed)
    verdict, findings = _of_counters(known, known.severity)
    return PhoneVerdict(known, thresholds, verdict, findings, observed)


def _from_tables(known: Known, thresholds: Thresholds) -> tuple[Finding, ...]:
    """What is critical whatever the counters say."""
    holds = {
        Finding.LOGGED_OUT: known.status == Status.LOGGED_OUT,
        Finding.UNOBSERVED: known.unknown_because in _NOBODY_RUNS_IT,
        Finding.FEW_KEYS: _few(known, thresholds),
        Finding.MESSAGE_WAITS: known.inbox_age is not None and known.inbox_age >= thresholds.inbox_critical,
    }
    return tuple(finding for finding, found in holds.items() if found)


def _of_counters(
    known: Known, severity: Literal[Severity.OK, Severity.WARNING, Severity.CRITICAL]
) -> tuple[Verdict, tuple[Finding, ...]]:
    match severity:
        case Severity.CRITICAL:
            return Verdict.CRITICAL, (_what_follows(known),)
        case Severity.WARNING:
            counted = Finding.ERRORS_COUNTED if known.bad_mac or known.bad_decrypt else None
            uncounted = Finding.MESSAGES_FAIL if known.uncounted_reason else None
            return Verdict.WARNING, tuple(finding for finding in (counted, uncounted) if finding)
        case Severity.OK:
            return Verdict.OK, (Finding.WELL,)
        case _:
            assert_never(severity)


def _what_follows(known: Known) -> Finding:
    if known.closed_in_logs:
        return Finding.CLOSED_IN_LOGS
    if known.bad_mac < known.limits.bad_mac and known.bad_decrypt < known.limits.bad_decrypt:
        return Finding.NEXT_ERROR_CLOSES
    return Finding.BACKEND_SHOULD_CLOSE if known.connection_type == ConnectionType.BAILEYS else Finding.IS_BEING_CLOSED


def _few(known: Known, thresholds: Thresholds) -> bool:
    if thresholds.few_keys is None or known.keys is None or known.connection_type == ConnectionType.WABA:
        return False
    return known.keys < thresholds.few_keys
