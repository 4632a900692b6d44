"""Which lines are the backend's or its library's for certain, whatever they say: those that pino wrote."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wa_sessions.logs.entries import DEEPEST, is_message, is_of_a_log, line_of, time_of
from wa_sessions.logs.lines import NO_PREFIX, Clock
from wa_sessions.logs.path import clean, entry_at
from wa_sessions.logs.pretty import as_json, title
from wa_sessions.logs.times import NO_TIME

if TYPE_CHECKING:
    import re

_MOST_LINES = 40


def newest(lines: bytes, clock: Clock) -> int:
    """When the newest of some lines was written that is one of those; NO_TIME where none is, or has a time."""
    times = (_time(clean(raw), clock) for raw in reversed(lines.split(b"\n")[-_MOST_LINES:]))
    return next((time for time in times if time != NO_TIME), NO_TIME)


def unwrapped(
    raw: bytes, clock: Clock, time: int = NO_TIME, depth: int = DEEPEST
) -> tuple[int, Mapping[str, Any] | None, bytes] | None:
    """A line's time with the backend's entry in it, or with its text; None for anything else that a wrapper holds."""
    raw = clean(raw)
    brace = entry_at(raw)
    before = clock.read(raw[:brace]) if brace >= 0 and raw.endswith(b"}") else NO_PREFIX
    entry = as_json(raw[brace:]) if before != NO_PREFIX else None
    if not isinstance(entry, dict):
        return time, None, raw
    time, text = time_of(entry, time if before == NO_TIME else before), line_of(entry)
    if text is None:
        return None
    if isinstance(entry.get("level"), int | str) and ("time" in entry or "timestamp" in entry):
        return time, entry, b""
    holder = next(name for name, value in entry.items() if value is text)
    if not depth or is_message(entry) or not is_of_a_log(entry, holder, time):
        return None
    return unwrapped(text.encode("utf-8", "replace").rstrip(b"\n"), clock, time, depth - 1)


def _time(raw: bytes, clock: Clock) -> int:
    line = unwrapped(raw, clock)
    if line is not None and line[1] is not None:
        return line[0]
    found = title().search(raw[:400])
    if found is None or not _is_pinos(found) or (before := clock.read(raw[: found.end()])) == NO_PREFIX:
        return NO_TIME
    return before


def _is_pinos(title: "re.Match[bytes]") -> bool:
    """Whether it is pino-pretty's for certain, as ``[18:47:01.343] ERROR (7):``; ``Error:`` may be anybody's."""
    return title["level"].isupper() and (title[0].startswith(b"[") or b"(" in title[0])
