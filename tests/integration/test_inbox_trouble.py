"""The inbox where something is wrong with the table, the clock, a message or the number of them."""

import asyncio
import contextlib
import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from support.dispatching import MESSAGE, function
from support.inboxes import TELLING, InboxBench, handled, inbox_running, phones_of, touch, until

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.sessions import inbox as actions
from wa_sessions.actions.sessions.inbox import drop_inbox, plan_drop, retry_inbox
from wa_sessions.db import backend
from wa_sessions.db import inbox as table
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.inbox import InboxMessage, RowKey, Selected
from wa_sessions.errors import DatabaseAway
from wa_sessions.worker.delivery import inbox, retries, transaction
from wa_sessions.worker.delivery.inbox import RetryPolicy
from wa_sessions.worker.delivery.spec import HandlerSpec

SILENT = """
def answer(message):
    if message.text.startswith("bad"):
        raise ValueError(message.text)
"""
FULL = """
    CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON wa_sessions.inbox EXECUTE FUNCTION public.full();
"""
NUMBER = "77051234567"
ROOM = "DROP FUNCTION public.full CASCADE"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandlerSpec:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inbox, "LOOK_EVERY", 0.2)
    return function(tmp_path, TELLING)


def execute(database: Database, statement: str) -> None:
    with psycopg.connect(database.target.conninfo, autocommit=True) as admin:
        admin.execute(statement.encode())


def fill(database: Database, rows: list[InboxMessage]) -> None:
    with database.transaction() as conn:
        table.write(conn, rows)


def row(phone_id: int, chat: str, message_id: str, **more: Any) -> InboxMessage:
    given = {"text": message_id, "raw": b"raw"} | more
    return InboxMessage(phone_id, chat, "1@lid", message_id, None, False, False, 1, "conversation", **given)


# ------------------------------------------------------------------------------------------------- messages


def test_names_that_no_index_can_hold_harm_no_other_message(database: Database, spec: HandlerSpec) -> None:
    """Postgres reports them as it reports an outage, and was then asked again for ever, sockets closed."""
    long = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(160))

    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("1")
            bench.put("lost", chat=f"{long}@lid")
            bench.put("2", chat="half \ud800@lid")
            bench.put("3")
            await bench.until_taken(4)
            await bench.heard.line("handled 1 77051234567", "handled 3 77051234567")
            await bench.empty()
            assert not bench.worker.stuck

    asyncio.run(scenario())


def test_what_cannot_be_noted_of_one_message_loses_no_other(
    database: Database, spec: HandlerSpec, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, "ALTER TABLE wa_sessions.event ADD CHECK (kind <> 'handler_dead')")

    async def scenario() -> None:
        async with inbox_running(database, spec, RetryPolicy(1, 0.02), processes=1) as bench:
            bench.put("bad")
            await bench.heard.event("handler_failed")
            bench.put("1", "2", chat="b@lid")
            await bench.heard.line("handled 1 77051234567", "handled 2 77051234567")
            await until(lambda: bench.inbox.dead_total > 1)
            touch("mended")
            await bench.empty()
            assert handled(bench) == ["1", "2", "bad"]

    asyncio.run(scenario())


