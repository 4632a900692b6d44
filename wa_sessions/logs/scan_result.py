"""What was found in a log, kept small: half a million failures take a few MB. Times are ms since 1970, or NO_TIME."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

MOST_FORMS = 256
"""Forms in which lines could not be read, beyond which they are not told apart."""

MOST_NAMES = 10_000
"""Names in one field, beyond which they are no phones of a backend's own."""

MOST_PREFIXES = 256
"""Shapes of prefixes that are kept, the latest."""

DUMP = 2**14
"""Bytes that are at most between two keys of one dump."""

NO_MINUTE = -1

_Key = TypeVar("_Key")


class Kind(IntEnum):
    """Why the library failed. ``UNDETERMINED``: the console line beside it would say; ``OTHER``: none of the others."""

    BAD_MAC = 0
    INVALID_PREKEY = 1
    NO_SESSION = 2
    GROUP = 3
    UNDETERMINED = 4
    DUPLICATE = 5
    BAD_DECRYPT = 6
    MISSING_KEY = 7
    OTHER = 8


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

    def since(self, time: int) -> "Counted":
        """Those of that time (ms) and later."""
        young = Counted()
        for row in zip(self.places, self.times, self.numbers, strict=True):
            if row[1] >= time:
                young.add(*row)
        return young

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
class SignalTrace:
    """What libsignal prints for one message: an error and a stack for each session state that it tried."""

    place: int
    time: int
    bad_mac: bool = False
    duplicate: bool = False
    other: bool = False
    sender: bytes = b""

    def add(self, kind: Kind, sender: bytes) -> None:
        """One more stack of it."""
        self.bad_mac |= kind is Kind.BAD_MAC
        self.duplicate |= kind is Kind.DUPLICATE
        self.other |= kind is Kind.OTHER
        self.sender = self.sender or sender

    def differs(self, sender: bytes) -> bool:
        """Whether a stack of this sender is about another message."""
        return bool(self.sender and sender and self.sender != sender)

    @property
    def kind(self) -> Kind | None:
        """Why the message failed; None where no stack says."""
        if self.duplicate:
            return Kind.DUPLICATE
        return Kind.BAD_MAC if self.bad_mac else Kind.OTHER if self.other else None


@dataclass(slots=True)
class Form:
    """Lines of one form that could not be read: how many, and one of them without what is anybody's."""

    lines: int
    example: str


@dataclass(slots=True)
class Keys:
    """Private keys around a seam: a dump has many, up to ``DUMP`` bytes from one to the next.

    ``stray``: where the first one stands of which no beginning is in this part; ``left``: bytes behind the last one.
    Both are -1 where there is none. ``size``: bytes of the part.
    """

    stray: int = -1
    left: int = -1
    size: int = 0

    def join(self, later: "Keys") -> int:
        """Put the next part behind; returns how many dumps that makes more."""
        more = 0
        if later.stray >= 0 and not 0 <= self.left <= DUMP - later.stray:
            if self.size == 0:
                self.stray = later.stray
            else:
                more = 1
        self.left = later.left if later.left >= 0 else self.left + later.size if self.left >= 0 else -1
        self.size += later.size
        return more


