"""From failures to messages: a message fails on several lines, in two logs, and again when it is retried; it is one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from wa_sessions.logs.scan_result import Failures, Kind, ScanResult
from wa_sessions.logs.times import NO_TIME

TOGETHER = 5_000
"""ms within which the lines of one message stand in two logs."""


_GRAVEST_FIRST = (
    *(Kind.BAD_MAC, Kind.INVALID_PREKEY, Kind.NO_SESSION, Kind.GROUP, Kind.OTHER),
    *(Kind.UNDETERMINED, Kind.DUPLICATE, Kind.BAD_DECRYPT, Kind.MISSING_KEY),
)


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one sender that failed, by kind, and the times of those that were Bad MAC (ms, or None)."""

    kinds: Counter[Kind]
    first: int | None = None
    last: int | None = None


@dataclass(slots=True)
class Rows:
    """One sender's failures, or what the console says of them, in order."""

    times: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)


def of_senders(files: Sequence[ScanResult], since: int = NO_TIME) -> dict[bytes, Messages]:
    """The messages of every sender, by the name under which libsignal files it. ``since``: failed no earlier, in ms."""
    failures = _by_sender([found.failures for found in files])
    console = _by_sender([found.console for found in files])
    none = Rows()
    return {
        sender: _messages(failures.get(sender, none), console.get(sender, none), since)
        for sender in failures.keys() | console.keys()
    }


def classified_failures(files: Sequence[ScanResult]) -> dict[bytes, list[tuple[int, int, int]]]:
    """Each failure of every sender, told why by the console: its time, the message, its kind."""
    console, none = _by_sender([found.console for found in files]), Rows()
    told = {}
    for sender, rows in _by_sender([found.failures for found in files]).items():
        kinds, _ = _told_why(rows, console.get(sender, none))
        told[sender] = list(zip(rows.times, rows.ids, kinds, strict=True))
    return told


@dataclass(slots=True)
class Open:
    """Times of one sender's failures that leave something open: no reason, or no message.

    ``counted``: those that are of the phone that has the sender; ``other``: each message that failed twice for reasons
    that count towards no limit. ``nameless``: failures for such reasons, from the second on, whose message has no id.
    """

    undetermined: list[int] = field(default_factory=list)
    console: list[int] = field(default_factory=list)
    other: list[int] = field(default_factory=list)
    nameless: list[int] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)

    @property
    def all(self) -> list[int]:
        """All of them."""
        return self.undetermined + self.console + self.other + self.nameless + self.counted


def left_open(files: Sequence[ScanResult]) -> dict[bytes, Open]:
    """What is left open of every sender."""
    failures = _by_sender([found.failures for found in files])
    console = _by_sender([found.console for found in files])
    none = Rows()
    return {
        sender: _left_open(failures.get(sender, none), console.get(sender, none))
        for sender in failures.keys() | console.keys()
    }


def _left_open(failed: Rows, console: Rows) -> Open:
    kinds, alone = _told_why(failed, console)
    rows, seen = Open(), Counter[int]()
    for kind, message, time in zip(kinds, failed.ids, failed.times, strict=True):
        if kind == Kind.UNDETERMINED:
            rows.undetermined.append(time)
        elif kind == Kind.BAD_MAC:
            rows.counted.append(time)
        elif kind != Kind.DUPLICATE:
            seen[message] += 1
            if seen[message] == 2:
                rows.other.append(time)
            if message == 0 and seen[message] > 1:
                rows.nameless.append(time)
    rows.console = [console.times[n] for n in sorted(alone) if console.kinds[n] != Kind.DUPLICATE]
    return rows


def told_of_console_alone(files: Sequence[ScanResult]) -> dict[bytes, list[tuple[int, int]]]:
    """Time and kind of what the console alone tells of, by sender."""
    failures, none = _by_sender([found.failures for found in files]), Rows()
    told = {}
    for sender, rows in _by_sender([found.console for found in files]).items():
        _, alone = _told_why(failures.get(sender, none), rows)
        told[sender] = [(rows.times[n], rows.kinds[n]) for n in sorted(alone)]
    return told


def _by_sender(files: Sequence[Failures]) -> dict[bytes, Rows]:
    """In order of time, where several files have a sender and all lines have times."""
    rows: dict[bytes, Rows] = {}
    several: set[bytes] = set()
    for failures in files:
        several |= rows.keys() & failures.names.keys()
        mine = [rows.setdefault(name, Rows()) for name in failures.names]
        columns = (failures.senders, failures.times, failures.ids, failures.kinds)
        for sender, time, message, kind in zip(*columns, strict=True):
            one = mine[sender]
            one.times.append(time)
            one.ids.append(message)
            one.kinds.append(kind)
    for name in several:
        if NO_TIME not in rows[name].times:
            rows[name] = _in_order(rows[name])
    return rows


def _in_order(rows: Rows) -> Rows:
    order = sorted(range(len(rows.times)), key=rows.times.__getitem__)
    return Rows(*([column[n] for n in order] for column in (rows.times, rows.ids, rows.kinds)))


def _messages(failed: Rows, console: Rows, since: int) -> Messages:
    """Count a message once, by its gravest failure; those that the console alone tells of are more."""
    kinds, alone = _told_why(failed, console)
    if since != NO_TIME:
        young = [n for n, time in enumerate(failed.times) if time >= since]
        failed = Rows([failed.times[n] for n in young], [failed.ids[n] for n in young], [])
        kinds, alone = [kinds[n] for n in young], {n for n in alone if console.times[n] >= since}
    counted = _distinct(failed, kinds)
    times = [time for kind, time in zip(kinds, failed.times, strict=True) if kind == Kind.BAD_MAC]
    for n in alone:
        counted[Kind(console.kinds[n])] += 1
        if console.kinds[n] == Kind.BAD_MAC:
            times.append(console.times[n])
    times = [time for time in times if time != NO_TIME]
    return Messages(counted, min(times, default=None), max(times, default=None))


def _told_why(failed: Rows, console: Rows) -> tuple[list[int], set[int]]:
    """The kinds of the failures, as the console's lines tell them; and which of those lines tell of others."""
    kinds = list(failed.kinds)
    waiting = [n for n, kind in enumerate(kinds) if kind == Kind.UNDETERMINED]
    alone = set(range(len(console.kinds)))
    for mine, other in _pairs([failed.times[n] for n in waiting], console.times):
        kinds[waiting[mine]] = console.kinds[other]
        alone.discard(other)
    return kinds, alone


def _distinct(failed: Rows, kinds: list[int]) -> Counter[Kind]:
    if len(set(failed.ids)) == len(failed.ids):
        return Counter(map(Kind, kinds))
    gravest: dict[int, int] = {}
    for message, kind in zip(failed.ids, kinds, strict=True):
        gravest[message] = min(kind, gravest.get(message, kind), key=_GRAVEST_FIRST.index)
    return Counter(map(Kind, gravest.values()))


def _pairs(some: list[int], others: list[int]) -> list[tuple[int, int]]:
    """Which lines of two logs are about the same message: by order, or by time where one log has more."""
    if len(some) == len(others) or NO_TIME in some or NO_TIME in others:
        return list(zip(range(len(some)), range(len(others)), strict=False))
    found, n, m = [], 0, 0
    while n < len(some) and m < len(others):
        if abs(some[n] - others[m]) <= TOGETHER:
            found.append((n, m))
            n, m = n + 1, m + 1
        elif some[n] < others[m]:
            n += 1
        else:
            m += 1
    return found
