"""Times as programs write them before a line. All are ms since 1970 in UTC, or NO_TIME."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

NO_TIME = -1

_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_WEEKDAY = rb"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? )?"
_DATE = (
    rb"(?:\d{4}(?:-\d\d?-|/\d\d?/|\.\d\d?\.)\d\d?|\d\d?(?:-\d\d?-|/\d\d?/|\.\d\d?\.)\d{4}"
    rb"|" + _WEEKDAY + _MONTH + rb" {1,2}\d\d?(?:st|nd|rd|th)?(?:,? \d{4})?"
    rb"|" + _WEEKDAY + rb"\d\d?[ /-]" + _MONTH + rb"[ /-]\d{4})"
)
_SECONDS = rb":\d\d(?:[.,]\d{1,9})?"
_HALF = rb"(?: ?[AaPp]\.?[Mm]\.?(?![\w@/+-]))?"
_ZONE = rb"(?:Z| ?[+-]\d\d:?\d\d| (?:UTC|GMT|MSK|[A-Z]{1,3}T))?"
STAMP = (
    rb"(?:" + _DATE + rb"(?:T|,? |:)\d\d?:\d\d(?:" + _SECONDS + rb")?" + _HALF + _ZONE + rb"|\d\d?:\d\d"
    rb"" + _SECONDS + _HALF + rb"|\d{13}|\d{16}|\d{19}|\d{10}(?:\.\d{1,9})?(?=[],: )]))"
)
"""A time, with its date, alone, or as a number since 1970."""

PARTS = (
    rb"(?:(?:\d{1,6}(?![\d|])(?:st|nd|rd|th)?|"
    + _MONTH
    + rb"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}|[AaPp]\.?[Mm]\.?"
    rb"|Z|UTC|GMT|MSK|[A-Z]{1,3}T|[+-]\d\d(?::?\d\d)?)[-/.:,T ]{0,2}){2,16}"
)
"""A time in whatever order somebody asked for it: nothing but numbers and the names of days, months and zones."""

_FIND = (rb"(?<!\d)(?:(?P<date>" + _DATE + rb")(?:T|,? |:)(?P<time>\d\d?:\d\d(?:" + _SECONDS + rb")?)"
                   rb"(?P<half>" + _HALF + rb")(?P<zone>" + _ZONE + rb")"
                   rb"|(?P<epoch>\d{19}|\d{16}|\d{13}|\d{10}(?:\.\d{1,9})?)(?!\d))")  # fmt: skip
_WORD = re.compile(rb"[A-Za-z]+|\d+")
_EPOCH = {10: 1000, 13: 1, 16: 10**-3, 19: 10**-6}


@dataclass(frozen=True, slots=True)
class Calendar:
    """What a time alone does not say. ``zone``: ms by which times without one are ahead of UTC; ``now``: ms.

    ``day_first``: how ``05/06/2026`` is meant; None where nobody knows.
    """

    zone: int = 0
    now: int = 0
    day_first: bool | None = None

    def read(self, text: bytes) -> int:
        """The first time in a text that has its date; NO_TIME where there is none, or where its order is open."""
        match = _find().search(text)
        if match is None:
            return NO_TIME
        if epoch := match["epoch"]:
            whole, _, _ = epoch.partition(b".")
            return sane(round(float(epoch) * _EPOCH[len(whole)]))
        try:
            moment = self._date(match["date"]) + _time(match["time"], match["half"].strip()[:1].lower())
        except (ValueError, IndexError):
            return NO_TIME
        zone = _zone(match["zone"].strip())
        return sane(moment - (self.zone if zone is None else zone))

    def _date(self, text: bytes) -> int:
        parts = [part.lower() for part in _WORD.findall(text)]
        named = [n for n, part in enumerate(parts) if part[:3] in _MONTHS and part.isalpha()]
        if named:
            month = _MONTHS.index(parts[named[0]][:3]) + 1
            day, *year = (int(part) for part in parts if part.isdigit())
            return self._nearest(month, day) if not year else _day(year[0], month, day)
        one, two, three = (int(part) for part in parts)
        if len(parts[0]) == 4:
            return _day(one, two, three)
        day_first = day_order(text)
        if day_first is None:
            day_first = self.day_first
        if day_first is None:
            raise ValueError(text)
        return _day(three, two, one) if day_first else _day(three, one, two)

    def _nearest(self, month: int, day: int) -> int:
        """A day without a year is not in the future."""
        year = datetime.fromtimestamp(self.now / 1000, UTC).year
        this = _day(year, month, day) if (month, day) != (2, 29) or year % 4 == 0 else _day(year - 1, 3, 1)
        return this if this <= self.now + 86_400_000 else _day(year - 1, month, day)


@cache
def _find() -> "re.Pattern[bytes]":
    return re.compile(_FIND)


def day_order(text: bytes) -> bool | None:
    """Whether a date such as ``20/11/2026`` has the day first; None where it may be either, or has no such date."""
    match = re.search(rb"(?<!\d)(\d\d?)([-/.])(\d\d?)\2\d{4}(?!\d)", text)
    if match is None:
        return None
    one, two = int(match[1]), int(match[3])
    if match[2] == b".":
        return True
    return True if one > 12 else False if two > 12 else None


def written_time(value: Any) -> int:
    """The time that a JSON entry has: ms since 1970 (or s, µs, ns), or ISO 8601; NO_TIME for anything else."""
    if isinstance(value, bool):
        return NO_TIME
    if isinstance(value, int):
        return sane(value) if value < 10**13 else sane(value // (1000 if value < 10**16 else 10**6))
    if isinstance(value, float):
        return sane(round(value * 1000)) if 10**9 <= value < 10**10 else NO_TIME
    if isinstance(value, str) and len(value) in _EPOCH and value.isdigit():
        return sane(round(int(value) * _EPOCH[len(value)]))
    try:
        return sane(iso(value))
    except (ValueError, TypeError, OverflowError):
        return NO_TIME


def iso(text: str) -> int:
    """ISO 8601, in UTC where it has no zone. Raises ValueError, TypeError."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def sane(time: int) -> int:
    """No log is from before 1970 or from after 2286."""
    return time if 0 <= time < 10**13 else NO_TIME


def _day(year: int, month: int, day: int) -> int:
    return round(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


def _time(text: bytes, half: bytes) -> int:
    hours, minutes, *seconds = text.replace(b",", b".").split(b":")
    hour = int(hours) % 12 + (12 if half == b"p" else 0) if half else int(hours)
    if hour > 23 or int(minutes) > 59:
        raise ValueError(text)
    return (hour * 60 + int(minutes)) * 60_000 + (int(float(seconds[0]) * 1000 + 1e-6) if seconds else 0)


def _zone(text: bytes) -> int | None:
    """ms ahead of UTC; None where it has no zone, or one whose name means nothing."""
    if text in (b"Z", b"UTC", b"GMT"):
        return 0
    if text[:1] not in (b"+", b"-"):
        return None
    digits = text[1:].replace(b":", b"")
    ahead = (int(digits[:2]) * 60 + int(digits[2:])) * 60_000
    return -ahead if text[:1] == b"-" else ahead
