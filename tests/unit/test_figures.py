"""Availability and the figures of a report: laws over generated histories."""

import itertools
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.health.availability import Change, Seen, Span, seen, spans
from wa_sessions.health.event_kinds import DOWN, ENDS, UNSEEN, UP, EventKind
from wa_sessions.health.statistics import COUNTED, Figures, figures, total, window

START = datetime(2026, 1, 15, tzinfo=UTC)
SECONDS = st.integers(0, 200_000)
CHANGES = st.lists(
    st.tuples(
        SECONDS, st.sampled_from(sorted(map(str, UP | DOWN | UNSEEN))), st.sampled_from("ab"), st.integers(0, 900)
    ),
    max_size=20,
)
Signs = Mapping[Hashable, datetime]
SIGNS = st.dictionaries(st.sampled_from("ab"), SECONDS.map(lambda seconds: at(seconds)))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def history(*told: tuple[int, str, str, int]) -> list[Change]:
    return [Change(at(seconds), EventKind(kind), worker, down) for seconds, kind, worker, down in sorted(told)]


@given(CHANGES, SIGNS, st.lists(SECONDS, min_size=3, max_size=3))
def test_time_up_is_a_part_of_time_observed_and_a_window_cut_in_two_adds_up(
    told: list[tuple[int, str, str, int]], signs: Signs, moments: list[int]
) -> None:
    found = list(spans(history(*told), signs))
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))
    first, middle, last = (at(seconds) for seconds in sorted(moments))
    whole = seen(found, first, last)
    assert 0 <= whole.up <= whole.observed <= (last - first).total_seconds()
    halves = seen(found, first, middle), seen(found, middle, last)
    assert whole == Seen(sum(half.observed for half in halves), sum(half.up for half in halves))


@given(CHANGES, SIGNS, st.integers(60, 40 * 86_400), st.lists(st.tuples(st.sampled_from(COUNTED), st.integers(1, 9))))
def test_the_steps_add_up_to_the_whole(
    told: list[tuple[int, str, str, int]],
    signs: Signs,
    length: int,
    counted: list[tuple[str, int]],
) -> None:
    since = at(1_234).astimezone(timezone(timedelta(hours=5)))
    over = window(since, since + timedelta(seconds=length))
    assert over.since == since
    assert 1 <= len(over.starts) <= 50
    assert all(start < end for start, end in over.steps)
    found = list(spans(history(*told), signs))
    counts = [(n % len(over.starts), kind, number) for n, (kind, number) in enumerate(counted)]
    all_ = total(figures(over, counts, found))
    whole = seen(found, over.since, over.until)
    assert (all_.seconds, all_.observed, all_.up) == pytest.approx((length, whole.observed, whole.up))
    assert sum(all_.times.values()) == sum(number for _, number in counted)
    assert all_.availability is None or 0 <= all_.availability <= 1
    assert 0 <= all_.coverage <= 1


def test_silence_is_neither_up_nor_down() -> None:
    assert list(spans([], {})) == []
    assert Figures(seconds=60).availability is None
    assert Figures(seconds=60).coverage == 0
    assert list(spans(history((0, "connected", "a", 0), (60, "stopped", "a", 0)), {"a": at(900)})) == [
        Span(at(0), at(60), up=True)
    ]


def test_a_worker_that_was_killed_is_believed_up_to_its_last_sign() -> None:
    told = history((0, "connected", "a", 0), (600, "connected", "b", 0))
    assert list(spans(told, {"a": at(100), "b": at(700)})) == [
        Span(at(0), at(100), up=True),
        Span(at(600), at(700), up=True),
    ]
    assert next(spans(told, {})) == Span(at(0), at(0), up=True)


def test_an_outage_that_could_only_be_written_down_afterwards_counts_from_its_beginning() -> None:
    told = history((0, "connected", "a", 0), (100, "store_lost", "a", 30), (101, "store_back", "a", 0))
    found = seen(spans(told, {"a": at(110)}), at(0), at(110))
    assert found == Seen(observed=110, up=70)


def test_steps_begin_at_midnight_of_the_zone() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    until = datetime(2026, 1, 15, 18, tzinfo=zone)
    week = window(until - timedelta(days=7), until)
    assert [start.hour for start in week.starts] == [18, 0, 0, 0, 0, 0, 0, 0]
    assert week.starts[1].day == 9
    assert [len(window(until - length, until).starts) for length in (timedelta(hours=24), timedelta(minutes=30))] == [
        24,
        30,
    ]


def test_every_kind_that_is_counted_or_changes_a_connection_is_one_that_is_written() -> None:
    assert {kind.partition(".")[0] for kind in COUNTED} <= set(EventKind)
    assert {str(kind) for kind in UP | DOWN | UNSEEN} <= set(EventKind)
    assert set(map(str, ENDS)) <= set(EventKind)
