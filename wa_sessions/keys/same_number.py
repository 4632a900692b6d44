"""Numbers that are written in two ways and are one account at WhatsApp, and numbers that somebody may have meant."""

import re
from collections.abc import Iterable

_TWO_WAYS = (
    (re.compile(r"55(\d\d)9([6-9]\d{7})"), re.compile(r"55(\d\d)([6-9]\d{7})"), ("55{}9{}", "55{}{}")),
    (re.compile(r"521(\d{10})"), re.compile(r"52(\d{10})"), ("521{}", "52{}")),
    (re.compile(r"549(\d{10})"), re.compile(r"54(\d{10})"), ("549{}", "54{}")),
)
"""Brazil's ninth digit, which accounts of before 2016 do not have, and the mobile digits of Mexico and Argentina."""

LONGEST_COUNTRY_CODE = 3
MOST_OFFERED = 3


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
