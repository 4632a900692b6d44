"""The limits that are configured for this machine."""

import os

from wa_sessions.errors import UsageError
from wa_sessions.health.limits import Limits

BAD_MAC_VARIABLE = "WA_SESSIONS_MAX_BAD_MAC"
BAD_DECRYPT_VARIABLE = "WA_SESSIONS_MAX_BAD_DECRYPT"


def configured_limits() -> Limits:
    """The limits of the environment, else the defaults. Raises UsageError for what is no number above 0."""
    default = Limits()
    return Limits(_number(BAD_MAC_VARIABLE, default.bad_mac), _number(BAD_DECRYPT_VARIABLE, default.bad_decrypt))


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1000):
        raise UsageError(f"{variable} is {text[:20]!r}: it takes a number from 1 to 999")
    return int(text)
