"""What stands before a line's own text: times, a process, a container, a host, a level. Times are ms since 1970 in UTC.

Whoever carries a log puts the same shape before all of its lines. What is made of nothing but a time, names in their
places and levels is known by how it is built; any other shape is learned, where a stack of the library's has it before
each of its lines. Words that somebody wrote are neither.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, lru_cache

from wa_sessions.logs.scan_result import keep_latest
from wa_sessions.logs.times import NO_TIME, PARTS, STAMP, Calendar, day_order, iso, sane, written_time

NO_PREFIX = -2
LONGEST_PREFIX = 300
_EPOCH, _A_MS = datetime(1970, 1, 1), timedelta(milliseconds=1)  # noqa: DTZ001 (as in the log, zone left out)
_QUARTER = 900_000
_MOST_KNOWN = 4096
_MOST_SHAPES = 64
_MOST_BLANKS = 40
_OPENS = re.compile(rb"(?<!=)['\"`]\Z")
"""The end of what stands before a quoted text; ``msg="`` is logfmt's."""

COLOUR = re.compile(rb"\x1b(?:\[[0-9;?]{0,20}[A-Za-z]|\][^\x07\x1b\n]{0,200}\x07)")
"""What steers a terminal: colours, and what clears a line or sets a title."""
LEVEL = rb"(?:trace|debug|verbose|info|information|notice|log|warn|warning|err|error|fatal|crit|critical|alert)"
_NAME = rb"[A-Za-z0-9_.@/+-]{1,80}"
_LEVELS = rb"(?:(?i:\[" + LEVEL + rb"\]|" + LEVEL + rb"|[DEFIW](?= )):?[ \t]{0,8})"
_TIME = rb"(?:(?>" + STAMP + rb")|(?>" + PARTS + rb"))"
_AT = rb"(?:\[" + _TIME + rb"\]|\(" + _TIME + rb"\)|" + _TIME + rb")"
_PREFIX = (
    rb"(?:\xef\xbb\xbf)?\0*(?:[ ]{0,8}\d{1,9}\t|[ ]{1,8}\d{1,9} |)[ \t]{0,40}"
    rb"(?:[\x80-\xff]{3,12} (?=[\[(]?\d))?"
    rb"(?:<\d{1,3}>\d? ?)?"
    rb"(?:" + _AT + rb"[:,]?[ \t]{0,4})?"
    rb"(?:\["
    + _NAME
    + rb"\] \d{1,9}[ \t]{1,4}-[ \t]{1,4}"
    + _AT
    + rb"[ \t]{1,8}"
    + _LEVELS
    + rb"\[[\w .:@/-]{1,80}\][ \t]{1,4})?"
    rb"(?:(?:PM2 )?\d{1,6}\|[^|\n]{1,80}\|[ \t]?|" + _NAME + rb"[ \t]{0,40}\|[ \t]?){0,2}"
    rb"(?:\[" + _NAME + rb"\/" + _NAME + rb"\][ \t]?)?"
    rb"(?:" + _AT + rb"(?:[:,][ \t]?|[ \t]{0,4}\|?[ \t]?|[ \t]-[ \t]))?"
    rb"(?:std(?:out|err) [FP] )?"
    rb"(?:(?<=[\dZ] )(?:" + _NAME + rb" )?" + _NAME + rb"\[[\w.-]{1,60}\]:?[ \t]?(?:[a-z]{3} )?"
    rb"|(?<=[\dZ] )" + _NAME + rb" " + _NAME + rb" (?:\d{1,9}|-) (?:" + _NAME + rb"|-) (?:-|\[[^\]\n]{1,80}\]) ?)?"
    rb"(?:" + _AT + rb"[:,]?[ \t]{0,4})?"
    rb"(?:" + _LEVELS + rb"(?:[|-][ \t]{1,4})?"
    rb"(?:\([\w.@/ -]{1,80}\):?[ \t]{0,4})?)?"
)
_PLAIN = re.compile(rb"(?:\d{1,6}\|[\w-]{1,80} {1,20}\| )?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d): ")
"""Most prefixes: pm2's."""
_BOTH_TIMES = re.compile(
    rb"^[^\n{]{0,120}?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.\d+)?: ?"
    rb'\{"level":\d+,"time":(\d{13}|"[^"\n]{20,32}")',
    re.MULTILINE,
)
_HEX = rb"[0-9A-Fa-f]"
_ID = (
    rb"(?<![0-9A-Za-z])(?:" + _HEX + rb"{8}(?:-" + _HEX + rb"{4}){3}-" + _HEX + rb"{12}|" + _HEX + rb"{12,64}"
    rb"|(?=[A-Fa-f]*\d)" + _HEX + rb"{8,11})(?![0-9A-Za-z])"
)  # fmt: skip
"""A UUID, or another id in hex; so many letters are no word."""
_VARIES = re.compile(_ID + rb"|\d+|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b")


