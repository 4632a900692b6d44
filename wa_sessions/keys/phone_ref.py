"""How an operator names a phone, what a JID says of a number, and numbers that are one account or may be meant."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from wa_sessions.errors import UsageError

SHORTEST, LONGEST = 7, 15
_SEPARATORS = re.compile(r"[\s().\-\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_NATIONAL = re.compile(r"0\d*|8[79]\d{9}")
_PHONE_SERVERS = frozenset({"s.whatsapp.net", "c.us"})
_JID = re.compile(r"(?P<user>\d+)(?:\.\d+)?(?::(?P<device>\d+))?")


_TWO_WAYS = (
    (re.compile(r"55(\d\d)9([6-9]\d{7})"), re.compile(r"55(\d\d)([6-9]\d{7})"), ("55{}9{}", "55{}{}")),
    (re.compile(r"521(\d{10})"), re.compile(r"52(\d{10})"), ("521{}", "52{}")),
    (re.compile(r"549(\d{10})"), re.compile(r"54(\d{10})"), ("549{}", "54{}")),
)
"""Brazil's ninth digit, which accounts of before 2016 do not have, and the mobile digits of Mexico and Argentina."""

LONGEST_COUNTRY_CODE = 3
MOST_OFFERED = 3


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


def spellings(number: str) -> tuple[str, ...]:
    """The digits, and those under which WhatsApp knows the same account.

    >>> spellings("5511987654321"), spellings("77051234567")
    (('5511987654321', '551187654321'), ('77051234567',))
    """
    for long, short, forms in _TWO_WAYS:
        if match := long.fullmatch(number) or short.fullmatch(number):
            both = (form.format(*match.groups()) for form in forms)
            return (number, *(other for other in both if other != number))
    return (number,)


def account_of(number: str) -> str:
    """One word for all spellings of an account: the shortest.

    >>> account_of("5215512345678"), account_of("525512345678")
    ('525512345678', '525512345678')
    """
    return min(spellings(number), key=len)


def same_account(one: str, other: str) -> bool:
    """Whether two numbers are one account.

    >>> same_account("5215512345678", "525512345678"), same_account("77051234567", "77051234568")
    (True, False)
    """
    return one in spellings(other)


def nearest(typed: str, known: Iterable[str]) -> list[str]:
    """The known numbers that may have been meant, the likeliest first.

    That is: one digit is another, missing or too many (as of a trunk ``(0)``), two are exchanged, or the country code
    is missing.

    >>> nearest("770512345678", ["77051234567", "77059999999"])
    ['77051234567']
    """
    found = ((_distance(typed, number), number) for number in dict.fromkeys(known))
    return [number for distance, number in sorted(pair for pair in found if pair[0])][:MOST_OFFERED]


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


def _distance(typed: str, number: str) -> int:
    """1 is near, more is less so; 0 is not near at all."""
    if any(_one_slip(form, typed) for form in spellings(number)):
        return 1
    missing = len(number) - len(typed)
    ends = any(form.endswith(typed) for form in spellings(number))
    return 2 if ends and 0 < missing <= LONGEST_COUNTRY_CODE else 0


def _one_slip(one: str, other: str) -> bool:
    """Whether one digit changed, lost or gained, or two that were exchanged, make one number of the other."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    rest, of_other = one[start:], other[start:]
    if len(rest) == len(of_other):
        return rest[1:] == of_other[1:] or (rest[:2] == of_other[1::-1] and rest[2:] == of_other[2:])
    return rest[1:] == of_other or rest == of_other[1:]
