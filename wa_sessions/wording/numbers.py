"""Durations and counters."""

from datetime import timedelta

from wa_sessions.health.limits import ErrorCount
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.phrases import Language, Phrase, say

_TABLE = "numbers"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def lasted(seconds: float, language: Language = ENGLISH) -> str:
    """A duration, roughly.

    >>> [lasted(seconds) for seconds in (0.44, 34.2, 90, 7_300, 86_400, 260_000)]
    ['0.4 s', '34 s', '1 min', '2 h', '24 h', '3 days']
    """
    return say(duration(seconds), language)


def duration(seconds: float) -> Phrase:
    """A duration, roughly."""
    if seconds < 10:
        return Phrase(_TABLE, "seconds", {"n": f"{seconds:.1f}"})
    for size, unit, up_to in ((1, "seconds", _MINUTE), (_MINUTE, "minutes", _HOUR), (_HOUR, "hours", 2 * _DAY)):
        if seconds < up_to:
            return Phrase(_TABLE, unit, {"n": int(seconds // size)})
    return Phrase(_TABLE, "days", {"n": int(seconds // _DAY)})


def aged(time: timedelta, language: Language = ENGLISH) -> str:
    """How long ago something was, in the unit that fits.

    >>> [aged(timedelta(minutes=minutes)) for minutes in (18, 119, 120, 6_392)]
    ['18 min', '119 min', '2 h', '4 days']
    """
    return say(age(time), language)


def age(time: timedelta) -> Phrase:
    """How long ago something was, in the unit that fits."""
    minutes = time // timedelta(minutes=1)
    if minutes < 120:
        return Phrase(_TABLE, "minutes", {"n": minutes})
    return (
        Phrase(_TABLE, "hours", {"n": minutes // 60})
        if minutes < 2_880
        else Phrase(_TABLE, "days", {"n": minutes // 1_440})
    )


def error_count(found: ErrorCount) -> Phrase:
    """A counter and its limit."""
    return Phrase(_TABLE, "error_count", {"kind": found.kind.label, "count": found.count, "limit": found.limit})
