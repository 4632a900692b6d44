"""Text of strangers, unable to steer a terminal, a log, a spreadsheet, or a program that reads line by line."""

import re
from collections.abc import Callable, Mapping
from typing import Any

LIMIT = 200
"""Characters of a text that is kept. WhatsApp's own ids have about 32, JIDs about 40."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_DIGEST = 12  # hexadecimal digits: 48 bits, enough that ids which were cut stay apart

_SUSPECT = re.compile(r"[^ -~]")
_SUSPECT_IN_LINES = re.compile(r"[^\n\t -~]")
_SUSPECT_IN_JSON = re.compile(r"[^\n -~]")
_JOINERS = "\u200c\u200d"
_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)


def plain(text: str) -> str:
    """One line of it without control characters, those that turn its direction among them.

    >>> plain("a" + chr(27) + "[2J b")
    'a\ufffd[2J b'
    """
    return _SUSPECT.sub(_harmless, text)


def lines(text: str) -> str:
    """The same for text whose line ends and tabs are our own."""
    return _SUSPECT_IN_LINES.sub(_harmless, text)


def one_line(text: str) -> str:
    """The same with a space for each stretch of white space.

    >>> one_line("gone: a" + chr(10) + "b")
    'gone: a b'
    """
    return plain(" ".join(text.split()))


def plain_text(text: str, limit: int = LIMIT) -> str:
    """One line of at most ``limit`` characters without control characters; what is cut ends in an ellipsis."""
    cleaned = plain(text[: limit + 1])
    return cleaned if len(cleaned) <= limit else f"{cleaned[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def plain_id(text: str, limit: int = LIMIT, *, without: str = "") -> str:
    """The same for what tells things apart: whatever had to change ends in a digest, so that two ids stay two.

    ``without``: further characters that mean something where the id stands.
    """
    cleaned = plain(text[:limit])
    for char in without:
        cleaned = cleaned.replace(char, REPLACEMENT)
    if cleaned == text:
        return text
    import hashlib

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{cleaned[: limit - _DIGEST - 1]}~{digest}"


def cell(value: Any) -> str:
    """A value in a row of TSV; what a spreadsheet would take for a formula begins with an apostrophe.

    >>> cell('=HYPERLINK("http://x")'), cell(-5), cell("-5"), cell({"a": 1})
    ('\\'=HYPERLINK("http://x")', '-5', '-5', 'a=1')
    """
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Mapping():
            text = ",".join(f"{name}={part}" for name, part in value.items())
        case list() | tuple():
            text = ",".join(map(str, value))
        case _:
            text = str(value)
    text = one_line(text)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def as_json(
    data: Any, *, indent: int | None = None, ascii_only: bool = False, default: Callable[[Any], str] | None = None
) -> str:
    r"""JSON in which control characters stand escaped, so that nothing is lost and nothing steers.

    >>> as_json({"name": "café" + chr(0x9b) + "31m"})
    '{"name": "café\\u009b31m"}'
    """
    import json

    text = json.dumps(data, ensure_ascii=ascii_only, indent=indent, default=default)
    return _SUSPECT_IN_JSON.sub(_escaped, text)


def is_text(text: str) -> bool:
    """Whether it can be written at all: bytes of the environment that are no UTF-8 come as what cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def can_be_host(name: str) -> bool:
    """Whether a host can have that name or address.

    >>> can_be_host("db.example"), can_be_host("a..b"), can_be_host("x" * 64)
    (True, False, False)
    """
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False


def _harmless(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() or found[0] in _JOINERS else REPLACEMENT


def _escaped(found: re.Match[str]) -> str:
    import json

    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]
