"""The way from a line of a log to the text within it, so that the lines below are found in the same place."""

import re

from wa_sessions.logs.lines import COLOUR, behind
from wa_sessions.logs.pretty import as_json

Path = tuple[bytes | tuple[str, ...] | None, ...]
"""Steps: a prefix of this shape, the fields of a JSON entry, or None for quotes such as CSV has them."""

QUOTED = re.compile(rb'((?:"[^"\n]{0,200}",|[^"\n,]{0,200},){1,20})".*"')
_ENTRY = re.compile(rb'\{\s{0,8}"')


def follow(raw: bytes, path: Path) -> bytes | None:
    """What stands in a line at the end of a path; None where it does not lead anywhere."""
    for step in path:
        if isinstance(step, bytes):
            match = behind(step)(raw)
            if match is None:
                return None
            raw = raw[match.end() :]
        elif step is None:
            raw = unquoted(raw)
        else:
            value = as_json(raw)
            for name in step:
                value = value.get(name) if isinstance(value, dict) else None
            if not isinstance(value, str):
                return None
            raw = clean(value.encode("utf-8", "replace").removesuffix(b"\n"))
    return raw


def unquoted(raw: bytes) -> bytes:
    """A field of CSV without its quotes."""
    return raw[1:-1].replace(b'""', b'"') if len(raw) > 1 and raw[:1] == raw[-1:] == b'"' else raw


def clean(raw: bytes) -> bytes:
    """A line without colours, the blanks and the end of Windows behind it, and what a broken disk left before it."""
    return COLOUR.sub(b"", raw).removeprefix(b"\xef\xbb\xbf").lstrip(b"\0").rstrip(b" \t\r")


def entry_at(raw: bytes) -> int:
    """Where a JSON entry begins in a line, if it has one; what stands before it may have braces too."""
    match = _ENTRY.search(raw)
    return match.start() if match else raw.find(b"{")
