"""Which phones the lines of a log name: in a field that a backend binds to them, or before a line's own words.

What a customer wrote names nobody: fields count only at the top of a log's entry, by their names, and where the value
is nothing but a number, its JID or a phone's id. A line's text does not, but for what stands before its first word.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ahocorasick_rs

from wa_sessions.logs.lines import NO_PREFIX, Clock
from wa_sessions.logs.recognized import unwrapped
from wa_sessions.logs.scan_result import ScanResult
from wa_sessions.logs.times import NO_TIME, written_time

Name = tuple[str, str]
"""By what a line names a phone, and which: its number, or ``#`` and its id."""

_Line = tuple[int, Name, bool]
"""When a line was written, whom it names, and whether it is an entry of pino's."""

LONGEST_NAMING = 2**16
"""Bytes of the longest line that is looked at."""


def _spelled(*names: str) -> tuple[str, ...]:
    """Each as JavaScript has it, and with underscores."""
    return tuple(dict.fromkeys(form for name in names for form in (name, re.sub(r"(?=[A-Z])", "_", name).lower())))


CERTAIN = _spelled(
    *("organizationPhoneId", "organizationPhone", "phoneId", "phoneJid"),
    *("session", "sessionId", "sessionName", "instance", "instanceId", "instanceName"),
    *("ownPhone", "ownNumber", "ownJid", "ownerJid", "myNumber", "myJid", "botNumber", "botPhone"),
)
"""Fields that hold a phone of the backend's own."""
_PERHAPS = _spelled(
    *("phone", "phoneNumber", "account", "accountId", "device", "deviceId", "deviceJid", "connection", "connectionId"),
    *("channel", "channelId", "line", "wid", "waNumber", "whatsapp", "clientId"),
)
"""Fields that do so in one log, and hold customers' numbers in another."""
_IDS = frozenset(name for name in CERTAIN if name.lower().replace("_", "").endswith("phoneid"))
SENT = "✅ Сообщение отправлено:"
_WORDS = ("phone", "session", "instance", "account")

_DIGITS = rb"(?:1\d{10}|[2-9]\d{7,14})(?!\d)"
"""Of numbers that begin with 1 all have eleven digits, and no time has so many."""
_NUMBER = rb"\+?(?P<number>" + _DIGITS + rb")(?::\d{1,5})?(?:@(?:s\.whatsapp\.net|c\.us))?"
_VALUE = re.compile(
    rb'(?:\\{0,6}")?[ ]?:[ ]?(?:(?P<quote>\\{0,7}")' + _NUMBER + rb"(?P=quote)|(?P<bare>" + _DIGITS + rb")(?=[ ,}])"
    rb'|(?P<mark>(?:\\{0,7}")?)(?P<id>\d{1,7})(?P=mark)(?=[ ,}]))'
)
_WHOLE = re.compile(_NUMBER)
_WORD = b"(?i:" + "|".join(_WORDS).encode() + b")"
_BEFORE_WORDS = re.compile(
    rb"(?<!\w)(?:(?P<sent>" + SENT.encode() + rb" )|(?P<open>\[)(?:" + _WORD + rb"[=: ])?|(?P<word>" + _WORD
    + rb")[=:])" + _NUMBER + rb"(?(open)\]|(?=[ \t,;|:-]|$))"
)  # fmt: skip
_FIELDS = re.compile(rb'(?:[\w.-]{1,40}=(?:"[^"\\\n]{0,100}"|[^\s"=]{1,100}) )+$')
_TIME = re.compile(rb'(?:^| )(?:time|ts|timestamp)="?([^\s"]{1,40})')
_TOP = re.compile(
    rb'\{"level":(?:\d+|"\w+"),"time":(?P<time>\d{13}|"[^"\\\n]{20,32}")'
    rb'(?:,"[\w$.-]{1,60}":(?:-?[\d.]{1,30}|true|false|null|"[^"\\\n]*"))*,'
)
"""What stands before a field at the top of a pino line that has simple fields before it."""
_STAMP, _TO_THE_MINUTE = b'"time":', re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_MOST_LATEST, _HEAD = 4096, 400


def _patterns() -> Iterator[tuple[bytes, str]]:
    """What is searched for, and which field it is; nothing for what may stand before a line's words."""
    for name in CERTAIN + _PERHAPS:
        yield from ((f'"{name}{quote}'.encode(), name) for quote in '"\\')
    for word in _WORDS:
        yield from ((f"{case}{sign}".encode(), "") for case in (word, word.title()) for sign in "=:")
    yield from ((f"[{first}".encode(), "") for first in (*range(1, 10), "+", *_WORDS, *map(str.title, _WORDS)))
    yield SENT.encode(), ""


_PATTERNS = tuple(_patterns())
_SEARCH = ahocorasick_rs.BytesAhoCorasick(
    [pattern for pattern, _ in _PATTERNS], matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
)


