"""What stands around a line's own text: pm2's time, its process, or its JSON. Times are ms since 1970 in UTC."""

import json
import re
from datetime import UTC, datetime
from typing import Any

NO_TIME, NO_PREFIX = -1, -2
_QUARTER = 900_000
_MOST_KNOWN = 4096
_COLOUR = rb"(?:\x1b\[[0-9;]*m)*"
_PREFIX = re.compile(
    rb"\0*"
    + _COLOUR
    + rb"(?:\d+\|[^|\n]{1,80}\| ?)?"
    + _COLOUR
    + rb"(?:(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)"
    rb" ?(Z|[+-]\d\d:?\d\d)?(?:: ?| ))?" + _COLOUR
)
_BOTH_TIMES = re.compile(
    rb"^[^\n{]{0,120}?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.\d+)?: ?"
    rb'\{"level":\d+,"time":(\d{13}|"[^"\n]{20,32}")',
    re.MULTILINE,
)
_WRAPPED = re.compile(rb'^\0*(\{"(?:message|app_name|timestamp|type|process_id)":.*\})\r?$', re.MULTILINE)


class Clock:
    """Reads the time out of what stands before a line's text."""

    def __init__(self, zone: int) -> None:
        """``zone``: ms by which the times that pm2 writes are ahead of UTC."""
        self._zone = zone
        self._known: dict[bytes, int] = {}

    def read(self, prefix: bytes) -> int:
        """The time of a prefix; NO_TIME where it has none, NO_PREFIX where it is text of the line."""
        known = self._known.get(prefix)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[prefix] = self._parse(prefix)
        return known

    def _parse(self, prefix: bytes) -> int:
        match = _PREFIX.fullmatch(prefix)
        if match is None:
            return NO_PREFIX
        if match[1] is None:
            return NO_TIME
        try:
            moment = datetime.fromisoformat((match[1] + (match[2] or b"")).decode())
        except ValueError:
            return NO_TIME
        return _sane(_ms(moment) - (0 if moment.tzinfo else self._zone))


def pino_time(value: Any) -> int:
    """The time that a pino line has: ms since 1970, or ISO 8601; NO_TIME for anything else."""
    if isinstance(value, int):
        return _sane(value)
    try:
        return _sane(_ms(datetime.fromisoformat(value)))
    except (ValueError, TypeError):
        return NO_TIME


def zone_of(start: bytes) -> int | None:
    """By how many ms pm2's times are ahead of UTC, from the first line that has both; None where none has."""
    match = _BOTH_TIMES.search(start)
    if match is None:
        return None
    try:
        written = _ms(datetime.fromisoformat(match[1].decode()))
        meant = pino_time(json.loads(match[2]))
    except ValueError:
        return None
    return None if meant == NO_TIME else round((written - meant) / _QUARTER) * _QUARTER


def unwrapped(lines: bytes) -> bytes:
    """Whole lines, those that pm2 wrote as JSON (``--log-type json``) as its ``--time`` would have written them."""
    return _WRAPPED.sub(_text_of, lines)


def _text_of(match: re.Match[bytes]) -> bytes:
    try:
        entry = json.loads(match[1].decode("utf-8", "surrogateescape"))
        text, moment = entry["message"], entry["timestamp"]
        lines = text.removesuffix("\n").split("\n")
        return "\n".join(f"{moment}: {line}" for line in lines).encode("utf-8", "surrogateescape")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return match[0]


def _sane(time: int) -> int:
    """No log is from before 1970 or from after 2286."""
    return time if 0 <= time < 10**13 else NO_TIME


def _ms(moment: datetime) -> int:
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