@dataclass(slots=True)
class ScanResult:
    """All of a file, or of a part of it that begins and ends between lines.

    ``counters`` are by kind and number, ``resets`` by phone id, ``closes`` by number and reason. ``console`` has what
    libsignal prints, ``failures`` what Baileys logs of messages, ``collected`` of collections, each with its kind.
    ``seen``: when the newest line was written that is the backend's or its library's for certain. ``named``: in which
    minutes lines that need not tell of anything named a phone, by what names it. ``unread``: by form and what stands
    before the words; ``prefixes``: shapes of what stood before lines that were read.
    ``head`` are stacks before the first message of the part, ``open`` the last message, whose stacks may go on in the
    next part.
    """

    events: int = 0
    counters: dict[tuple[Kind, str], Counted] = field(default_factory=dict)
    resets: dict[int, Counted] = field(default_factory=dict)
    closes: dict[tuple[str, str], Counted] = field(default_factory=dict)
    failures: Failures = field(default_factory=Failures)
    console: Failures = field(default_factory=Failures)
    collected: Counted = field(default_factory=Counted)
    secrets: int = 0
    keys: Keys = field(default_factory=Keys)
    unread: dict[tuple[str, bytes], Form] = field(default_factory=dict)
    prefixes: dict[bytes, None] = field(default_factory=dict)
    named: "dict[str, dict[str, array[int]]]" = field(default_factory=dict)
    seen: int = -1
    head: SignalTrace | None = None
    open: SignalTrace | None = None

    @property
    def collections(self) -> Counter[Kind]:
        """Collections that did not sync, by kind."""
        return Counter(map(Kind, self.collected.numbers))

    def newest(self) -> int:
        """The latest time of all that was found; -1 where there is none."""
        named = (*self.counters.values(), *self.resets.values(), *self.closes.values())
        columns = [self.failures.times, self.console.times, self.collected.times, *(rows.times for rows in named)]
        stacks = (one.time for one in (self.head, self.open) if one)
        return max((*(max(times, default=-1) for times in columns), *stacks))

    def close_message(self) -> None:
        """File the last message away: no more of its stacks will come."""
        stacks, self.open = self.open, None
        if stacks is None or stacks.kind is None:
            return
        self.console.add(stacks.sender, stacks.place, stacks.time, 0, stacks.kind)

    def name(self, by: str, whose: str, time: int) -> None:
        """A line of that time names a phone."""
        self._named(by, whose, [NO_MINUTE if time < 0 else time // 60_000])

    def _named(self, by: str, whose: str, minutes: "Sequence[int]") -> None:
        names = self.named.setdefault(by, {})
        if whose not in names and len(names) >= MOST_NAMES:
            return
        mine = names.setdefault(whose, _numbers())
        mine.extend(minutes[1:] if mine and mine[-1] == minutes[0] else minutes)

    def not_read(self, form: str, shape: bytes, example: str, lines: int = 1) -> None:
        """Lines that hold the library's words in a form that is not known; ``shape`` of what stands before them."""
        key = form, shape if len(self.unread) < MOST_FORMS else b""
        self.unread.setdefault(key, Form(0, example)).lines += lines

    def not_understood(self) -> Iterator[tuple[str, Form]]:
        """Those of them that are no text: a line has more before the words than the prefix that others have."""
        for (form, shape), rows in self.unread.items():
            if not any(shape != prefix and shape.startswith(prefix) for prefix in self.prefixes):
                yield form, rows

    def extend(self, later: "ScanResult") -> None:
        """Add the next part of the same file."""
        shift = self.events
        self._join(later, shift)
        _extend(self.counters, later.counters, shift)
        _extend(self.resets, later.resets, shift)
        _extend(self.closes, later.closes, shift)
        self.failures.extend(later.failures, shift)
        self.console.extend(later.console, shift)
        self.collected.extend(later.collected, shift)
        self.secrets += later.secrets + self.keys.join(later.keys)
        for key, rows in later.unread.items():
            self.not_read(*key, rows.example, rows.lines)
        for by, names in later.named.items():
            for whose, minutes in names.items():
                self._named(by, whose, minutes)
        keep_latest(self.prefixes, later.prefixes)
        self.seen = max(self.seen, later.seen)
        self.events += later.events

    def finish(self) -> None:
        """The file ends here, and what came before its first message is one of its own."""
        self.close_message()
        if self.keys.stray >= 0:
            self.secrets, self.keys.stray = self.secrets + 1, -1
        head, self.head = self.head, None
        if head is not None:
            first = ScanResult(open=head)
            first.close_message()
            first.console.extend(self.console, 0)
            self.console = first.console

    def _join(self, later: "ScanResult", shift: int) -> None:
        """Put the stacks on both sides of a seam together."""
        for stacks in (later.head, later.open):
            if stacks is not None:
                stacks.place += shift
        head = later.head
        if head is not None:
            if (before := self.open or self.head) is None:
                self.head = head
            elif before.differs(head.sender):
                self.close_message()
                self.open = head
            else:
                before.bad_mac |= head.bad_mac
                before.duplicate |= head.duplicate
                before.other |= head.other
                before.sender = before.sender or head.sender
        if later.open is not None:
            self.close_message()
            self.open = later.open


def keep_latest(shapes: dict[bytes, None], more: Iterable[bytes]) -> None:
    """Add shapes of prefixes, and let go of the oldest ones where they become too many."""
    for shape in more:
        shapes.pop(shape, None)
        shapes[shape] = None
    for shape in [*shapes][: max(0, len(shapes) - MOST_PREFIXES)]:
        del shapes[shape]


def _extend(mine: dict[_Key, Counted], others: dict[_Key, Counted], shift: int) -> None:
    for name, rows in others.items():
        mine.setdefault(name, Counted()).extend(rows, shift)