class Naming:
    """Takes down which phones lines name, by the minute."""

    def __init__(self, found: ScanResult, clock: Clock) -> None:
        self._found, self._clock = found, clock
        self._latest: dict[tuple[Name, ...], bytes] = {}

    def read(self, lines: bytes) -> None:
        """Whole lines, each once."""
        end, start, hits = -1, 0, list[tuple[int, Name]]()
        for pattern, at, behind in _SEARCH.find_matches_as_indexes(lines):
            if at > end:
                if hits:
                    self._line(lines, start, end, hits)
                    hits = []
                start = lines.rfind(b"\n", end + 1, at) + 1 or end + 1
                end = lines.find(b"\n", at)
                end = len(lines) if end < 0 else end
            field = _PATTERNS[pattern][1]
            name = _of_field(field, lines, behind) if field else _of_words(_BEFORE_WORDS.match(lines, at))
            if name is not None:
                hits.append((at, name))
        if hits:
            self._line(lines, start, end, hits)

    def _line(self, lines: bytes, start: int, end: int, hits: list[tuple[int, Name]]) -> None:
        if end - start > LONGEST_NAMING:
            return
        names = tuple([name for _, name in hits])
        minute = _about(lines, start, end)
        if minute and self._latest.get(names) == minute:
            return
        found = self._plain(lines, start, end, hits) or self._dressed(lines[start:end])
        if found is None:
            return
        time, name, is_entry = found
        self._found.name(*name, time)
        self._found.seen = max(self._found.seen, time if is_entry else NO_TIME)
        if len(self._latest) >= _MOST_LATEST:
            self._latest.clear()
        self._latest[names] = minute

    def _plain(self, lines: bytes, start: int, end: int, hits: Iterable[tuple[int, Name]]) -> _Line | None:
        """A pino line that has the phone among its first fields; none where another field may be the right one."""
        brace, last = lines.find(b"{", start, end), end - lines.startswith(b"\r", end - 1)
        if brace < 0 or not lines.endswith(b"}", brace, last) or self._clock.read(lines[start:brace]) == NO_PREFIX:
            return None
        perhaps = None
        for at, name in hits:
            match = _TOP.fullmatch(lines, brace, at)
            if match is None:
                return None
            found = _written(match["time"]), name, True
            if name[0] in CERTAIN:
                return found
            perhaps = perhaps or found
        return perhaps

    def _dressed(self, raw: bytes) -> _Line | None:
        """Any other entry, or a line of the console."""
        line = unwrapped(raw, self._clock)
        if line is None:
            return None
        time, entry, text = line
        if entry is not None:
            name = _of_entry(entry)
            return None if name is None else (time, name, True)
        return self._before_words(text, time)

    def _before_words(self, text: bytes, otherwise: int) -> _Line | None:
        match = _BEFORE_WORDS.search(text[:_HEAD])
        name = _of_words(match)
        if match is None or name is None:
            return None
        before, fields = text[: match.start()], b""
        if (written := _FIELDS.search(before)) is not None:
            before, fields = before[: written.start()], written[0]
        time = self._clock.read(before)
        if time == NO_PREFIX:
            return None
        if time == NO_TIME and (stamp := _TIME.search(fields)):
            time = written_time(stamp[1].decode("utf-8", "replace"))
        return otherwise if time == NO_TIME else time, name, False


def _about(lines: bytes, start: int, end: int) -> bytes:
    """About when a line was written, where that is seen at once; nothing elsewhere."""
    stamp = lines.find(_STAMP, start, end)
    if stamp >= 0:
        digits = lines[stamp + len(_STAMP) : stamp + len(_STAMP) + 13]
        return digits[:8] if digits.isdigit() else b""
    return lines[start : start + 16] if _TO_THE_MINUTE.match(lines, start) else b""


def _of_words(match: "re.Match[bytes] | None") -> Name | None:
    if match is None:
        return None
    return SENT if match["sent"] else (match["word"] or b"[").decode().lower(), match["number"].decode()


def _of_field(field: str, lines: bytes, behind: int) -> Name | None:
    match = _VALUE.match(lines, behind)
    if match is None:
        return None
    if number := match["number"] or match["bare"]:
        return field, number.decode()
    return (field, f"#{int(match['id'])}") if field in _IDS else None


def _of_entry(entry: Mapping[str, Any]) -> Name | None:
    names = [name for field in entry if (name := _of_value(field, entry[field]))]
    return next((name for name in names if name[0] in CERTAIN), next(iter(names), None))


def _of_value(field: str, value: Any) -> Name | None:
    if field not in _FIELD_NAMES or not isinstance(value, str | int) or isinstance(value, bool):
        return None
    text = str(value)
    if match := _WHOLE.fullmatch(text.encode()):
        return field, match["number"].decode()
    return (field, f"#{int(text)}") if field in _IDS and text.isdecimal() and len(text) < 8 else None


_FIELD_NAMES = frozenset(CERTAIN + _PERHAPS)


def _written(time: bytes) -> int:
    return int(time) if time[:1] != b'"' else written_time(time[1:-1].decode())
