"""Which lines are the backend's or its library's for certain, whatever they say: those that pino wrote."""

from collections.abc import Mapping
from typing import Any

from wa_sessions.logs.entries import DEEPEST, line_of, time_of
from wa_sessions.logs.lines import NO_PREFIX, Clock
from wa_sessions.logs.path import clean, entry_at
from wa_sessions.logs.pretty import as_json, title
from wa_sessions.logs.times import NO_TIME

_MOST_LINES = 40


def newest(lines: bytes, clock: Clock) -> int:
    """When the newest of some lines was written that is one of those; NO_TIME where none is, or has a time."""
    times = (_time(clean(raw), clock) for raw in reversed(lines.split(b"\n")[-_MOST_LINES:]))
    return next((time for time in times if time != NO_TIME), NO_TIME)


def _time(raw: bytes, clock: Clock) -> int:
    brace = entry_at(raw)
    if brace >= 0 and raw.endswith(b"}") and (before := clock.read(raw[:brace])) != NO_PREFIX:
        entry = as_json(raw[brace:])
        return _of_entry(entry, before) if isinstance(entry, dict) else NO_TIME
    found = title().search(raw[:400])
    if found is None or (before := clock.read(raw[: found.end()])) == NO_PREFIX:
        return NO_TIME
    return before


def _of_entry(entry: Mapping[str, Any], before: int) -> int:
    for _ in range(DEEPEST):
        before = time_of(entry, before)
        text = line_of(entry)
        if text is not None and isinstance(entry.get("level"), int | str) and ("time" in entry or "timestamp" in entry):
            return before
        inner = as_json(text.strip().encode("utf-8", "replace")) if text and text.lstrip().startswith("{") else None
        if not isinstance(inner, dict):
            return NO_TIME
        entry = inner
    return NO_TIME
