"""PURE: when the lines of logs named each phone, and which numbers they name that no phone has."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from wa_sessions.db.phones import Phone
from wa_sessions.logs.naming import CERTAIN, SENT
from wa_sessions.logs.numbers import registered
from wa_sessions.logs.scan_result import ScanResult
from wa_sessions.logs.times import NO_TIME

MOST_STRANGERS = 100
_FARTHEST_EAST = 14 * 60


@dataclass(slots=True)
class Heard:
    """Minutes in which lines named a phone: those that need not tell of anything, and those of ``trouble``.

    ``untimed``: whether one of them does not say when it was written.
    """

    lines: set[int] = field(default_factory=set)
    trouble: set[int] = field(default_factory=set)
    untimed: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """Whom logs name: phones, by id, and ``strangers``, which are in no row."""

    phones: Mapping[int, Heard]
    strangers: tuple[str, ...]

    def of(self, phone: Phone) -> Heard:
        """When lines named a phone."""
        return self.phones.get(phone.id, Heard())


def names_in(
    files: Sequence[ScanResult],
    untimed: Sequence[datetime],
    listed: Sequence[Phone],
    everybody: Sequence[Phone],
    at: datetime,
) -> Names:
    """Find the phones that are meant. ``untimed``: when lines without a time were written, in each file.

    Where a field that may hold customers' numbers holds more of those than of phones, it names none.
    """
    ids = {phone.id for phone in everybody}
    known = {phone.number for phone in everybody}
    whose, now = _Whose(listed), _minute(at.timestamp())
    heard, strangers = defaultdict[int, Heard](Heard), set[str]()
    for found, moment in zip(files, untimed, strict=True):
        otherwise = _minute(moment.timestamp())
        for by, names in found.named.items():
            foreign = {name for name in names if not _is_known(name, ids, known)}
            if by not in _CERTAIN and 2 * len(foreign) > len(names):
                continue
            strangers |= foreign
            ahead = _ahead(names.values(), now)
            for name, minutes in names.items():
                for phone_id in whose.phone(name, known):
                    _add(heard[phone_id], heard[phone_id].lines, minutes, otherwise, ahead)
        for name, times in _trouble(found):
            if not _is_known(name, ids, known):
                strangers.add(name)
            for phone_id in whose.phone(name, known):
                _add(heard[phone_id], heard[phone_id].trouble, map(_minute_of, times), otherwise)
    return Names(heard, tuple(sorted(strangers)[:MOST_STRANGERS]))


_CERTAIN = frozenset((*CERTAIN, SENT))


class _Whose:
    """Phones by what names them; a number that two have names neither."""

    def __init__(self, listed: Sequence[Phone]) -> None:
        self._ids = {phone.id for phone in listed}
        self._numbers = defaultdict[str, list[int]](list)
        for phone in listed:
            self._numbers[phone.number].append(phone.id)

    def phone(self, name: str, known: Collection[str]) -> list[int]:
        if name.startswith("#"):
            return [int(name[1:])] if int(name[1:]) in self._ids else []
        found = self._numbers.get(registered(name, known), [])
        return found if len(found) == 1 else []


def _is_known(name: str, ids: Collection[int], known: Collection[str]) -> bool:
    return int(name[1:]) in ids if name.startswith("#") else registered(name, known) in known


def _trouble(found: ScanResult) -> Iterator[tuple[str, Iterable[int]]]:
    """The backend's own lines of counters, closes and resets, by whom they name."""
    yield from ((number, rows.times) for (_, number), rows in found.counters.items())
    yield from ((number, rows.times) for (number, _), rows in found.closes.items())
    yield from ((f"#{phone_id}", rows.times) for phone_id, rows in found.resets.items())


def _add(heard: Heard, minutes: set[int], more: Iterable[int], otherwise: int, ahead: int = 0) -> None:
    for minute in more:
        heard.untimed |= minute == NO_TIME
        minutes.add(otherwise if minute == NO_TIME else minute - ahead)


def _ahead(minutes: Iterable[Sequence[int]], now: int) -> int:
    """By how much the times of some lines are ahead, as those of a zone in the east are where they do not name it."""
    ahead = max(map(max, minutes)) - now
    return ahead if 0 < ahead <= _FARTHEST_EAST else 0


def _minute_of(time: int) -> int:
    return NO_TIME if time == NO_TIME else time // 60_000


def _minute(seconds: float) -> int:
    return int(seconds // 60)
