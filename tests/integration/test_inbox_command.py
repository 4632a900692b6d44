"""``inbox``, ``inbox retry``, ``inbox drop``; what stands in the inbox as stats, check, metrics and a backup see it."""

import gzip
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.inboxes import NUMBERS, phones_of

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.move import backup_contents
from wa_sessions.actions.sessions.inbox import drop_inbox, list_inbox, plan_drop
from wa_sessions.actions.watch.check import check
from wa_sessions.actions.watch.metrics import snapshot, text
from wa_sessions.actions.watch.stats import session_stats
from wa_sessions.db import backend, inbox
from wa_sessions.db.gateway import Database
from wa_sessions.db.inbox import Failure, InboxMessage, RowKey
from wa_sessions.errors import Conflict
from wa_sessions.health.checking import Thresholds, Verdict
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.wording.verdicts import reason

SECRET = "a very private text"


@pytest.fixture
def opened(database: Database) -> Opened:
    with database.transaction() as conn:
        return Opened(database, backend.detect(conn))


@pytest.fixture
def filled(database: Database) -> dict[str, int]:
    """Two messages of the first phone, one of them set aside, and one of the second."""
    first, second = phones_of(database)
    message = InboxMessage(
        first.id, "a@lid", "s@lid", "ID1", None, False, False, 1, "conversation", SECRET, SECRET.encode()
    )
    with database.transaction() as conn:
        ids = inbox.write(conn, [message, replace(message, message_id="ID2", chat="b@lid")])
        inbox.write(conn, [replace(message, phone_id=second.id, message_id="ID3")])
        key = RowKey(first.id, "a@lid", ids[message.identity])
        inbox.fail(conn, [Failure(key, "ID1", 5, "ValueError", 0.0, dead=True)])
        conn.execute("UPDATE wa_sessions.inbox SET received_at = clock_timestamp() - interval '6 minutes'")
    return {first.number: first.id, second.number: second.id}


def test_it_is_listed_without_a_text(fleet: Fleet, filled: dict[str, int]) -> None:
    everything = fleet.json("inbox")
    assert (everything["waiting"], everything["dead"]) == (2, 1)
    assert [row["message_id"] for row in everything["messages"]] == ["ID1", "ID2", "ID3"]
    assert everything["oldest_seconds"] >= 360
    [dead] = fleet.json("inbox", NUMBERS[0], "--dead")["messages"]
    assert (dead["error"], dead["attempts"], dead["phone"]) == ("ValueError", 5, NUMBERS[0])
    assert dead["dead_at"]
    for output in ("table", "tsv", "json"):
        shown = fleet("inbox", "list", NUMBERS[0], "-o", output).out
        assert "ID1" in shown
        assert SECRET not in shown


