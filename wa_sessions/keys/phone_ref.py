"""How an operator names a phone, and what a WhatsApp JID says about a number."""

import re
import unicodedata
from dataclasses import dataclass

from wa_sessions.errors import UsageError

SHORTEST, LONGEST = 7, 15
_SEPARATORS = re.compile(r"[\s().\-\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_NATIONAL = re.compile(r"0\d*|8[79]\d{9}")
_PHONE_SERVERS = frozenset({"s.whatsapp.net", "c.us"})
_JID = re.compile(r"(?P<user>\d+)(?:\.\d+)?(?::(?P<device>\d+))?")


@dataclass(frozen=True, slots=True)
class PhoneRef:
    """A phone as it was typed: by number (``digits``) or by row (``phone_id``); exactly one of them is set."""

    digits: str | None = None
    phone_id: int | None = None

    def __str__(self) -> str:
        return self.digits if self.digits is not None else f"#{self.phone_id}"


def parse_phone(text: str) -> PhoneRef:
    """Read ``+7 705 123-45-67``, ``77051234567:27@s.whatsapp.net`` or ``#12``; raises UsageError."""
    word = text.strip()
    if word.startswith("#"):
        return PhoneRef(phone_id=_row_id(word))
    if "@" in word:
        return PhoneRef(digits=_digits_of_jid(word))
    return PhoneRef(digits=_international(word))


def number_of(jid: str) -> str:
    """The digits before device and server.

    >>> number_of("77051234567:27@s.whatsapp.net")
    '77051234567'
    """
    return re.split(r"[@:.]", jid, maxsplit=1)[0]


def device_of(jid: str) -> int | None:
    """The device number of a JID, None where it names none.

    >>> device_of("77051234567:27@s.whatsapp.net")
    27
    """
    match = _JID.fullmatch(jid.partition("@")[0])
    return int(match["device"]) if match and match["device"] else None


def _row_id(word: str) -> int:
    digits = word[1:].strip()
    if not re.fullmatch(r"[0-9]{1,18}", digits):
        raise UsageError(f"{word[:40]!r} is no phone id: write # and a number, as in #12")
    return int(digits)


def _digits_of_jid(word: str) -> str:
    user, _, server = word.partition("@")
    if server.lower() not in _PHONE_SERVERS:
        raise UsageError(f"{word[:60]!r} is no phone's JID: those end in @s.whatsapp.net")
    match = _JID.fullmatch(_ascii(user))
    if match is None:
        raise UsageError(f"{word[:60]!r} is no phone's JID: write it as in 77051234567:27@s.whatsapp.net")
    return _checked(match["user"], word)


def _international(word: str) -> str:
    digits = _SEPARATORS.sub("", _ascii(word))
    plus = digits.startswith(("+", "00"))
    digits = digits.removeprefix("+") if digits.startswith("+") else digits.removeprefix("00")
    if not plus and re.fullmatch(_NATIONAL, digits):
        raise UsageError(
            f"{word[:40]!r} is a national spelling: write the number with its country code, as in +7 705 123-45-67"
        )
    return _checked(digits, word)


def _checked(digits: str, word: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*", digits):
        raise UsageError(f"{word[:40]!r} is no phone: write a number, a JID or #id, as in +7 705 123-45-67")
    if not SHORTEST <= len(digits) <= LONGEST:
        raise UsageError(f"{word[:40]!r} has {len(digits)} digits; a phone number has {SHORTEST} to {LONGEST}")
    return digits


def _ascii(word: str) -> str:
    """Digits of any script, and the wide plus, as ASCII."""
    plain = word.replace("\uff0b", "+")
    return "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in plain)
