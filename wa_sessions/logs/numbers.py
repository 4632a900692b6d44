"""The numbers in the backend's lines: an account that WhatsApp knows by two spellings is the phone that has either."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from wa_sessions.keys.phone_ref import spellings
from wa_sessions.logs.scan_result import Counted, Kind, ScanResult

_Key = TypeVar("_Key")


def as_registered(files: Sequence[ScanResult], known: Collection[str]) -> None:
    """Put what is said of a number that no phone has under the one phone that has its other spelling."""

    def counted(key: tuple[Kind, str]) -> tuple[Kind, str]:
        return key[0], registered(key[1], known)

    def closed(key: tuple[str, str]) -> tuple[str, str]:
        return registered(key[0], known), key[1]

    for found in files:
        found.counters = _renamed(found.counters, counted)
        found.closes = _renamed(found.closes, closed)


def registered(number: str, known: Collection[str]) -> str:
    """The spelling under which an account is a phone; the number itself where it is none."""
    return next((one for one in spellings(number) if one in known), number)


def _renamed(rows: dict[_Key, Counted], name: Callable[[_Key], _Key]) -> dict[_Key, Counted]:
    joined: dict[_Key, list[Counted]] = {}
    for key, one in rows.items():
        joined.setdefault(name(key), []).append(one)
    return {key: same[0] if len(same) == 1 else _in_order(same) for key, same in joined.items()}


def _in_order(rows: Sequence[Counted]) -> Counted:
    whole = Counted()
    for row in sorted(_lines(rows)):
        whole.add(*row)
    return whole


def _lines(rows: Sequence[Counted]) -> Iterator[tuple[int, int, int]]:
    for one in rows:
        yield from zip(one.places, one.times, one.numbers, strict=True)