def test_the_table_fits_80_columns_and_keeps_what_chat_and_id_need(
    fleet: Fleet, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = phones_of(database)[0]
    chat, kind = "77050000001@s.whatsapp.net", "extendedTextMessage"
    message = InboxMessage(first.id, chat, "s@lid", "ABCDEF12", None, False, False, 1, kind, "", b"")
    with database.transaction() as conn:
        ids = inbox.write(conn, [message, replace(message, message_id="ABCDEF13")])
        key = RowKey(first.id, chat, ids[message.identity])
        inbox.fail(conn, [Failure(key, "ABCDEF12", 1, "json.decoder.JSONDecodeError", 600.0, dead=False)])
    monkeypatch.setenv("COLUMNS", "80")
    header, *rows, _ = fleet("inbox").out.splitlines()
    assert max(map(len, (header, *rows))) <= 80
    assert "KIND" not in header
    assert all(chat in row for row in rows)
    assert [message_id in row for row, message_id in zip(rows, ("ABCDEF12", "ABCDEF13"), strict=True)] == [True, True]
    monkeypatch.setenv("COLUMNS", "160")
    wide = fleet("inbox").out
    assert kind in wide
    assert "json.decoder.JSONDecodeError" in wide


def test_80_columns_have_room_for_why_messages_of_a_phone_were_set_aside(
    fleet: Fleet, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = phones_of(database)[0]
    chat, id_ = "77050000001@s.whatsapp.net", "3EB0C431C26A1916E07E"
    message = InboxMessage(first.id, chat, "s@lid", id_, None, False, False, 1, "extendedTextMessage", "", b"")
    with database.transaction() as conn:
        ids = inbox.write(conn, [message])
        inbox.fail(conn, [Failure(RowKey(first.id, chat, ids[message.identity]), id_, 5, "ValueError", 0.0, dead=True)])
    monkeypatch.setenv("COLUMNS", "80")
    header, row, _ = fleet("inbox", NUMBERS[0], "--dead").out.splitlines()
    assert header.split() == ["CAME", "CHAT", "MESSAGE", "TRIED", "ERROR"]
    assert row.split()[-4:] == [chat, id_, "5", "ValueError"]
    assert len(row) <= 80


def test_a_next_attempt_that_is_due_in_a_moment_is_not_said_to_have_been(
    fleet: Fleet, database: Database, filled: dict[str, int]
) -> None:
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.inbox SET next_at = clock_timestamp() + interval '1.9 s', dead_at = NULL")
    _, row, _ = fleet("inbox", NUMBERS[1]).out.splitlines()
    assert row.split()[-2:] == ["now", "conversation"]


def test_what_waits_for_an_earlier_one_is_not_said_to_come_now(
    fleet: Fleet, database: Database, filled: dict[str, int]
) -> None:
    first = filled[NUMBERS[0]]
    message = InboxMessage(first, "b@lid", "s@lid", "ID4", None, False, False, 1, "conversation", "", b"")
    with database.transaction() as conn:
        inbox.write(conn, [message, replace(message, message_id="ID5", chat="a@lid")])
    told = {row["message_id"]: row["behind"] for row in fleet.json("inbox")["messages"]}
    assert told == {"ID1": None, "ID2": None, "ID3": None, "ID4": "waiting", "ID5": "dead"}
    lines = fleet("inbox").out.splitlines()
    for message_id, next_ in (("ID1", "set aside"), ("ID2", "now"), ("ID4", "in its turn"), ("ID5", "if not held")):
        assert next_ in next(line for line in lines if message_id in line)


def test_retry_gives_it_back_to_its_handler(fleet: Fleet, database: Database, filled: dict[str, int]) -> None:
    assert fleet.json("inbox", "retry", NUMBERS[0])["messages"] == 1
    assert fleet.json("inbox", NUMBERS[0])["dead"] == 0
    assert fleet.json("inbox", "retry", "all")["messages"] == 0
    with database.transaction() as conn:
        [event] = conn.execute("SELECT * FROM wa_sessions.event WHERE kind = 'inbox_retried'").fetchall()
    assert event["detail"]["messages"] == 1


def test_retry_can_be_told_to_take_only_what_is_set_aside(
    fleet: Fleet, database: Database, filled: dict[str, int]
) -> None:
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.inbox SET next_at = clock_timestamp() + interval '1 h', attempts = 1")
    assert fleet.json("inbox", "retry", "all", "--dead")["messages"] == 1
    assert [row["attempts"] for row in fleet.json("inbox")["messages"]] == [0, 1, 1]


def test_what_matches_nothing_is_said_with_where_to_look(fleet: Fleet, filled: dict[str, int]) -> None:
    first = NUMBERS[0]
    assert fleet("inbox", "drop", first, "--id", "NOPE", "--yes").out.splitlines() == [
        f"nothing matches --id NOPE: wa-sessions inbox {first}"
    ]
    assert fleet("inbox", "drop", "all", "--chat", "x@lid", "--dead", "--dry-run").out.splitlines() == [
        "nothing matches --dead --chat x@lid: wa-sessions inbox"
    ]
    assert fleet("inbox", "retry", first, "--id", "ID2").out.splitlines() == [
        f"nothing that failed or is set aside matches --id ID2: wa-sessions inbox {first}"
    ]
    assert fleet("inbox", "retry", first, "--id", "ID1").out.splitlines() == ["1 message will be tried again"]
    assert fleet("inbox", "drop", first, "--dead").out.splitlines() == ["0 messages deleted for good"]
    assert fleet.json("inbox", "drop", first, "--id", "NOPE", "--yes") == {
        "messages": 0,
        "phones": [],
        "operation": None,
        "dry_run": False,
        "undo": None,
    }


def test_the_question_names_whose_messages_go(
    fleet: Fleet, filled: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("wa_sessions.cli.terminal.confirm", lambda question, *, yes: asked.append(question))
    fleet("inbox", "drop", f"#{filled[NUMBERS[0]]}", "--dead")
    fleet("inbox", "drop", "all", "--org", "1")
    fleet("inbox", "retry", "all")
    assert asked == [
        f"Delete 1 message of {NUMBERS[0]} for good? Nothing brings it back.",
        "Delete 2 messages of all phones of organization 1 for good? Nothing brings them back.",
    ]


def test_drop_asks_tells_and_is_not_undone(fleet: Fleet, filled: dict[str, int]) -> None:
    planned = fleet.json("inbox", "drop", NUMBERS[0], "--dead", "--dry-run")
    assert (planned["messages"], planned["operation"], planned["dry_run"]) == (1, None, True)
    assert fleet.json("inbox", NUMBERS[0])["dead"] == 1
    assert fleet("inbox", "drop", NUMBERS[0], "--dead").code == 6
    done = fleet.json("inbox", "drop", NUMBERS[0], "--dead", "--yes")
    assert done["messages"] == 1
    left = fleet.json("inbox", NUMBERS[0])
    assert (left["waiting"], left["dead"]) == (1, 0)
    [operation] = fleet.json("operations", NUMBERS[0])["operations"]
    assert (operation["operation"], operation["action"], operation["undo"]) == (done["operation"], "inbox_drop", None)
    refused = fleet("restore", done["operation"])
    assert refused.code == 1
    assert f"{done['operation']} deleted messages, which nothing brings back" in refused.err
    assert "no keys" in fleet("operations", NUMBERS[0]).out
    assert fleet.json("inbox", "drop", NUMBERS[0], "--dead", "--yes")["operation"] is None


def test_what_comes_while_the_question_stands_is_not_dropped(
    opened: Opened, database: Database, filled: dict[str, int]
) -> None:
    planned = plan_drop(opened, None, dead=False)
    late = InboxMessage(filled[NUMBERS[0]], "a@lid", "s@lid", "ID9", None, False, False, 1, "conversation", "", b"")
    with database.transaction() as conn:
        inbox.write(conn, [late])
    done = drop_inbox(opened, planned, reason="test")
    assert (done.total, planned.found.total) == (3, 3)
    assert [row.message_id for row in list_inbox(opened, None).rows] == ["ID9"]


def test_what_is_set_aside_while_the_question_stands_is_not_dropped(
    opened: Opened, database: Database, filled: dict[str, int]
) -> None:
    planned = plan_drop(opened, None, dead=True)
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.inbox SET dead_at = clock_timestamp() WHERE dead_at IS NULL")
    assert drop_inbox(opened, planned, reason="test").total == planned.found.total == 1
    assert list_inbox(opened, None, dead=True).rows


def test_messages_of_a_phone_that_is_moved_while_the_question_stands_are_not_dropped(
    opened: Opened, database: Database, filled: dict[str, int]
) -> None:
    planned = plan_drop(opened, None, dead=False)
    with database.transaction() as conn:
        conn.execute(
            """UPDATE public."OrganizationPhone" SET "organizationId" = 8 WHERE id = %s""", (filled[NUMBERS[0]],)
        )
    with pytest.raises(Conflict, match=f"{NUMBERS[0]}: its organization was 1 and is 8"):
        drop_inbox(opened, planned, reason="test")
    assert plan_drop(opened, None, dead=False).found.total == planned.found.total


def test_monitors_see_depth_and_age(opened: Opened, filled: dict[str, int]) -> None:
    ref = PhoneRef(phone_id=filled[NUMBERS[0]])
    stats = session_stats(opened, ref)
    assert (stats.inbox_waiting, stats.inbox_dead) == (1, 1)
    assert 360 <= (stats.inbox_oldest_seconds or 0) < 400
    limits = Thresholds(timedelta(minutes=5))
    judged = check(opened, ref, None, limits)
    assert "waited 6 min for its handler" in reason(judged) or judged.verdict is Verdict.CRITICAL
    shown = text(snapshot(opened))
    assert (
        f'wa_sessions_inbox_messages{{id="{ref.phone_id}",organization="1",phone="{NUMBERS[0]}",what="dead"}} 1.0'
        in (shown)
    )
    assert "wa_sessions_inbox_oldest_seconds" in shown


def test_stats_and_sessions_name_what_check_warns_of(fleet: Fleet, database: Database, filled: dict[str, int]) -> None:
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.inbox SET received_at = clock_timestamp() WHERE dead_at IS NULL")
    assert f"1 message is set aside: wa-sessions inbox {NUMBERS[0]} --dead" in " ".join(
        fleet("stats", NUMBERS[0]).out.split()
    )
    with database.transaction() as conn:
        conn.execute("""UPDATE public."OrganizationPhone" SET "connectionType" = 'baileys', "status" = 'connected'""")
    unhealthy = [session["phone"] for session in fleet.json("sessions", "--unhealthy")["sessions"]]
    assert NUMBERS[0] in unhealthy
    assert NUMBERS[1] not in unhealthy


def test_no_backup_takes_a_message(fleet: Fleet, filled: dict[str, int], tmp_path: Path) -> None:
    assert "inbox" not in Path(backup_contents.__file__).read_text()
    file = tmp_path / "all.json"
    assert fleet("backup", "all", str(file), "--no-encryption").code == 0
    content = gzip.decompress(file.read_bytes()) if file.read_bytes()[:2] == b"\x1f\x8b" else file.read_bytes()
    for words in (SECRET.encode(), SECRET.encode().hex().encode(), b"inbox"):
        assert words not in content
