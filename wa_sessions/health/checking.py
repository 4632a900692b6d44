"""What a monitor is told of a phone, or of a fleet: a verdict in Nagios's four words, its reasons and its figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import IntEnum

from wa_sessions.health.limits import Limits, Severity
from wa_sessions.health.reconnect import Status
from wa_sessions.health.unknown import Because

MOST_NAMED = 5  # phones that the line of a fleet names
NAME = "WA-SESSIONS"

WAITS_LONG = timedelta(minutes=5)
"""A message that has waited so long for its handler is worth a look, unless somebody says another limit."""


class Verdict(IntEnum):
    """What a plugin's exit status means to Nagios (Monitoring Plugins Development Guidelines)."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_WORST_FIRST = (Verdict.CRITICAL, Verdict.WARNING, Verdict.UNKNOWN, Verdict.OK)
_NOBODY_RUNS_IT = (Because.NO_WORKER, Because.NO_SIGN_OF_LIFE)
_UNREADABLE = (Because.NO_SCHEMA, Because.NO_PERMISSION)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one phone; the counters are those of ``wa_sessions.health.limits.severity``.

    ``age``: how long ago its observer gave a sign of life; None where that is not known. ``keys``: how many auth keys
    there are; None where nobody asked, or where there are none to have. ``inbox_age``: how long the oldest message has
    waited for its handler, of ``inbox_waiting``; ``inbox_dead``: messages that are set aside. ``closed_in_logs``: the
    Node backend's logs say that it closed the session at the limit.
    """

    phone: str
    connection_type: str
    status: str
    state: str | None
    severity: Severity
    unknown_because: str | None
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


@dataclass(frozen=True, slots=True)
class Thresholds:
    """``freshness``: older data says nothing. ``few_keys``: fewer are critical; None: they are not looked at.

    ``inbox_warning``, ``inbox_critical``: so long a message may wait for its handler.
    """

    freshness: timedelta
    few_keys: int | None = None
    inbox_warning: timedelta = WAITS_LONG
    inbox_critical: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a phone, and why. ``observed``: the counters are of now."""

    known: Known
    verdict: Verdict
    reason: str
    observed: bool


def judge(known: Known, thresholds: Thresholds) -> Judged:
    """Judge one phone. What stands in the tables counts before what an observer says, as it needs none."""
    judged = _of_session(known, thresholds)
    critical = judged.verdict is Verdict.CRITICAL
    waits = known.inbox_age is not None and known.inbox_age >= thresholds.inbox_warning
    of_inbox = [_waits(known)] if waits and not critical else []
    if known.inbox_dead:
        of_inbox.append(_dead(known))
    if not of_inbox:
        return judged
    of_session = [] if judged.verdict is Verdict.OK else [judged.reason]
    verdict = Verdict.CRITICAL if critical else Verdict.WARNING
    return replace(judged, verdict=verdict, reason="; ".join([*of_session, *of_inbox]))


def _of_session(known: Known, thresholds: Thresholds) -> Judged:
    reasons = []
    if known.status == Status.LOGGED_OUT:
        reasons.append("logged out")
    if known.unknown_because in _NOBODY_RUNS_IT:
        reasons.append(_unobserved(known))
    if _few(known, thresholds):
        reasons.append(f"{known.keys} {'key' if known.keys == 1 else 'keys'}, fewer than {thresholds.few_keys}")
    if known.inbox_age is not None and known.inbox_age >= thresholds.inbox_critical:
        reasons.append(_waits(known))
    stale = known.age is not None and known.age > thresholds.freshness
    observed = known.severity is not Severity.UNKNOWN and not stale
    if reasons:
        return Judged(known, Verdict.CRITICAL, "; ".join(reasons), observed)
    if known.severity is Severity.UNKNOWN:
        return Judged(known, Verdict.UNKNOWN, _unobserved(known), observed)
    if stale:
        return Judged(known, Verdict.UNKNOWN, _stale(known, thresholds), observed)
    return _counted(known)


def line(judged: Judged, thresholds: Thresholds) -> str:
    """The one line of a plugin about one phone, its figures after the bar."""
    known = judged.known
    values = {
        "bad_mac": _figure(known.bad_mac, known.limits.bad_mac, observed=judged.observed),
        "bad_decrypt": _figure(known.bad_decrypt, known.limits.bad_decrypt, observed=judged.observed),
        "pending": f"{known.pending};;;0",
        "lost": f"{known.lost}c;;;0",
        **_inbox_figures([known], thresholds),
    }
    if thresholds.few_keys is not None and known.keys is not None:
        values["keys"] = f"{known.keys};;{thresholds.few_keys}:;0"
    return told(judged.verdict, f"{known.phone}: {judged.reason}", values)


def fleet_verdict(fleet: Sequence[Judged]) -> Verdict:
    """The worst: critical, warning, unknown, ok. Nobody can observe the official API, so its silence is left out."""
    judged = [one.verdict for one in fleet if not _left_out(one)]
    return next((verdict for verdict in _WORST_FIRST if verdict in judged), Verdict.UNKNOWN)


