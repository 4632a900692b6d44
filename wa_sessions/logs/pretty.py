"""Entries that stand on several lines: pino-pretty's fields below their line, and JSON that somebody laid out."""

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from wa_sessions.logs.lines import LEVEL
from wa_sessions.logs.times import STAMP

MOST_LINES = 400
_TITLE = (
    rb"(?:(?:\["
    + STAMP
    + rb"\]|"
    + STAMP
    + rb")[ \t]{1,4})?(?P<level>(?i:"
    + LEVEL
    + rb"))(?: ?\([^()\n]{1,80}\))?:[ \t]{1,4}"
)

MIXED_IN = re.compile(rb"[A-Za-z0-9_.:@/ -]{1,80} - $")
"""What a mixin of the backend's puts before Baileys' words, as ``session:s1 - ``."""

_FIELD = re.compile(rb"(?: {4}|\t)([\w.$-]{1,60}): ?(.*)")
_MESSAGE = re.compile(rb'^ {6}"message": ("(?:[^"\\\n]|\\.){0,2000}")', re.MULTILINE)


@cache
def title() -> "re.Pattern[bytes]":
    """What pino-pretty writes before an entry's own words."""
    return re.compile(_TITLE)


def fields(block: Sequence[bytes]) -> dict[str, Any]:
    """The fields of an entry, from the lines below it."""
    found: dict[str, Any] = {}
    name, value = "", list[bytes]()
    for line in block:
        match = _FIELD.fullmatch(line) if not line.startswith(b"     ") else None
        if match:
            if name:
                found[name] = _value(value)
            name, value = match[1].decode("latin-1"), [match[2]]
        else:
            value.append(line)
    if name:
        found[name] = _value(value)
    return found


def _value(lines: list[bytes]) -> Any:
    text = b"\n".join(lines)
    if (value := as_json(text)) is not None:
        return value
    if lines[0] != b"{":
        return text.decode("utf-8", "replace")
    message = _MESSAGE.search(text)
    return {
        "message": as_json(message[1]) if message else "",
        "stack": text.decode("utf-8", "replace"),
    }


def as_json(text: bytes) -> Any:
    """JSON, or None."""
    try:
        return json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
