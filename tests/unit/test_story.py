"""The history in words."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from strategies.events import details

from wa_sessions.cli.watch.timeline import shown
from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.connection import Connected
from wa_sessions.health.events.every import Detail, read
from wa_sessions.health.timeline import TimelineEntry
from wa_sessions.wording.sentences import sentence
from wa_sessions.wording.timeline import TimelineLine, timeline_lines

START = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
HISTORIES = st.lists(st.tuples(st.sampled_from(sorted(EventKind)), st.integers(0, 5_000), st.booleans()), max_size=30)


def after(seconds: float, kind: str, undo: str | None = None, **detail: Any) -> TimelineEntry:
    return TimelineEntry(START + timedelta(seconds=seconds), read(kind, detail), undo)


def _taken_from(worker: str, **how: object) -> dict[str, Any]:
    return {"from": worker, **how}


def texts(*entries: TimelineEntry) -> list[str]:
    return [line.text for line in timeline_lines(entries)]


def said(kind: str, detail: Mapping[str, object]) -> str:
    return sentence(read(kind, detail))


def test_every_kind_has_a_sentence_of_its_own() -> None:
    assert len({said(kind, {}) for kind in EventKind}) == len(EventKind)
    assert said("not_yet_known", {}) == "not yet known"


@given(details())
def test_no_detail_breaks_a_sentence(detail: Detail) -> None:
    assert sentence(detail).strip()


@given(HISTORIES)
def test_a_story_leaves_nothing_out_and_never_folds_what_can_be_undone(history: list[tuple[str, int, bool]]) -> None:
    entries, at = [], 0
    for number, (kind, pause, undoable) in enumerate(history):
        at += pause
        entries.append(after(at, kind, f"op-{number}" if undoable else None))
    lines = list(timeline_lines(entries))
    assert sum(line.times for line in lines) == len(entries)
    assert [line.undo for line in lines if line.undo] == [entry.undo for entry in entries if entry.undo]
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert all(line.at <= line.until for line in lines)


def test_what_is_said() -> None:
    error = {"error_kind": "bad_mac", "count": 2, "limit": 3, "sender": "99@lid"}
    assert said("error_counted", error) == "Bad MAC error 2 of 3, from 99@lid: the next one closes the session"
    assert said("message_recovered", {"message_id": "A", "seconds": 1.25}) == (
        "message A recovered after 1.2 s: a later copy decrypted"
    )
    assert said("restored", {"actor": "ops", "keys": 1}) == "undone by ops: 1 key brought back from quarantine"
    assert said("assigned", {"from": "baileys", "to": "neonize"}) == "handed from the Node backend to wa-sessions"
    assert said("banned", {"reason": "banned by WhatsApp until 5"}).endswith("it connects by itself then")
    assert said("banned", {"reason": "banned"}).endswith("it stays down until wa-sessions restart")
    totals = {"connected": [3, None], "message_recovered": [2, 1.5]}
    assert said("history_pruned", {"totals": totals}) == "5 older entries pruned"


def test_runs_of_what_is_alike_are_one_line() -> None:
    pairs = [after(n, f"message_{outcome}") for n in range(12) for outcome in ("pending", "recovered")]
    assert texts(*pairs, after(20, "message_lost")) == ["12 messages did not decrypt at first, 12 recovered, 1 lost"]
    assert texts(*(after(n, "connected" if n % 2 else "disconnected") for n in range(4))) == [
        "the connection is unsteady: connection lost 2 times, connected again 2 times"
    ]
    assert texts(*(after(n, "handler_failed", error="KeyError") for n in range(3))) == [
        "3 times, at last: the message handler failed with KeyError on a message"
    ]
    assert len(texts(*pairs[:2])) == 2
    assert len(texts(*(after(n * 4_000, "message_lost") for n in range(3)))) == 3


def test_a_takeover_is_told_and_is_no_unsteady_connection() -> None:
    taken = [
        after(0, "taken", worker="msg1/1"),
        after(2, "taken", worker="msg2/2", **_taken_from("msg1/1", killed=True)),
        after(4, "taken", worker="msg1/3", **_taken_from("msg2/2", silent_seconds=4.04)),
        after(6, "taken", worker="msg2/4", **{"from": "msg1/3"}),
    ]
    entries = [entry for one in taken for entry in (one, TimelineEntry(one.at + timedelta(seconds=1), Connected()))]
    assert texts(*entries) == [
        *("run by worker msg1/1 from now on", "connected"),
        *("taken over by worker msg2/2 from worker msg1/1, which was killed", "connected"),
        *("taken over by worker msg1/3 from worker msg2/2, of which nothing was heard for 4.0 s", "connected"),
        *("run by worker msg2/4 from now on, after worker msg1/3", "connected"),
    ]


def test_days_gaps_and_undoing_stand_between_the_lines() -> None:
    lines = [
        TimelineLine(START, START, "connected"),
        TimelineLine(START + timedelta(hours=3), START + timedelta(hours=3, minutes=2), "12 messages lost", times=12),
        TimelineLine(START + timedelta(days=1), START + timedelta(days=1), "x " * 50, undo="op-1"),
    ]
    assert list(shown(lines, START + timedelta(days=1, hours=5), 60)) == [
        "Thursday 15 January 2026 (UTC)",
        "  03:00:00  connected",
        "  … quiet for 3 h",
        "  06:00:00  12 messages lost, within 2 min",
        "  … quiet for 20 h",
        "",
        "Friday 16 January 2026 (UTC)",
        "  03:00:00  " + "x " * 23 + "x",
        "            " + "x " * 23 + "x",
        "            x x",
        "            undo: wa-sessions restore op-1",
        "  … quiet since then, for 5 h",
    ]


def test_what_hosts_and_handlers_do_is_told_with_what_became_of_the_message() -> None:
    gone = "its process was killed by SIGKILL"
    for kind, detail, told in (
        ("crashed", {"reason": gone, "down_seconds": 0}, f"{gone}; it tries again"),
        (
            "set_aside",
            {"reason": gone},
            f"{gone}, again and again: it is left alone for half an hour, or until wa-sessions restart",
        ),
        (
            "store_lost",
            {"reason": "the lease was not renewed in time"},
            "the lease was not renewed in time: socket closed, WhatsApp kept the messages",
        ),
        ("fault", {"reason": "a fault of wa-sessions: E: x"}, "a fault of wa-sessions: E: x; the session goes on"),
        (
            "handler_dead",
            {"attempts": 1, "error": "KeyError"},
            "a message was set aside: its handler failed 1 time, at last with KeyError",
        ),
        ("inbox_retried", {"messages": 1, "actor": "ann"}, "1 message in the inbox tried again by ann"),
        ("inbox_dropped", {"messages": 2}, "2 messages in the inbox deleted for good"),
        ("inbox_dropped", {}, "some messages in the inbox deleted for good"),
        ("handler_ended", {"error": "SIGKILL"}, "the message handler's process ended (SIGKILL); another one goes on"),
        (
            "handler_ended",
            {"error": "exit status 3", "message_id": "3EB0"},
            "the message handler's process ended (exit status 3) with message 3EB0 in hand; another one goes on",
        ),
        (
            "handler_unfinished",
            {"waiting": 1},
            "the worker ended with 1 message that the handler had not finished; WhatsApp does not send them again",
        ),
    ):
        assert said(kind, detail) == told