def fleet_line(fleet: Sequence[Judged], thresholds: Thresholds) -> str:
    """The one line of a plugin about many phones: how many of each verdict, and the worst by name."""
    judged = [one for one in fleet if not _left_out(one)]
    counts = Counter(one.verdict for one in judged)
    values = {
        verdict.name.lower(): f"{counts[verdict]};{limits};0;{len(judged)}"
        for verdict, limits in (
            (Verdict.OK, ";"),
            (Verdict.WARNING, "0;"),
            (Verdict.CRITICAL, ";0"),
            (Verdict.UNKNOWN, ";"),
        )
    }
    values["pending"] = f"{sum(one.known.pending for one in judged)};;;0"
    values["lost"] = f"{sum(one.known.lost for one in judged)}c;;;0"
    values |= _inbox_figures([one.known for one in judged], thresholds)
    if not judged:
        return told(Verdict.UNKNOWN, "no phone to judge", values)
    summary = ", ".join(f"{counts[verdict]} {verdict.name.lower()}" for verdict in _WORST_FIRST if counts[verdict])
    return told(fleet_verdict(fleet), summary + _named(judged), values)


def told(verdict: Verdict, text: str, values: dict[str, str] | None = None) -> str:
    """A plugin's line. What is quoted in ``text`` can begin no figures and no second line."""
    figures = " ".join(f"{name}={value}" for name, value in (values or {}).items())
    return f"{NAME} {verdict.name} - {' '.join(text.replace('|', '/').split())}" + (f" | {figures}" if figures else "")


def _counted(known: Known) -> Judged:
    counts = (
        f"Bad MAC {known.bad_mac} of {known.limits.bad_mac}, "
        f"Bad Decrypt {known.bad_decrypt} of {known.limits.bad_decrypt}"
    )
    match known.severity:
        case Severity.CRITICAL:
            return Judged(known, Verdict.CRITICAL, f"{counts}: {_what_follows(known)}", observed=True)
        case Severity.WARNING:
            return Judged(known, Verdict.WARNING, counts, observed=True)
        case _:
            return Judged(known, Verdict.OK, f"{(known.state or known.status).replace('_', ' ')}, {counts}", True)


def _what_follows(known: Known) -> str:
    if known.closed_in_logs:
        return "the backend closed it, as its log says"
    if known.bad_mac < known.limits.bad_mac and known.bad_decrypt < known.limits.bad_decrypt:
        return "the next error closes it"
    if known.connection_type != "baileys":
        return "it is being closed"
    return "the backend should have closed it"


def _waits(known: Known) -> str:
    assert known.inbox_age is not None
    return f"a message has waited {known.inbox_age.total_seconds() // 60:.0f} min for its handler"


def _dead(known: Known) -> str:
    messages = "1 message is" if known.inbox_dead == 1 else f"{known.inbox_dead} messages are"
    return f"{messages} set aside (wa-sessions inbox {known.phone} --dead)"


def _few(known: Known, thresholds: Thresholds) -> bool:
    if thresholds.few_keys is None or known.keys is None or known.connection_type == "waba":
        return False
    return known.keys < thresholds.few_keys


def _unobserved(known: Known) -> str:
    return known.unknown_reason or "nobody observes it"


def _stale(known: Known, thresholds: Thresholds) -> str:
    assert known.age is not None
    limit = thresholds.freshness.total_seconds()
    return f"last observed {known.age.total_seconds():.0f} s ago, more than {limit:.0f} s"


def _figure(count: int, limit: int, *, observed: bool) -> str:
    """A counter with its limits as ranges: above 0 is a warning, one short of its limit critical; U is unknown."""
    return f"{count if observed else 'U'};0;{max(limit - 2, 0)};0;{limit}"


def _inbox_figures(known: Sequence[Known], thresholds: Thresholds) -> dict[str, str]:
    """Messages that wait for their handler, or are set aside, and seconds since the oldest came; U where not known."""
    warning, critical = (limit.total_seconds() for limit in (thresholds.inbox_warning, thresholds.inbox_critical))
    limits = f"{warning:.0f};{critical:.0f};0"
    if known and all(one.unknown_because in _UNREADABLE for one in known):
        return {"inbox": "U;;;0", "inbox_dead": "U;;;0", "inbox_oldest": f"U;{limits}"}
    oldest = max((one.inbox_age for one in known if one.inbox_age is not None), default=timedelta())
    return {
        "inbox": f"{sum(one.inbox_waiting for one in known)};;;0",
        "inbox_dead": f"{sum(one.inbox_dead for one in known)};;;0",
        "inbox_oldest": f"{oldest.total_seconds():.0f}s;{limits}",
    }


def _left_out(judged: Judged) -> bool:
    return judged.known.connection_type == "waba" and judged.verdict is Verdict.UNKNOWN


def _named(judged: Sequence[Judged]) -> str:
    bad = sorted((one for one in judged if one.verdict is not Verdict.OK), key=lambda o: _WORST_FIRST.index(o.verdict))
    if not bad:
        return ""
    listed = "; ".join(f"{one.known.phone} {one.reason}" for one in bad[:MOST_NAMED])
    more = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    return f": {listed}{more}"
