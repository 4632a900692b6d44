"""Texts that strangers made, as they may be stored, logged and shown.

Whoever writes to a phone chooses ids, names and reasons. Cleaned here once, they reach a terminal, a log, a TSV file or
Postgres without control characters, and cannot turn a line around or grow without end.
"""

import hashlib
import re

LIMIT = 200
"""Characters of a cleaned text. WhatsApp's own ids have about 32, JIDs about 40."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_DIGEST = 12  # hexadecimal digits: 48 bits, enough that ids which were cut stay apart

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 with NUL, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # other line ends, and what nobody sees
    "\ud800-\udfff]"  # surrogates: no UTF-8
)


def plain_text(text: str, limit: int = LIMIT) -> str:
    """``text`` in one line of at most ``limit`` characters; what is unsafe becomes U+FFFD, what is cut an ellipsis."""
    cleaned = _UNSAFE.sub(REPLACEMENT, text[: limit + 1])
    return cleaned if len(cleaned) <= limit else f"{cleaned[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def plain_id(text: str, limit: int = LIMIT, *, without: str = "") -> str:
    """The same for what tells things apart: whatever had to change ends in a digest, so that two ids stay two.

    ``without``: further characters that mean something where the id stands.
    """
    cleaned = "".join(REPLACEMENT if char in without else char for char in _UNSAFE.sub(REPLACEMENT, text[:limit]))
    if cleaned == text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{cleaned[: limit - _DIGEST - 1]}~{digest}"
