"""The backend's own counters: how far they went, and what stood in them at the end."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from wa_sessions.logs.found import Counted, Found
from wa_sessions.logs.lines import NO_TIME

MOST_AT_ONCE = 40
"""Lines of one second in several files; of more than these no order is looked for."""
_LAST = 400
_SECOND = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """A counter line (``number``) or a reset (0) of one phone; time in ms."""

    time: int
    file: int
    place: int
    number: int


def last_counter(counters: Sequence[Counted | None], resets: Sequence[Counted | None]) -> int | None:
    """What the counter stood at, from one phone's lines in each file; None where the order of lines is open.

    Within a file lines are in order. Between files they are by their seconds, and within a second in the orders in
    which a counter goes up by one from what it was, or starts again at 1.
    """
    files = [_lines(n, *both) for n, both in enumerate(zip(counters, resets, strict=True))]
    files = [lines for lines in files if lines]
    if not files:
        return 0
    if len(files) == 1:
        return files[0][-1].number
    if any(line.time == NO_TIME for lines in files for line in lines):
        return None
    standing: set[int | None] = {None}
    every = sorted((line for lines in files for line in lines), key=lambda line: line.time // _SECOND)
    for _, group in groupby(every, key=lambda line: line.time // _SECOND):
        standing = _after(list(group), standing)
    return next(iter(standing)) if len(standing) == 1 else None


def phones_of_resets(files: Sequence[Found]) -> dict[int, str]:
    """Which number a phone id is, from the close at a limit that stands right before its reset, where all agree."""
    seen: dict[int, set[str]] = {}
    for found in files:
        closes = sorted(
            (place, time, number)
            for number, rows in found.limits.items()
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


def retried(found: Found) -> dict[int, tuple[int, int]]:
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


def _lines(file: int, counted: Counted | None, resets: Counted | None) -> list[Line]:
    """The end of what one file has."""
    lines = [
        Line(time, file, place, number)
        for rows in (counted, resets)
        if rows is not None
        for place, time, number in zip(rows.places[-_LAST:], rows.times[-_LAST:], rows.numbers[-_LAST:], strict=True)
    ]
    return sorted(lines, key=lambda line: line.place)[-_LAST:]


def _after(lines: list[Line], standing: set[int | None]) -> set[int | None]:
    """What may stand after the lines of one second, by the orders with the fewest numbers out of turn."""
    files = [[line.number for line in group] for _, group in groupby(_by_file(lines), key=lambda line: line.file)]
    if len(files) == 1:
        return {files[0][-1]}
    if len(lines) > MOST_AT_ONCE:
        return {None}
    reached: dict[tuple[tuple[int, ...], int | None], int] = {((0,) * len(files), value): 0 for value in standing}
    for _ in lines:
        further: dict[tuple[tuple[int, ...], int | None], int] = {}
        for (at, value), wrong in reached.items():
            for n, numbers in enumerate(files):
                if at[n] < len(numbers):
                    state = (*at[:n], at[n] + 1, *at[n + 1 :]), numbers[at[n]]
                    cost = wrong + _out_of_turn(value, numbers[at[n]])
                    further[state] = min(cost, further.get(state, cost))
        reached = further
    least = min(reached.values())
    return {value for (_, value), wrong in reached.items() if wrong == least}


def _by_file(lines: list[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (line.file, line.place))


def _out_of_turn(before: int | None, number: int) -> bool:
    return number != 0 and before is not None and number != before + 1
