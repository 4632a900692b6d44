"""The pure parts of ``top``: what is shown, in which order, and how it fits."""

import doctest
import importlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support.sample_fleet import WORKER

from wa_sessions.actions.watch.advice import next_step
from wa_sessions.actions.watch.sessions import Session
from wa_sessions.actions.watch.stats import Standing, Watch, judge
from wa_sessions.actions.watch.top import MINUTES, Row
from wa_sessions.cli.watch.stats import NOT_KNOWN
from wa_sessions.cli.watch.top.arrange import Order, arranged
from wa_sessions.cli.watch.top.drawing import GAP, Moment, cells, columns, details, errors_line, headline, summary
from wa_sessions.cli.watch.top.sparkline import BARS, sparkline
from wa_sessions.db.health import HealthRow
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import Phone
from wa_sessions.health.backend_words import connection_type_of, session_state_of, status_of
from wa_sessions.health.limits import Limits

NOW = datetime(2026, 1, 15, 18, 0, tzinfo=UTC)
counts = st.lists(st.integers(0, 50), min_size=MINUTES, max_size=MINUTES).map(tuple)


def row(
    id_: int = 1,
    *,
    organization: int = 1,
    name: str | None = "Reception",
    status: str = "connected",
    connection_type: str = "neonize",
    state: str | None = "connected",
    bad_mac: int = 0,
    bad_decrypt: int = 0,
    errors: tuple[int, ...] = (0,) * MINUTES,
) -> Row:
    """A phone as its worker sees it; without ``state`` there is none."""
    fields: dict[str, Any] = dict.fromkeys(Phone.__dataclass_fields__)
    phone = Phone(
        **fields
        | {
            "id": id_,
            "organization_id": organization,
            "number": f"7701000000{id_}",
            "display_name": name,
            "status": status_of(status),
            "connection_type": connection_type_of(connection_type),
        }
    )
    last = NOW - timedelta(minutes=id_) if bad_mac or bad_decrypt else None
    kind = "bad_decrypt" if bad_decrypt else "bad_mac" if bad_mac else None
    health = HealthRow(
        id_,
        organization,
        bad_mac,
        bad_decrypt,
        (),
        last,
        kind,
        0,
        0,
        session_state_of(state or "connected"),
        None,
        NOW,
        None,
        None,
    )
    owner = WorkerInfo(id_, WORKER, 1, NOW, "msg1", 4711, NOW) if state else None
    stats = judge(phone, Watch(health if state else None, owner), Limits())
    return Row(Session(stats, None if connection_type == "waba" else "whatsmeow", None), errors)


rows = st.lists(
    st.builds(
        row,
        st.integers(1, 99_999),
        organization=st.integers(1, 2_000),
        name=st.none() | st.text(max_size=40),
        status=st.sampled_from(["connected", "logged_out", "disconnected"]) | st.text(max_size=20),
        connection_type=st.sampled_from(["neonize", "baileys", "waba"]),
        state=st.sampled_from([None, "connected", "waiting_for_store", "replaced"]),
        bad_mac=st.integers(0, 3),
        bad_decrypt=st.integers(0, 5),
        errors=counts,
    ),
    max_size=5,
)
FLEET = [
    row(1),
    row(2, bad_mac=1),
    row(3, bad_mac=2, organization=7, name="Склад"),
    row(4, bad_decrypt=3, errors=(0,) * (MINUTES - 1) + (9,)),
    row(5, state=None),
    row(6, state="replaced", status="disconnected"),
    row(7, state=None, connection_type="baileys"),
    row(8, state=None, connection_type="baileys", status="logged_out"),
    row(9, state=None, connection_type="waba", organization=71, name=None),
]


def ids(*, order: Order = Order.PHONE, **asked: Any) -> list[int]:
    return [found.stats.phone_id for found in arranged(FLEET, order, **asked)]


def test_standing() -> None:
    down, unknown = [5, 6, 8], [7, 9]
    assert [one.stats.phone_id for one in FLEET if one.standing is Standing.DOWN] == down
    assert [one.stats.phone_id for one in FLEET if one.standing is Standing.UNKNOWN] == unknown
    assert [one.condition for one in FLEET] == [
        *["connected"] * 4,
        *["no worker", "replaced", "connected", "logged out", "connected"],
    ]


def test_the_worst_first() -> None:
    assert ids(order=Order.HEALTH) == [5, 6, 8, 3, 4, 2, 7, 9, 1]
    assert ids(order=Order.HEALTH, backwards=True)[0] == 1
    assert ids(order=Order.ERRORS)[0] == 4
    assert ids(order=Order.LAST_ERROR)[:3] == [2, 3, 4]
    assert ids(order=Order.STATUS)[-1] == 6
    assert ids(order=Order.NAME)[-1] == 9


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("0005", [5]),
        ("org 7", [3]),
        ("ORG 71", [9]),
        ("СКЛАД critical", [3]),
        ("msg1 warning", [2, 4]),
        ("baileys out", [8]),
        ("nothing like it", []),
    ],
)
def test_words(words: str, found: list[int]) -> None:
    assert ids(words=words) == found


def test_the_unhealthy() -> None:
    assert ids(unhealthy=True) == [2, 3, 4, 5, 6, 8]
    assert ids(unhealthy=True, words="replaced") == [6]


