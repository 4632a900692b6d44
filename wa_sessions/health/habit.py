"""How long a phone's backend usually writes no line that names it, and whether it has been silent for longer by now.

A phone that is busy by day and silent at night has a habit for each hour of the day: the longest that it was silent
then in the last seven days. Times are minutes since 1970, in UTC.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

MARGIN = 3
"""Times as long as usual is a silence that tells of something."""
SHORTEST = 15
"""No silence is odd before."""
UNSETTLED = 1_440
"""A phone without a habit that is named now and then may be silent for so long."""
FEWEST, LEAST, RETURNS = 6, 30, 4
"""A habit takes so many minutes with lines, over so long, and over so many times the longest silence."""

NEVER = -1
LONGEST = 2**15 - 1
HOURS = 7 * 24
_HOUR = 60


@dataclass(frozen=True, slots=True)
class Habit:
    """When a phone was named ``first`` and ``last``, and in how many minutes by lines that tell of no trouble.

    ``silences``: for each hour of the week how long it had been silent at most when that hour was last over.
    """

    first: int
    last: int
    lines: int = 0
    silences: tuple[int, ...] = (NEVER,) * HOURS

    @property
    def is_frequent(self) -> bool:
        """Whether lines name it again and again, so that their absence says something."""
        return self.lines >= FEWEST and self.last - self.first >= LEAST


@dataclass(frozen=True, slots=True)
class Silence:
    """How many minutes it ``lasts``, None where nothing was ever heard; ``usual``: the longest at such an hour, if that
    is known.
    """

    lasts: int | None = None
    usual: int | None = None


def heard(habit: Habit | None, lines: Iterable[int], trouble: Iterable[int], now: int) -> Habit | None:
    """Take in the minutes in which lines named the phone.

    What tells of ``trouble`` is a sign of life too, but does not make a habit. What is still to come has come just now.
    """
    if habit is not None and habit.last > now:
        habit = replace(habit, first=habit.first - (habit.last - now), last=now)
    ordinary = {min(minute, now) for minute in lines}
    moments = sorted(ordinary | {min(minute, now) for minute in trouble})
    if not moments:
        return habit
    first, last, count = (habit.first, habit.last, habit.lines) if habit else (moments[0], moments[0] - 1, 0)
    silences = list(habit.silences if habit else (NEVER,) * HOURS)
    for minute in (one for one in moments if one > last):
        if last >= first:
            _learn(silences, last, minute)
        if minute in ordinary:
            first = first if count else minute
            count += 1
        last = minute
    return Habit(first, last, count, tuple(silences))


def unheard(habit: Habit, minutes: int, now: int) -> Habit:
    """The same where nobody could hear the phone in the last ``minutes``: they are no silence of its own."""
    return replace(habit, last=max(habit.last, min(habit.last + minutes, now)))


def usual(habit: Habit, now: int) -> int:
    """The longest silence of the week at this time of day; of the whole week where that is not known yet."""
    return max(0, _usual(habit.silences, now))


def silence(habit: Habit | None, now: int, *, others: bool) -> Silence | None:
    """The silence that leaves open how a phone is, if it does.

    ``others``: lines of the same logs name other phones again and again.
    """
    if habit is None:
        return Silence() if others else None
    if not (others or habit.is_frequent):
        return None
    longest = usual(habit, now)
    settled = habit.is_frequent and habit.last - habit.first >= RETURNS * longest
    lasts = now - habit.last
    if lasts <= max(SHORTEST if settled else UNSETTLED, MARGIN * longest):
        return None
    return Silence(lasts, longest if settled else None)


def _learn(silences: list[int], since: int, until: int) -> None:
    """Put down how long it was silent in each hour. What was never so long by far teaches a part of it, as it may have
    been an outage.
    """
    begins, ends = since // _HOUR, until // _HOUR
    before = tuple(silences) if until - since > MARGIN * SHORTEST else ()
    for hour in range(max(begins, ends - HOURS + 1), ends + 1):
        age = min(until, hour * _HOUR + _HOUR - 1) - since
        if before and (known := _at(before, hour)) != NEVER:
            age = min(age, MARGIN * max(SHORTEST, MARGIN * known))
        slot = hour % HOURS
        silences[slot] = min(max(age, silences[slot]) if hour == begins else age, LONGEST)


def _usual(silences: tuple[int, ...], now: int) -> int:
    known = _at(silences, now // _HOUR)
    return max(silences) if known == NEVER else known


def _at(silences: tuple[int, ...], hour: int) -> int:
    return max(silences[(hour + 24 * day + step) % HOURS] for day in range(7) for step in (-1, 0, 1))
