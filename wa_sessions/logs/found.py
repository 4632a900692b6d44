"""What was found in a log, kept small: half a million failures take a few MB. Times are ms since 1970, or NO_TIME."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

_Key = TypeVar("_Key")


class Kind(IntEnum):
    """Why the library failed, the gravest first; ``UNDETERMINED``: the console line beside it would say."""

    BAD_MAC = 0
    INVALID_PREKEY = 1
    NO_SESSION = 2
    GROUP = 3
    UNDETERMINED = 4
    DUPLICATE = 5
    BAD_DECRYPT = 6
    MISSING_KEY = 7


def _numbers() -> "array[int]":
    return array("q")


@dataclass(slots=True)
class Counted:
    """Lines of one kind about one phone, in order: place among all events of the file, time, and number in it."""

    places: "array[int]" = field(default_factory=_numbers)
    times: "array[int]" = field(default_factory=_numbers)
    numbers: "array[int]" = field(default_factory=_numbers)

    def add(self, place: int, time: int, number: int) -> None:
        """One more line."""
        self.places.append(place)
        self.times.append(time)
        self.numbers.append(number)

    def extend(self, later: "Counted", shift: int) -> None:
        """What a later part of the same file has."""
        self.places.extend([place + shift for place in later.places])
        self.times.extend(later.times)
        self.numbers.extend(later.numbers)


@dataclass(slots=True)
class Failures:
    """Messages that failed, in order, as columns; ``ids`` are 61-bit hashes of the messages' ids (console: 0)."""

    names: dict[bytes, int] = field(default_factory=dict)
    senders: "array[int]" = field(default_factory=_numbers)
    places: "array[int]" = field(default_factory=_numbers)
    times: "array[int]" = field(default_factory=_numbers)
    ids: "array[int]" = field(default_factory=_numbers)
    kinds: bytearray = field(default_factory=bytearray)

    def add(self, sender: bytes, place: int, time: int, message: int, kind: int) -> None:
        """One more failure."""
        self.senders.append(self.names.setdefault(sender, len(self.names)))
        self.places.append(place)
        self.times.append(time)
        self.ids.append(message)
        self.kinds.append(kind)

    def extend(self, later: "Failures", shift: int) -> None:
        """What a later part of the same file has."""
        mine = [self.names.setdefault(name, len(self.names)) for name in later.names]
        self.senders.extend([mine[sender] for sender in later.senders])
        self.places.extend([place + shift for place in later.places])
        self.times.extend(later.times)
        self.ids.extend(later.ids)
        self.kinds.extend(later.kinds)


@dataclass(slots=True)
class Stacks:
    """What libsignal prints for one message: an error and a stack for each session state that it tried."""

    place: int
    time: int
    bad_mac: bool = False
    duplicate: bool = False
    sender: bytes = b""


@dataclass(slots=True)
class Found:
    """All of a file, or of a part of it that begins and ends between lines.

    ``counters`` are by kind and number, ``resets`` by phone id, ``closes`` by number and reason. ``console`` has what
    libsignal prints, ``failures`` what Baileys logs. ``head`` are stacks before the first message of the part, ``open``
    the last message, whose stacks may go on in the next part.
    """

    events: int = 0
    counters: dict[tuple[Kind, str], Counted] = field(default_factory=dict)
    resets: dict[int, Counted] = field(default_factory=dict)
    closes: dict[tuple[str, str], Counted] = field(default_factory=dict)
    failures: Failures = field(default_factory=Failures)
    console: Failures = field(default_factory=Failures)
    collections: Counter[Kind] = field(default_factory=Counter)
    secrets: int = 0
    head: Stacks | None = None
    open: Stacks | None = None

    def close_message(self) -> None:
        """File the last message away: no more of its stacks will come."""
        stacks, self.open = self.open, None
        if stacks is None or not (stacks.bad_mac or stacks.duplicate):
            return
        kind = Kind.DUPLICATE if stacks.duplicate else Kind.BAD_MAC
        self.console.add(stacks.sender, stacks.place, stacks.time, 0, kind)

    def extend(self, later: "Found") -> None:
        """Add the next part of the same file."""
        shift = self.events
        self._join(later, shift)
        _extend(self.counters, later.counters, shift)
        _extend(self.resets, later.resets, shift)
        _extend(self.closes, later.closes, shift)
        self.failures.extend(later.failures, shift)
        self.console.extend(later.console, shift)
        self.collections.update(later.collections)
        self.secrets += later.secrets
        self.events += later.events

    def finish(self) -> None:
        """The file ends here, and what came before its first message is one of its own."""
        self.close_message()
        head, self.head = self.head, None
        if head is not None:
            first = Found(open=head)
            first.close_message()
            first.console.extend(self.console, 0)
            self.console = first.console

    def _join(self, later: "Found", shift: int) -> None:
        """Put the stacks on both sides of a seam together."""
        for stacks in (later.head, later.open):
            if stacks is not None:
                stacks.place += shift
        head = later.head
        if head is not None:
            if (before := self.open or self.head) is None:
                self.head = head
            else:
                before.bad_mac |= head.bad_mac
                before.duplicate |= head.duplicate
                before.sender = before.sender or head.sender
        if later.open is not None:
            self.close_message()
            self.open = later.open


def _extend(mine: dict[_Key, Counted], others: dict[_Key, Counted], shift: int) -> None:
    for name, rows in others.items():
        mine.setdefault(name, Counted()).extend(rows, shift)
