"""A phone that is silent for longer than its own habit is not known to be well; one that keeps to it is."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wa_sessions.health.habit import HOURS, MARGIN, SHORTEST, UNSETTLED, Habit, Silence, heard, silence, unheard, usual

NOW = 29_900_000
DAY, HOUR = 1_440, 60


def regular(gap: int, times: int, end: int = NOW) -> Habit:
    habit = heard(None, range(end - gap * times, end + 1, gap), (), end)
    assert habit is not None
    return habit


def told(habit: Habit | None, now: int, *, others: bool = False) -> Silence | None:
    return silence(habit, now, others=others)


@given(st.integers(1, 400), st.integers(31, 200))
def test_one_that_comes_every_so_often_is_known_until_it_stays_away(gap: int, times: int) -> None:
    assume(gap * times > MARGIN * HOUR)
    habit = regular(gap, times)
    for late in (0, gap // 2, gap):
        assert told(habit, NOW + late) is None
    gone = max(SHORTEST, MARGIN * gap) + 1
    assert told(habit, NOW + gone) is not None


@given(st.lists(st.integers(1, 3 * DAY), min_size=1, max_size=40), st.integers(0, HOURS * HOUR))
def test_none_is_well_for_ever(gaps: list[int], shift: int) -> None:
    """Once lines name it again and again, or others."""
    minutes = [NOW + shift]
    for gap in gaps:
        minutes.append(minutes[-1] + gap)
    habit = heard(None, minutes, (), minutes[-1])
    assert habit is not None
    limit = max(UNSETTLED, MARGIN * max(gaps))
    assert told(habit, habit.last + limit + 1, others=True) is not None
    if habit.is_frequent:
        assert told(habit, habit.last + limit + 1) is not None


@given(st.lists(st.integers(1, 2 * DAY), max_size=30), st.lists(st.integers(0, 30), max_size=8))
def test_heard_by_and_by_it_is_the_same(gaps: list[int], cuts: list[int]) -> None:
    minutes = [NOW]
    for gap in gaps:
        minutes.append(minutes[-1] + gap)
    whole = heard(None, minutes, (), minutes[-1])
    parts: Habit | None = None
    ends = sorted({min(cut, len(minutes)) for cut in cuts} | {0, len(minutes)})
    for begin, end in pairwise(ends):
        parts = heard(parts, minutes[begin:end], (), minutes[end - 1])
    assert parts == whole


@given(st.lists(st.integers(-500, 500), max_size=12), st.integers(-10_000, 10_000))
def test_clocks_may_step(steps: list[int], ahead: int) -> None:
    """Neither a time to come nor one long past makes a phone well for longer, or breaks anything."""
    habit, now = regular(3, 40), NOW
    for step in steps:
        now += step
        habit = heard(habit, [now + ahead], (), now) or habit
        assert habit.last <= now or ahead <= 0
        assert all(-1 <= one < 2**15 for one in habit.silences)
    habit = heard(habit, (), (), now) or habit
    assert habit.last <= now
    assert told(habit, now + UNSETTLED + MARGIN * (10_000 + 500 * 13)) is not None


def test_one_that_sleeps_at_night_is_missed_by_day() -> None:
    minutes = [NOW // DAY * DAY + day * DAY + at for day in range(10) for at in range(9 * HOUR, 21 * HOUR, 4)]
    habit = heard(None, minutes, (), minutes[-1])
    assert habit is not None
    morning = minutes[-1] // DAY * DAY + DAY
    assert [told(habit, morning + at) for at in (0, 5 * HOUR, 9 * HOUR + 10)] == [None] * 3
    by_day = heard(habit, range(morning + 9 * HOUR, morning + 13 * HOUR, 4), (), morning + 13 * HOUR)
    assert told(by_day, morning + 13 * HOUR + 5) is None
    assert told(by_day, morning + 13 * HOUR + 30) == Silence(34, usual=4)


def test_an_outage_teaches_little() -> None:
    """A phone that was away for two days, and is back, is missed soon when it is away again."""
    habit = regular(4, 15 * 24 * 7)
    back = heard(habit, range(NOW + 2 * DAY, NOW + 2 * DAY + 600, 4), (), NOW + 3 * DAY)
    assert back is not None
    assert usual(back, back.last) <= MARGIN * MARGIN * SHORTEST
    assert told(back, back.last + MARGIN * MARGIN * MARGIN * SHORTEST + 1) is not None


def test_a_new_habit_is_learned_within_days() -> None:
    habit = regular(4, 15 * 24 * 7)
    for _ in range(3):
        habit = heard(habit, [habit.last + 600], (), habit.last + 600) or habit
        habit = heard(habit, range(habit.last, habit.last + 840, 4), (), habit.last + 840) or habit
    assert told(habit, habit.last + 599) is None


@pytest.mark.parametrize("others", [True, False])
def test_a_burst_is_no_habit(others: bool) -> None:
    habit = heard(None, range(NOW, NOW + 20), (), NOW + 20)
    assert told(habit, NOW + 5 * HOUR, others=others) is None
    assert (told(habit, NOW + 2 * DAY, others=others) is not None) is others


def test_starts_now_and_then_are_no_habit() -> None:
    """Three deployments in a morning, of a backend whose lines name a phone when it connects."""
    minutes = [NOW + start + at for start in (0, 40, 85) for at in range(3)]
    habit = heard(None, minutes, (), minutes[-1])
    assert told(habit, minutes[-1] + 6 * HOUR, others=True) is None


def test_trouble_is_a_sign_of_life_and_no_habit() -> None:
    troubled = heard(None, (), range(NOW, NOW + 90, 3), NOW + 90)
    assert told(troubled, NOW + 30 * DAY) is None
    assert told(heard(regular(3, 80), (), [NOW + 20], NOW + 30), NOW + 30) is None


def test_no_line_names_it() -> None:
    assert told(None, NOW) is None
    assert told(None, NOW, others=True) == Silence()


@given(st.integers(0, 5 * DAY), st.integers(0, 5 * DAY))
def test_what_nobody_could_hear_is_no_silence(away: int, quiet: int) -> None:
    habit = regular(3, 80)
    now = NOW + quiet + away
    shifted = unheard(habit, away, now)
    assert now - shifted.last == quiet
    assert told(shifted, now) == told(habit, NOW + quiet) or quiet > SHORTEST
