"""What a Node backend's logs bring into the history: causes stand before what they bring."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.health.backend_counters import BackendClose, CounterLine, Counters, observe
from wa_sessions.health.events.keys import SessionClosed
from wa_sessions.health.limits import ErrorKind, Limits
from wa_sessions.wording.sentences import sentence

SECOND = datetime(2026, 1, 15, 18, 47, 1, tzinfo=UTC)
BAD_MAC = ErrorKind.BAD_MAC


def at(milliseconds: int) -> datetime:
    return SECOND + timedelta(milliseconds=milliseconds)


def kinds(*lines: CounterLine | BackendClose, before: Counters | None = None) -> list[str]:
    entries = observe(before or Counters(), lines, [], {}, Limits(), None).entries
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries), "commands sort by time"
    return [entry.kind for entry in entries]


@pytest.mark.parametrize("times", list(itertools.product((0, 343), repeat=3)))
def test_an_error_stands_before_its_close_and_that_before_the_reset(times: tuple[int, int, int]) -> None:
    """The backend's error log has milliseconds here and whole seconds there."""
    error, close, reset = map(at, times)
    lines: list[CounterLine | BackendClose] = [
        CounterLine(error, BAD_MAC, 3),
        BackendClose(close, "limit", BAD_MAC, 3),
        CounterLine(reset, BAD_MAC, 0),
    ]
    assert kinds(*lines) == ["error_counted", "session_closed", "counter_reset"]


def test_an_error_of_an_earlier_run_is_a_cause_too() -> None:
    before = Counters(bad_mac=3, last_error_at=at(343), last_error_kind=BAD_MAC, own_lines_at=at(343))
    found = observe(before, [BackendClose(SECOND, "limit", BAD_MAC, 3)], [], {}, Limits(), None)
    assert [entry.at for entry in found.entries] == [at(343)]


def test_what_came_later_stays_later() -> None:
    lines = [CounterLine(at(0), BAD_MAC, 1), CounterLine(at(200), BAD_MAC, 0), CounterLine(at(700), BAD_MAC, 1)]
    assert kinds(*lines) == ["error_counted", "counter_reset", "error_counted"]


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 3)), max_size=12))
def test_the_order_is_that_of_time_and_no_entry_is_lost(told: list[tuple[int, int]]) -> None:
    lines = [CounterLine(at(moment), BAD_MAC, number) for moment, number in sorted(told)]
    found = observe(Counters(), lines, [], {}, Limits(), None)
    times = [entry.at for entry in found.entries]
    assert times == sorted(times)
    assert sum(entry.kind == "error_counted" for entry in found.entries) == sum(number > 0 for _, number in told)


@pytest.mark.parametrize(("read", "told"), [(None, (None, None)), (2, (None, None)), (3, (3, 3)), (5, (5, 5))])
def test_a_close_is_told_with_its_count_only_where_the_last_line_of_it_was_read(
    read: int | None, told: tuple[int | None, int | None]
) -> None:
    """The counter's other lines may stand in the log that was not given."""
    found = observe(Counters(), [BackendClose(SECOND, "limit", BAD_MAC, read)], [], {}, Limits(), None)
    [entry] = found.entries
    assert isinstance(entry.detail, SessionClosed)
    assert (entry.detail.count, entry.detail.limit) == told
    text = sentence(entry.detail)
    assert "?" not in text
    assert ("3 of 3" in text, "at the limit" in text) == (read == 3, True)
