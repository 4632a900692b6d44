"""The one line of ``check``: a verdict, why, and figures behind the bar."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from wa_sessions.health.checking import (
    UNREADABLE,
    WORST_FIRST,
    Finding,
    Known,
    PhoneVerdict,
    Thresholds,
    Verdict,
    counted_in_fleet,
    fleet_verdict,
)
from wa_sessions.health.limits import ErrorCount, ErrorKind
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.numbers import error_count
from wa_sessions.wording.phrases import Language, Phrase, say

MOST_NAMED = 5  # phones that the line of a fleet names
NAME = "WA-SESSIONS"

_TABLE = "verdicts"


def reason(judged: PhoneVerdict, language: Language = ENGLISH) -> str:
    """Why a phone has its verdict."""
    values = _values(judged)
    return "; ".join(
        say(Phrase(_TABLE, finding, values | _number(finding, judged)), language) for finding in judged.findings
    )


def phone_line(judged: PhoneVerdict) -> str:
    """The one line of a plugin about one phone, its figures after the bar."""
    known, thresholds = judged.known, judged.thresholds
    values = {
        "bad_mac": _figure(known.bad_mac, known.limits.bad_mac, observed=judged.observed),
        "bad_decrypt": _figure(known.bad_decrypt, known.limits.bad_decrypt, observed=judged.observed),
        "pending": f"{known.pending};;;0",
        "lost": f"{known.lost}c;;;0",
        **_inbox_figures([known], thresholds),
    }
    if thresholds.few_keys is not None and known.keys is not None:
        values["keys"] = f"{known.keys};;{thresholds.few_keys}:;0"
    return plugin_line(judged.verdict, f"{known.phone}: {reason(judged)}", values)


def fleet_line(fleet: Sequence[PhoneVerdict], thresholds: Thresholds) -> str:
    """The one line of a plugin about many phones: how many of each verdict, and the worst by name."""
    judged = counted_in_fleet(fleet)
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
        return plugin_line(Verdict.UNKNOWN, say(Phrase(_TABLE, "no_phone"), ENGLISH), values)
    summary = ", ".join(f"{counts[verdict]} {verdict.name.lower()}" for verdict in WORST_FIRST if counts[verdict])
    return plugin_line(fleet_verdict(fleet), summary + _named(judged), values)


def plugin_line(verdict: Verdict, text: str, values: dict[str, str] | None = None) -> str:
    """A plugin's line. What is quoted in ``text`` can begin no figures and no second line."""
    figures = " ".join(f"{name}={value}" for name, value in (values or {}).items())
    return f"{NAME} {verdict.name} - {' '.join(text.replace('|', '/').split())}" + (f" | {figures}" if figures else "")


def _values(judged: PhoneVerdict) -> dict[str, str | int | Phrase]:
    known, thresholds = judged.known, judged.thresholds
    return {
        "phone": known.phone,
        "why": known.unknown_reason or Phrase(_TABLE, "nobody_observes"),
        "uncounted": known.uncounted_reason or "",
        "few": thresholds.few_keys or 0,
        "minutes": f"{(known.inbox_age or timedelta()).total_seconds() // 60:.0f}",
        "age": f"{(known.age or timedelta()).total_seconds():.0f}",
        "freshness": f"{thresholds.freshness.total_seconds():.0f}",
        "state": (known.state or known.status).replace("_", " "),
        "bad_mac": error_count(ErrorCount(ErrorKind.BAD_MAC, known.bad_mac, known.limits.bad_mac)),
        "bad_decrypt": error_count(ErrorCount(ErrorKind.BAD_DECRYPT, known.bad_decrypt, known.limits.bad_decrypt)),
    }


def _number(finding: Finding, judged: PhoneVerdict) -> dict[str, int]:
    """What decides the form of the words."""
    numbers = {Finding.FEW_KEYS: judged.known.keys, Finding.MESSAGES_SET_ASIDE: judged.known.inbox_dead}
    return {"n": numbers.get(finding) or 0}


def _figure(count: int, limit: int, *, observed: bool) -> str:
    """A counter with its limits as ranges: above 0 is a warning, one short of its limit critical; U is unknown."""
    return f"{count if observed else 'U'};0;{max(limit - 2, 0)};0;{limit}"


def _inbox_figures(known: Sequence[Known], thresholds: Thresholds) -> dict[str, str]:
    """Messages that wait for their handler, or are set aside, and seconds since the oldest came; U where not known."""
    warning, critical = (limit.total_seconds() for limit in (thresholds.inbox_warning, thresholds.inbox_critical))
    limits = f"{warning:.0f};{critical:.0f};0"
    if known and all(one.unknown_because in UNREADABLE for one in known):
        return {"inbox": "U;;;0", "inbox_dead": "U;;;0", "inbox_oldest": f"U;{limits}"}
    oldest = max((one.inbox_age for one in known if one.inbox_age is not None), default=timedelta())
    return {
        "inbox": f"{sum(one.inbox_waiting for one in known)};;;0",
        "inbox_dead": f"{sum(one.inbox_dead for one in known)};;;0",
        "inbox_oldest": f"{oldest.total_seconds():.0f}s;{limits}",
    }


def _named(judged: Sequence[PhoneVerdict]) -> str:
    bad = sorted((one for one in judged if one.verdict is not Verdict.OK), key=lambda o: WORST_FIRST.index(o.verdict))
    if not bad:
        return ""
    listed = "; ".join(f"{one.known.phone} {reason(one)}" for one in bad[:MOST_NAMED])
    rest = len(bad) - MOST_NAMED
    return f": {listed}; {say(Phrase(_TABLE, 'and_more', {'n': rest}), ENGLISH)}" if rest > 0 else f": {listed}"