@given(rows, st.sampled_from(Order), st.booleans())
def test_sorting_loses_nothing(fleet: list[Row], order: Order, backwards: bool) -> None:
    found = arranged(fleet, order, backwards=backwards)
    assert sorted(map(id, found)) == sorted(map(id, fleet))
    assert arranged(reversed(fleet), order, backwards=backwards) == found or len({id(one) for one in fleet}) > len(
        {(one.stats.organization_id, one.stats.phone) for one in fleet}
    )


def test_the_key_goes_through_all_orders() -> None:
    order, seen = Order.HEALTH, set()
    for _ in Order:
        order = order.following
        seen.add(order)
    assert (seen, order) == (set(Order), Order.HEALTH)


@given(counts, st.integers(1, 60), st.integers(0, 100))
def test_a_sparkline_is_flat_only_where_nothing_was(errors: tuple[int, ...], width: int, peak: int) -> None:
    bars = sparkline(errors, width, peak)
    assert len(bars) == -(-MINUTES // -(-MINUTES // width))
    assert (set(bars) == {BARS[0]}) == (not any(errors))
    assert (BARS[-1] in bars) or max(errors) < max(peak, 3)


@given(rows, st.integers(80, 240))
def test_a_row_fits_its_terminal(fleet: list[Row], width: int) -> None:
    shown = columns(fleet, width - 1)
    titles = [column.title for column in shown]
    assert [title for title in titles if title not in ("INBOX", "TYPE", "WORKER")] == [
        *("PHONE", "NAME", "STATUS", "HEALTH", "MAC", "DEC", "P/L", "ERR/MIN", "LAST ERR")
    ]
    room = sum(column.width + GAP for column in shown)
    assert room <= width
    for one in fleet:
        drawn = cells(one, shown, Moment(NOW, 9))
        assert [cell_len(text.plain) for text in drawn] == [column.width + GAP for column in shown]


@given(rows, st.integers(60, 240))
def test_a_line_above_the_table_is_as_wide_as_it(fleet: list[Row], width: int) -> None:
    lines = [summary(fleet, NOW, width), errors_line(fleet, "by health", width)]
    lines += [headline(one, NOW, width) for one in fleet]
    assert {cell_len(line.plain) for line in lines} == {width}


def test_the_counters_of_a_phone_that_nobody_observes_are_not_known() -> None:
    assert "Bad MAC 1 of 3, Bad Decrypt 0 of 5" in headline(row(bad_mac=1), NOW, 80).plain
    unseen = headline(row(state=None, connection_type="baileys"), NOW, 80).plain
    assert f"Bad MAC {NOT_KNOWN} of 3, Bad Decrypt {NOT_KNOWN} of 5" in unseen


@given(rows, st.integers(50, 240))
def test_what_to_do_is_seen_whole_and_a_command_stands_on_one_line(fleet: list[Row], width: int) -> None:
    for one in fleet:
        title, *lines = details(one, NOW, width).plain.split("\n")
        assert cell_len(title) <= width, "a name gives way to what is to be done"
        advice = next_step(one.stats) or ""
        assert " ".join(advice.split()) in " ".join(" ".join(lines).split())
        for command in re.findall(r"wa-sessions [^,;:)]+", advice):
            assert any(command.strip() in line for line in lines), (command, lines)


def test_what_waits_for_a_handler_is_seen_at_any_width() -> None:
    late = with_inbox(FLEET[0], 12, 3, 400.0)
    fleet = [late, with_inbox(FLEET[1], 1, 0, 2.0), *FLEET[2:]]
    assert "inbox 13/3 6m" in errors_line(fleet, "by health", 80).plain
    assert "inbox" not in errors_line(FLEET, "by health", 80).plain
    assert "inbox: 12 wait for a handler, the oldest for 6m; 3 set aside" in details(late, NOW, 80).plain
    shown = columns(fleet, 100)
    [at] = [number for number, column in enumerate(shown) if column.title == "INBOX"]
    drawn = [cells(one, shown, Moment(NOW, 9))[at] for one in fleet]
    assert [text.plain.strip() for text in drawn[:3]] == ["12/3 6m", "1 2s", "0"]
    assert [text.spans[0].style for text in drawn[:1]] == ["yellow"]
    assert [one.stats.phone_id for one in arranged(fleet, Order.INBOX)][:2] == [1, 2]


def with_inbox(one: Row, waiting: int, dead: int, oldest: float) -> Row:
    stats = replace(one.stats, inbox_waiting=waiting, inbox_dead=dead, inbox_oldest_seconds=oldest)
    return replace(one, session=replace(one.session, stats=stats))


def test_a_wide_terminal_shows_all() -> None:
    shown = {column.title: column.width for column in columns(FLEET, 160)}
    assert (shown["TYPE"], shown["WORKER"], shown["ERR/MIN"]) == (7, 9, MINUTES)
    assert list(shown)[-1] == "WORKER"


@pytest.mark.parametrize("name", ["drawing", "sparkline"])
def test_examples_in_docstrings(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"wa_sessions.cli.watch.top.{name}"))
    assert (failed, tried > 0) == (0, True)
