"""The backend's own counters: how far they went, and what stood in them at the end."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from wa_sessions.logs.scan_result import Counted, ScanResult
from wa_sessions.logs.times import NO_TIME

MOST_AT_ONCE = 40
"""Lines of one second in several files; of more than these no order is looked for."""
AT_A_LIMIT = "Слишком много ошибок"
"""With these words the backend gives a limit as the reason of a close; the kind of error follows."""

_LAST = 400
_SECOND = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """A counter line (``number``) or a reset (0) of one phone; time in ms."""

    time: int
    file: int
    place: int
    number: int


_Reached = dict[tuple[tuple[int, ...], int | None], tuple[int, tuple[Line, ...]]]
"""By how many lines of each file are behind and what the counter stands at: numbers out of turn, and the order."""


def last_counter(counters: Sequence[Counted | None], resets: Sequence[Counted | None]) -> int | None:
    """What the counter stood at, from one phone's lines in each file; None where the order of lines is open.

    Within a file lines are in order. Between files they are by their seconds, and within a second in the orders in
    which a counter goes up by one from what it was, or starts again at 1.
    """
    files = _files(counters, resets, _LAST)
    if not files:
        return 0
    if len(files) == 1:
        return files[0][-1].number
    if _without_times(files):
        return None
    standing: set[int | None] = {None}
    for second in _seconds(files):
        standing = set(_orders(second, standing))
    return next(iter(standing)) if len(standing) == 1 else None


def in_order(counters: Sequence[Counted | None], resets: Sequence[Counted | None], standing: int) -> list[Line]:
    """All of one phone's lines, by the rule of ``last_counter``, after what the counter stood at.

    Where the order is open, it is one of those after which the counter is highest.
    """
    files = _files(counters, resets, None)
    if len(files) < 2 or _without_times(files):
        return [line for lines in sorted(files, key=lambda lines: lines[-1].number) for line in lines]
    every: list[Line] = []
    for second in _seconds(files):
        orders = _orders(second, {every[-1].number if every else standing})
        every += orders[max(orders, key=lambda number: -1 if number is None else number)]
    return every


def phones_of_resets(files: Sequence[ScanResult]) -> dict[int, str]:
    """Which number a phone id is, from the close at a limit that stands right before its reset, where all agree."""
    seen: dict[int, set[str]] = {}
    for found in files:
        closes = sorted(
            (place, time, number)
            for (number, reason), rows in found.closes.items()
            if reason.startswith(AT_A_LIMIT)
            for place, time in zip(rows.places, rows.times, strict=True)
        )
        places = [place for place, _, _ in closes]
        for phone_id, rows in found.resets.items():
            for place, time in zip(rows.places, rows.times, strict=True):
                n = bisect_left(places, place) - 1
                if n >= 0 and places[n] == place - 1 and abs(closes[n][1] - time) < 2 * _SECOND:
                    seen.setdefault(phone_id, set()).add(closes[n][2])
    sure = {phone_id: next(iter(numbers)) for phone_id, numbers in seen.items() if len(numbers) == 1}
    return {phone_id: number for phone_id, number in sure.items() if list(sure.values()).count(number) == 1}


def retried(found: ScanResult) -> dict[int, tuple[int, int]]:
    """Time and message of failures of messages that failed more than once, by place."""
    rows = found.failures
    often = {message for message, count in Counter(rows.ids).items() if count > 1}
    return {
        place: (time, message)
        for place, time, message in zip(rows.places, rows.times, rows.ids, strict=True)
        if message in often
    }


def counted_messages(counted: Counted, again: Mapping[int, tuple[int, int]]) -> int:
    """How many messages a phone's counter lines are about: those right after failures of one message are one."""
    known: set[int] = set()
    unknown = 0
    for place, time in zip(counted.places, counted.times, strict=True):
        before, message = again.get(place - 1, (NO_TIME, 0))
        if message and abs(before - time) < 2 * _SECOND:
            known.add(message)
        else:
            unknown += 1
    return len(known) + unknown


def _files(counters: Sequence[Counted | None], resets: Sequence[Counted | None], last: int | None) -> list[list[Line]]:
    """The lines of each file that has any; only so many of its ``last``."""
    files = [_lines(n, both, last) for n, both in enumerate(zip(counters, resets, strict=True))]
    return [lines for lines in files if lines]


def _lines(file: int, both: tuple[Counted | None, ...], last: int | None) -> list[Line]:
    begin = -last if last else 0
    lines = [
        Line(time, file, place, number)
        for rows in both
        if rows is not None
        for place, time, number in zip(rows.places[begin:], rows.times[begin:], rows.numbers[begin:], strict=True)
    ]
    return sorted(lines, key=lambda line: line.place)[begin:]


def _without_times(files: list[list[Line]]) -> bool:
    return any(line.time == NO_TIME for lines in files for line in lines)


def _seconds(files: list[list[Line]]) -> Iterator[list[list[Line]]]:
    """The lines of each second, by file."""
    every = sorted((line for lines in files for line in lines), key=lambda line: (line.time // _SECOND, line.file))
    for _, second in groupby(every, key=lambda line: line.time // _SECOND):
        yield [list(lines) for _, lines in groupby(second, key=lambda line: line.file)]


def _orders(files: list[list[Line]], standing: set[int | None]) -> dict[int | None, list[Line]]:
    """The orders of one second's lines with the fewest numbers out of turn: one for each number that may be last."""
    if len(files) == 1:
        return {files[0][-1].number: files[0]}
    if sum(map(len, files)) > MOST_AT_ONCE:
        return {None: [line for lines in files for line in lines]}
    reached: _Reached = {((0,) * len(files), value): (0, ()) for value in standing}
    for _ in range(sum(map(len, files))):
        further: _Reached = {}
        for (at, value), (wrong, order) in reached.items():
            for n, lines in enumerate(files):
                if at[n] < len(lines):
                    line = lines[at[n]]
                    state = (*at[:n], at[n] + 1, *at[n + 1 :]), line.number
                    cost = wrong + _out_of_turn(value, line.number)
                    if state not in further or cost < further[state][0]:
                        further[state] = cost, (*order, line)
        reached = further
    least = min(wrong for wrong, _ in reached.values())
    return {value: list(order) for (_, value), (wrong, order) in reached.items() if wrong == least}


def _out_of_turn(before: int | None, number: int) -> bool:
    return number != 0 and before is not None and number != before + 1
