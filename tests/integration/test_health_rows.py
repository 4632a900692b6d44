from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from support.history import write_event

from wa_sessions.db import health
from wa_sessions.db.gateway import Connection
from wa_sessions.db.health import HealthRow, MessageRow
from wa_sessions.health.events.detail import UnknownDetail
from wa_sessions.health.events.keys import ErrorCounted
from wa_sessions.health.events.operators import KeysQuarantined
from wa_sessions.health.reconnect import State

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ROW = HealthRow(
    phone_id=7,
    organization_id=1,
    bad_mac_errors=2,
    bad_decrypt_errors=1,
    counted_senders=("99:1@lid", 'quote"@lid'),
    last_error_at=AT,
    last_error_kind="bad_mac",
    messages_recovered=3,
    messages_lost=4,
    state=State.CONNECTED,
    state_detail="as 77051234567:1",
    state_since=AT,
    retry_at=AT + timedelta(hours=1),
    closing="bad_mac",
)
MESSAGE = MessageRow(
    phone_id=7,
    message_id="3EB0",
    sender="99:1@lid",
    chat="99@lid",
    is_group=False,
    cause="bad_mac",
    encryption="msg",
    connection="c1",
    copies=1,
    counted=False,
    sender_worked=False,
    session_mark="0123456789abcdef",
    first_failed_at=AT,
    last_failed_at=AT,
    ended_at=None,
    outcome=None,
)


def test_counters_are_kept_and_replaced(conn: Connection) -> None:
    assert health.load(conn, 7) is None
    health.save(conn, ROW)
    kept = health.load(conn, 7)
    assert kept
    assert kept.updated_at
    assert replace(kept, updated_at=None) == ROW
    cleared = replace(ROW, bad_mac_errors=0, counted_senders=(), last_error_at=None, closing=None, retry_at=None)
    health.save(conn, cleared)
    health.save(conn, replace(ROW, phone_id=8))
    assert {id_: replace(row, updated_at=None) for id_, row in health.load_all(conn).items()} == {
        7: cleared,
        8: replace(ROW, phone_id=8),
    }


def test_messages_are_pending_until_they_end(conn: Connection) -> None:
    later = replace(MESSAGE, message_id="3EB1", first_failed_at=AT + timedelta(seconds=1))
    other = replace(MESSAGE, phone_id=8)
    for message in (later, MESSAGE, other):
        health.save_message(conn, message)
    assert health.pending_messages(conn, 7) == [MESSAGE, later]
    assert health.pending_counts(conn) == {7: 2, 8: 1}
    health.save_message(conn, replace(MESSAGE, copies=2, counted=True))
    assert health.pending_messages(conn, 7)[0].copies == 2
    health.save_message(conn, replace(MESSAGE, outcome="recovered", ended_at=AT))
    assert health.pending_messages(conn, 7) == [later]
    assert health.pending_counts(conn) == {7: 1, 8: 1}


def test_the_history_grows_in_order(conn: Connection) -> None:
    worker = UUID(int=1)
    first = write_event(conn, 7, 1, "error_counted", {"count": 1}, worker_id=worker)
    second = write_event(conn, 7, 1, "session_closed", {}, operation_id="op-1")
    write_event(conn, 8, 1, "error_counted", {})
    found = health.last_events(conn, 7, 10)
    assert [(event.id, event.kind) for event in found] == [(first, "error_counted"), (second, "session_closed")]
    assert (found[0].detail, found[0].stored) == (ErrorCounted(None, 1, None), {"count": 1})
    assert found[0].worker_id == worker
    assert found[0].at.tzinfo
    assert found[1].operation_id == "op-1"
    assert health.last_events(conn, 7, 1) == found[1:]


@pytest.mark.parametrize("text", ["nul \0 byte", "half \udcff surrogate", "plain \u20ac"])
def test_any_text_can_be_part_of_the_history(conn: Connection, text: str) -> None:
    selection = {"text": text, "nested": [{"text": text}], "number": 1, "none": None, "pair": (1, text)}
    health.record_event(conn, 7, 1, KeysQuarantined("clean_sessions", "ann", 1, reason=text, selection=selection))
    stored = health.last_events(conn, 7, 1)[0].stored
    kept = stored["selection"]
    assert kept["number"] == 1
    assert kept["nested"] == [{"text": kept["text"]}]
    assert stored["reason"] == kept["text"]
    assert kept["text"].split()[0] == text.split()[0]


def test_what_another_version_has_written_is_read_as_far_as_it_is_known(conn: Connection) -> None:
    later = {"error_kind": "frozen", "count": "two", "limit": 3, "colour": "red"}
    write_event(conn, 7, 1, "error_counted", later)
    write_event(conn, 7, 1, "dreamt", {"of": ["sheep"]})
    known, unknown = health.last_events(conn, 7, 2)
    assert (known.kind, known.detail, known.stored) == ("error_counted", ErrorCounted(None, None, 3), later)
    assert (unknown.kind, unknown.detail, unknown.stored) == ("dreamt", UnknownDetail("dreamt"), {"of": ["sheep"]})