def test_a_commit_whose_answer_was_lost_keeps_the_order(
    database: Database, spec: HandlerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("0")
            await bench.empty()
            transaction_of = bench.own.transaction
            lost: list[str] = []

            @contextlib.contextmanager
            def answer_lost() -> Iterator[Connection]:
                with transaction_of() as conn:
                    yield conn
                if bench.rows():
                    monkeypatch.setattr(bench.own, "transaction", transaction_of)
                    bench.put("2", "3")
                    lost.append("1")
                    raise DatabaseAway("the connection was lost")

            monkeypatch.setattr(bench.own, "transaction", answer_lost)
            bench.put("1")
            await bench.empty()
            assert lost
            assert handled(bench) == ["0", "1", "2", "3"]

    asyncio.run(scenario())


def test_a_chat_that_waits_since_an_earlier_worker_is_not_overtaken(database: Database, spec: HandlerSpec) -> None:
    slow = RetryPolicy(attempts=5, first_pause=60)

    async def scenario() -> None:
        async with inbox_running(database, spec, slow) as first:
            first.put("bad")
            await first.until("SELECT attempts FROM wa_sessions.inbox ORDER BY id LIMIT 1", 1)
        async with inbox_running(database, spec, slow) as bench:
            bench.put("other", chat="b@lid")
            await bench.heard.line("handled other 77051234567")
            bench.put("after")
            bench.put("another", chat="b@lid")
            await bench.heard.line("handled another 77051234567")
            touch("mended")
            with database.transaction() as conn:
                table.retry(conn, [bench.phones[0].id], Selected(), table.FIRST, 9)
            await bench.empty()
            assert handled(bench) == ["other", "another", "bad", "after"]

    asyncio.run(scenario())


# ------------------------------------------------------------------------------------------------ the table


def test_where_there_is_no_room_sockets_close_and_what_waits_is_handled_and_deleted(
    database: Database, spec: HandlerSpec
) -> None:
    """A failing write must not undo the deletes that would make room for it."""
    fill(database, [row(phones_of(database)[0].id, f"{n % 7}@lid", f"n{n}") for n in range(200)])
    execute(database, FULL)

    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("new")
            await bench.empty_of_what_was_there(200)
            await until(lambda: bench.worker.stuck)
            assert bench.worker.taken[1] == 0
            execute(database, ROOM)
            await bench.until_taken(1)
            await bench.empty()
            assert bench.worker.freed == 1
            assert len(handled(bench)) == 201
            assert handled(bench)[-1] == "new"

    asyncio.run(scenario())


@pytest.fixture
def small_disk(server: EmbeddedServer, database: Database, open_folder: Path) -> Iterator[Path]:
    """The inbox has 4 MB to itself."""
    disk = open_folder / "small"
    disk.mkdir()
    owner = server.cluster.stat().st_uid
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4m,uid={owner}", "none", disk], check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        execute(database, f"CREATE TABLESPACE small LOCATION '{disk}'")
        execute(database, "ALTER TABLE wa_sessions.inbox SET TABLESPACE small")
        yield disk
        execute(database, "ALTER TABLE wa_sessions.inbox SET TABLESPACE pg_default")
        execute(database, "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _taken_or_stuck(bench: InboxBench, so_far: int) -> bool:
    return bench.worker.taken[1] > so_far or bool(bench.worker.stuck)


def _mount_larger(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


@pytest.mark.root
def test_a_disk_that_is_full_loses_nothing(small_disk: Path, database: Database, spec: HandlerSpec) -> None:
    """What finds no room waits, sockets closed, until there is some; what had found it is handled meanwhile."""
    texts = ["wait", *(f"n{number}" for number in range(1, 300))]

    async def scenario() -> None:
        async with inbox_running(database, spec, drain=60) as bench:
            for number, text in enumerate(texts):
                bench.dispatcher.put(*big(bench, text, number))
                if number % 20 == 0:
                    await until(partial(_taken_or_stuck, bench, number))
            await until(lambda: bench.worker.stuck)
            assert 0 < len(bench.rows("SELECT id FROM wa_sessions.inbox")) < 300
            assert bench.worker.taken[1] < 300
            written = bench.worker.taken[1]
            touch("go")
            await bench.empty_of_what_was_there(written)
            assert handled(bench)[:written] == texts[:written]
            await asyncio.to_thread(_mount_larger, small_disk)
            await bench.until_taken(300)
            await bench.empty()
            assert bench.worker.freed
            assert handled(bench) == texts

    asyncio.run(scenario())


def big(bench: InboxBench, text: str, number: int) -> tuple[int, Any, int]:
    raw = b"".join(hashlib.sha256(f"{number} {part}".encode()).digest() for part in range(800))
    return bench.phones[0].id, replace(MESSAGE, id=str(number), text=text, raw=raw, phone=NUMBER), 1


def test_a_failure_that_cannot_be_noted_for_want_of_room_closes_no_socket(
    database: Database, spec: HandlerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "PAUSE_MOST", 0.2)
    execute(database, FULL.replace("INSERT OR UPDATE", "UPDATE"))

    async def scenario() -> None:
        async with inbox_running(database, spec, RetryPolicy(9, 0.02)) as bench:
            bench.put("bad")
            await until(lambda: len(bench.heard.events) or bench.inbox.in_hand)
            for number in range(4):
                bench.put(f"{number}", chat="b@lid")
                await bench.heard.line(f"handled {number} 77051234567")
            assert not bench.worker.stuck
            execute(database, ROOM)
            touch("mended")
            await bench.empty()

    asyncio.run(scenario())


def test_a_table_that_is_rewritten_under_it_does_not_end_the_worker(database: Database, spec: HandlerSpec) -> None:
    wrong = FULL.replace("53100", "XX000")
    execute(database, wrong)

    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("1")
            await until(lambda: bench.worker.suspected)
            execute(database, ROOM)
            await bench.empty()
            assert handled(bench) == ["1"]

    asyncio.run(scenario())


def test_a_clock_that_was_put_back_holds_up_nothing(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec, RetryPolicy(9, 60)) as bench:
            bench.put("bad", "after")
            await bench.until("SELECT attempts FROM wa_sessions.inbox ORDER BY id LIMIT 1", 1)
            touch("mended")
            execute(database, "UPDATE wa_sessions.inbox SET next_at = next_at + interval '1 day' WHERE attempts > 0")
            await bench.empty()
            assert handled(bench) == ["bad", "after"]

    asyncio.run(scenario())


def test_more_chats_than_one_look_finds_are_all_found_and_no_phone_waits_for_another(
    database: Database, spec: HandlerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "LOOK", 10)
    monkeypatch.setattr(inbox, "LOOK", 10)
    first, second = phones_of(database)
    fill(database, [row(first.id, f"{n:03}@lid", f"n{n}") for n in range(95)])
    fill(database, [row(second.id, "b@lid", "of-the-second")])

    async def scenario() -> None:
        async with inbox_running(database, spec, processes=1) as bench:
            bench.put("last", chat="000@lid")
            await bench.empty()
            texts = handled(bench)
            assert len(texts) == 97
            assert texts.index("n0") < texts.index("last")
            assert texts.index("of-the-second") < 60

    asyncio.run(scenario())


def test_a_look_finds_chats_in_order_and_what_they_wait_for(conn: Connection) -> None:
    ids = table.write(
        conn,
        [row(1, "a", "1"), row(1, "b", "2"), row(1, "c", "3"), row(2, "a", "4"), row(3, "a", "5"), row(1, "b", "6")],
    )
    keys = {key[3]: RowKey(key[0], key[1], id_) for key, id_ in ids.items()}
    table.fail(conn, [table.Failure(keys["2"], "2", 1, "x", 60, False), table.Failure(keys["3"], "3", 1, "x", 0, True)])

    def found(*asked: tuple[int, str], most: int = 99, hold: bool = False) -> list[tuple[Any, ...]]:
        return [(*key, due) for key, due in table.chats(conn, asked, most, longest=300, hold=hold)]

    expected = [(1, "a", True), (1, "b", False), (1, "c", None), (2, "a", True)]
    assert found((1, ""), (2, "")) == expected
    assert found((2, ""), (1, "a")) == [expected[3], *expected[1:3]]
    assert found((1, ""), (2, ""), most=2) == expected[:2]
    assert found((1, "c"), (4, "")) == []
    table.write(conn, [row(1, "c", "7")])
    assert found((1, "b")) == [(1, "c", True)]
    assert found((1, "b"), hold=True) == [(1, "c", None)]


def test_a_load_ends_where_its_bytes_do(conn: Connection) -> None:
    table.write(conn, [row(1, chat, f"{chat}{n}", raw=bytes(400)) for chat in "ab" for n in range(9)])

    def loaded(most: int, bytes_: int) -> list[str]:
        return [one.message.message_id for one in table.load(conn, [(1, "b"), (1, "a")], most, bytes_, longest=300)]

    assert loaded(2, 10_000) == ["b0", "b1", "a0", "a1"]
    assert loaded(9, 801) == ["b0", "b1", "b2", "a0", "a1", "a2"]
    assert loaded(9, 1) == ["b0", "a0"]


def test_no_text_stays_in_the_statistics_of_postgres(database: Database) -> None:
    secret = "a very private text"
    fill(database, [row(1, f"{n}@lid", f"n{n}", text=f"{secret} {n % 3}", raw=secret.encode()) for n in range(60)])
    execute(database, "ANALYZE wa_sessions.inbox")
    with psycopg.connect(database.target.conninfo) as admin:
        found = admin.execute(
            "SELECT * FROM pg_stats WHERE schemaname = 'wa_sessions' AND tablename = 'inbox'"
        ).fetchall()
    assert len(found) > 5
    assert secret not in str(found)
    assert secret.encode().hex() not in str(found)


def test_no_text_stands_anywhere_else(database: Database, spec: HandlerSpec, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with inbox_running(database, function(Path(), SILENT), RetryPolicy(2, 0.02)) as bench:
            bench.put("bad private", "good private")
            await until(lambda: bench.inbox.dead_total and bench.inbox.handled_total and not bench.inbox.unsettled)
            assert [one["text"] for one in bench.rows()] == ["bad private"]
            assert "private" not in str(bench.heard.lines)

    with caplog.at_level("DEBUG"):
        asyncio.run(scenario())
    assert "ValueError" in caplog.text
    assert "private" not in caplog.text
    with psycopg.connect(database.target.conninfo) as admin:
        named = admin.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_)'")
        tables = [SQL("SELECT t::text FROM {} AS t").format(Identifier(*name)) for name in named.fetchall()]
        holding = [query.as_string() for query in tables if "private" in str(admin.execute(query).fetchall())]
    assert len(tables) > 20
    assert holding == ['SELECT t::text FROM "wa_sessions"."inbox" AS t']


# ------------------------------------------------------------------------------------------------ the worker


def test_a_phone_that_comes_back_waits_for_what_is_in_hand(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("wait", "next")
            await until(lambda: bench.inbox.in_hand)
            bench.dispatcher.forget(bench.phones[0].id)
            bench.dispatcher.serve(bench.phones[0])
            bench.put("other", chat="b@lid")
            await bench.heard.line("handled other 77051234567")
            await until(lambda: bench.inbox.in_hand == 1)
            touch("go")
            await bench.empty()
            assert handled(bench) == ["other", "wait", "next"]

    asyncio.run(scenario())


def test_an_end_that_waits_for_a_handler_waits_quietly(
    database: Database, spec: HandlerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions end at the same time, in the same process."""
    fill(database, [row(phones_of(database)[0].id, f"{n}@lid", f"wait{n}") for n in range(3000)])
    rounds = 0

    async def scenario() -> None:
        nonlocal rounds
        async with inbox_running(database, spec, processes=1) as bench:
            await until(lambda: bench.inbox.in_hand and bench.inbox._window.hungry)
            bench.dispatcher.wind_down()
            once = bench.inbox._round

            async def counted() -> bool:
                nonlocal rounds
                rounds += 1
                return await once()

            monkeypatch.setattr(bench.inbox, "_round", counted)
            await asyncio.sleep(0.5)
            touch("go")

    asyncio.run(scenario())
    assert rounds < 10


# --------------------------------------------------------------------------------------------------- operators


@pytest.fixture
def opened(database: Database) -> Opened:
    with database.transaction() as conn:
        return Opened(database, backend.detect(conn))


def test_operators_and_workers_do_not_wait_for_each_other(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    database = opened.database
    monkeypatch.setattr(actions, "MOST", 10)
    first, second = phones_of(database)
    fill(database, [row(phone, f"{n % 4}@lid", f"n{n}") for phone in (first.id, second.id) for n in range(36)])
    execute(database, "UPDATE wa_sessions.inbox SET dead_at = now(), attempts = 5 WHERE chat < '2'")
    with database.transaction() as worker:
        worker.execute("SELECT FROM wa_sessions.inbox WHERE message_id = 'n0' FOR UPDATE")
        assert plan_drop(opened, None, dead=True).found.messages == {first.id: 18, second.id: 18}
        assert retry_inbox(opened, None, selected=Selected(chat="1@lid")).total == 18
        done = drop_inbox(opened, plan_drop(opened, None, dead=True), reason="test")
        assert done.messages == {first.id: 8, second.id: 8}
    with database.transaction() as conn:
        entries = conn.execute("SELECT * FROM wa_sessions.event WHERE kind = 'inbox_dropped' ORDER BY id").fetchall()
        assert sum(entry["detail"]["messages"] for entry in entries) == 16
        assert {entry["operation_id"] for entry in entries} == {done.operation}
    assert drop_inbox(opened, plan_drop(opened, None, dead=False), reason="test").total == 56


def test_a_row_that_is_no_message_is_handled_like_any(database: Database, spec: HandlerSpec) -> None:
    odd = row(phones_of(database)[0].id, "a", "odd", raw=b"\xff\x00garbage")
    fill(database, [replace(odd, kind="no such kind", sender="", sent_at=-(1 << 60))])

    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.dispatcher.put(bench.phones[0].id, replace(MESSAGE, chat="a", text="after", phone=NUMBER), 1)
            await bench.empty()
            assert handled(bench) == ["odd", "after"]

    asyncio.run(scenario())