class Clock:
    """Reads the time out of what stands before a line's text."""

    def __init__(self, zone: int, now: int) -> None:
        """``zone``: ms by which times without a zone are ahead of UTC."""
        self._calendar = Calendar(zone, now)
        self._known: dict[bytes, int] = {}
        self._shapes: set[bytes] = set()
        self._read: dict[bytes, None] = {}

    def read(self, prefix: bytes) -> int:
        """The time of a prefix; NO_TIME where it has none, NO_PREFIX where it is text of the line."""
        known = self._known.get(prefix)
        if known is None:
            if len(prefix) > LONGEST_PREFIX:
                return NO_PREFIX
            if len(self._known) >= _MOST_KNOWN:
                keep_latest(self._read, self._shapes_read())
                self._known.clear()
            known = self._known[prefix] = self._parse(prefix)
        return known

    def shapes_read(self) -> dict[bytes, None]:
        """The latest shapes of what stood before lines that were read; nothing is none."""
        keep_latest(self._read, self._shapes_read())
        return self._read

    def _shapes_read(self) -> list[bytes]:
        latest = [prefix for prefix, time in self._known.items() if time != NO_PREFIX][-_MOST_SHAPES:]
        return [form for prefix in latest if (form := shape(COLOUR.sub(b"", prefix)))]

    def learn(self, prefix: bytes) -> None:
        """Lines of a stack have this before them, so it is no line's text, unless they are quoted."""
        if len(prefix) <= LONGEST_PREFIX and len(self._shapes) < _MOST_SHAPES and not _OPENS.search(prefix):
            self._shapes.add(shape(prefix))
            keep_latest(self._read, self._shapes_read())
            self._known.clear()

    def _parse(self, prefix: bytes) -> int:
        if match := _PLAIN.fullmatch(prefix):
            return self._iso(match)
        plain = COLOUR.sub(b"", prefix)
        if _prefix().fullmatch(plain) is None and shape(plain) not in self._shapes:
            return NO_PREFIX
        if self._calendar.day_first is None and (day_first := day_order(plain)) is not None:
            self._calendar = Calendar(self._calendar.zone, self._calendar.now, day_first)
        return self._calendar.read(plain)

    def _iso(self, match: re.Match[bytes]) -> int:
        """The time of most prefixes, read as fast as may be."""
        try:
            moment = datetime.fromisoformat(match[1].decode())
        except ValueError:
            return NO_TIME
        return sane((moment - _EPOCH) // _A_MS - self._calendar.zone)


@cache
def _prefix() -> "re.Pattern[bytes]":
    """Compiled where it is needed, as that takes longer than reading most logs."""
    return re.compile(_PREFIX)


def shape(prefix: bytes) -> bytes:
    """What of a prefix is the same before all lines: its times, numbers and ids are left out."""
    return _VARIES.sub(b"0", prefix.strip())


def behind(prefix: bytes) -> Callable[[bytes], "re.Match[bytes] | None"]:
    """What finds the end of a prefix of the same shape; one that is nothing but blanks may be missing."""
    if not prefix.strip():
        return _blank(prefix[:_MOST_BLANKS])
    before, after = (min(len(prefix) - len(rest), _MOST_BLANKS) for rest in (prefix.lstrip(), prefix.rstrip()))
    return _finder(shape(prefix), _MOST_BLANKS if before else 0, after)


@lru_cache(maxsize=64)
def _finder(prefix_shape: bytes, before: int, after: int) -> Callable[[bytes], "re.Match[bytes] | None"]:
    parts = (re.escape(part) for part in prefix_shape.split(b"0"))
    varying = rb"(?>" + _ID + rb"|\d+|[A-Z][a-z]{2})"
    return re.compile(rb"[ \t]{0,%d}" % before + varying.join(parts) + rb"[ \t]{0,%d}" % after).match


@lru_cache(maxsize=64)
def _blank(blanks: bytes) -> Callable[[bytes], "re.Match[bytes] | None"]:
    return re.compile(blanks + rb"|").match


def zone_of(start: bytes) -> int | None:
    """By how many ms pm2's times are ahead of UTC, from the first line that has both; None where none has."""
    match = _BOTH_TIMES.search(start)
    if match is None:
        return None
    try:
        written = iso(match[1].decode())
        meant = written_time(json.loads(match[2]))
    except ValueError:
        return None
    return None if meant == NO_TIME else round((written - meant) / _QUARTER) * _QUARTER


def now_in_ms() -> int:
    """This moment."""
    return round(datetime.now().astimezone().timestamp() * 1000)
