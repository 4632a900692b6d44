"""The durable inbox with a real Postgres and real handlers: nothing in it is lost, and each chat keeps its order."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from support.dispatching import function
from support.inboxes import TELLING, handled, inbox_running, touch, until
from support.outages import outage
from support.waiting import PATIENCE

from wa_sessions.db import inbox as table
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.inbox import Selected
from wa_sessions.worker.delivery import inbox, jam
from wa_sessions.worker.delivery.inbox import RetryPolicy
from wa_sessions.worker.delivery.spec import HandlerSpec

FAST = RetryPolicy(attempts=3, first_pause=0.02)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandlerSpec:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inbox, "LOOK_EVERY", 0.2)
    return function(tmp_path, TELLING)


def test_what_is_told_is_written_then_acknowledged_then_handled_and_gone(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("wait")
            bench.put("1", "2", phone=1, client=2)
            await bench.until_taken(1, client=1)
            await bench.until_taken(2, client=2)
            await bench.heard.line("handled 1 77057654321", "handled 2 77057654321")
            await bench.until("SELECT count(*) FROM wa_sessions.inbox", 1)
            touch("go")
            await bench.empty()
        assert bench.inbox.handled_total == 3

    asyncio.run(scenario())


def test_what_a_killed_worker_leaves_the_next_one_handles_first_and_in_order(
    database: Database, spec: HandlerSpec
) -> None:
    texts = [f"n{number}" for number in range(120)]

    async def scenario() -> None:
        async with inbox_running(database, spec, drain=None) as killed:
            killed.put("wait", *texts)
            killed.put("other", chat="b@lid")
            await killed.until_taken(122)
            await killed.heard.line("handled other 77051234567")
        touch("go")
        async with inbox_running(database, spec) as bench:
            bench.put("new")
            await bench.empty()
            assert [text for text in handled(bench) if text != "other"] == ["wait", *texts, "new"]

    asyncio.run(scenario())


def test_more_than_fits_into_memory_is_handled_in_order(
    database: Database, spec: HandlerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"n{number}" for number in range(300)]

    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("wait", *texts)
            bench.put(*texts, chat="b@lid")
            await bench.until_taken(601)
            assert bench.inbox.waiting <= 100
            touch("go")
            await bench.empty()
            assert [text for text in handled(bench) if text != "wait"].count("n7") == 2
        order = [line for line in bench.heard.texts() if "wait" not in line]
        assert len(order) == 600

    asyncio.run(scenario())


def test_a_failure_is_tried_again_while_other_chats_go_on(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec, RetryPolicy(attempts=50, first_pause=0.05)) as bench:
            bench.put("bad", "after")
            bench.put("1", "2", chat="b@lid")
            await bench.heard.event("handler_failed")
            await bench.heard.line("handled 1 77051234567", "handled 2 77051234567")
            await bench.until("SELECT attempts > 1 FROM wa_sessions.inbox ORDER BY id LIMIT 1", True)
            assert "after" not in handled(bench)
            touch("mended")
            await bench.empty()
            assert handled(bench) == ["1", "2", "bad", "after"]
        assert bench.heard.kinds() == ["handler_failed"]

    asyncio.run(scenario())


@pytest.mark.parametrize("hold", [False, True])
def test_after_its_attempts_a_message_is_set_aside(
    database: Database, spec: HandlerSpec, hold: bool, caplog: pytest.LogCaptureFixture
) -> None:
    policy = RetryPolicy(FAST.attempts, FAST.first_pause, hold=hold)

    async def scenario() -> None:
        async with inbox_running(database, spec, policy) as bench:
            bench.put("bad", "after")
            bench.put("other", chat="b@lid")
            await bench.until("SELECT count(*) FROM wa_sessions.inbox WHERE dead_at IS NOT NULL", 1)
            await bench.heard.line("handled other 77051234567")
            if hold:
                bench.put("later")
                await bench.until_taken(4)
                assert "after" not in handled(bench)
            else:
                await bench.heard.line("handled after 77051234567")
            [event] = bench.rows("SELECT kind, detail FROM wa_sessions.event WHERE kind = 'handler_dead'")
            assert event["detail"] == {
                "message_id": bench.rows()[0]["message_id"],
                "error": "ValueError",
                "attempts": 3,
            }
            assert [row["kind"] for row in bench.rows("SELECT kind FROM wa_sessions.alert")] == ["handler_dead"]
            await until(lambda: any("set aside" in record.getMessage() for record in caplog.records))
            [said] = [record.getMessage() for record in caplog.records if "set aside" in record.getMessage()]
            assert said.endswith("; wa-sessions inbox retry 77051234567, or wa-sessions inbox drop 77051234567 --dead")
            touch("mended")
            with database.transaction() as conn:
                assert len(table.retry(conn, [bench.phones[0].id], Selected(), table.FIRST, 9)) == 1
            await bench.empty()
            expected = ["other", "bad", "after", "later"] if hold else ["other", "after", "bad"]
            assert sorted(handled(bench)) == sorted(expected)
            assert [text for text in handled(bench) if text != "other"] == [
                text for text in expected if text != "other"
            ]

    asyncio.run(scenario())


def test_pauses_outlive_the_worker(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        slow = RetryPolicy(attempts=5, first_pause=60)
        async with inbox_running(database, spec, slow) as first:
            first.put("bad", "after")
            await first.until("SELECT attempts FROM wa_sessions.inbox ORDER BY id LIMIT 1", 1)
        async with inbox_running(database, spec, slow) as bench:
            bench.put("1", chat="b@lid")
            await bench.heard.line("handled 1 77051234567")
            assert "after" not in handled(bench)
            touch("mended")
            with database.transaction() as conn:
                table.retry(conn, [bench.phones[0].id], Selected(), table.FIRST, 9)
            await bench.empty()
            assert handled(bench) == ["1", "bad", "after"]

    asyncio.run(scenario())


def test_while_the_database_is_away_nothing_is_acknowledged_and_nothing_lost(
    server: EmbeddedServer, database: Database, spec: HandlerSpec
) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("before")
            await bench.until_taken(1)
            with outage(server, database):
                bench.put("1", "2", phone=1, client=2)
                async with asyncio.timeout(PATIENCE):
                    while not bench.worker.stuck:
                        bench.worker.changed.clear()
                        await bench.worker.changed.wait()
                assert bench.worker.stuck == [frozenset({bench.phones[1].id})]
                assert bench.worker.suspected == 1
                bench.put("3")
                assert bench.worker.stuck[-1] == {bench.phones[0].id}
                assert bench.worker.taken[2] == 0
            await bench.until_taken(2, client=2)
            await bench.heard.line("handled 1 77057654321", "handled 2 77057654321", "handled 3 77051234567")
            await bench.empty()
            assert bench.worker.freed == 1

    asyncio.run(scenario())


def test_a_lock_that_is_not_had_for_a_moment_closes_nothing(
    database: Database, spec: HandlerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "STUCK_AFTER", 5.0)
    monkeypatch.setattr(jam, "STUCK_AFTER", 5.0)

    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            with psycopg.connect(database.target.conninfo) as other:
                other.execute("LOCK TABLE wa_sessions.inbox IN ACCESS EXCLUSIVE MODE")
                bench.put("1")
                await asyncio.sleep(0.3)
                assert not bench.worker.taken
            await bench.heard.line("handled 1 77051234567")
            assert not bench.worker.stuck

    asyncio.run(scenario())


def test_what_is_told_while_a_look_hangs_is_not_taken_for_safe(database: Database, spec: HandlerSpec) -> None:
    """Nothing had been told when it began to hang, so nobody's socket was closed then."""

    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            with psycopg.connect(database.target.conninfo) as other:
                other.execute("LOCK TABLE wa_sessions.inbox IN ACCESS EXCLUSIVE MODE")
                bench.dispatcher.serve(bench.phones[0])
                await until(lambda: bench.worker.suspected)
                bench.put("1")
                assert bench.worker.stuck == [frozenset({bench.phones[0].id})]
            await bench.heard.line("handled 1 77051234567")
            await bench.until_taken(1)
            assert bench.worker.freed == 1

    asyncio.run(scenario())


def test_no_session_that_waits_keeps_the_inbox_waiting(database: Database, spec: HandlerSpec) -> None:
    """Their transactions have the threads that all share."""

    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            free = threading.Event()
            loop = asyncio.get_running_loop()
            loop.set_default_executor(ThreadPoolExecutor(1))
            waiting = loop.run_in_executor(None, free.wait)
            bench.put("1")
            await bench.heard.line("handled 1 77051234567")
            free.set()
            await waiting

    asyncio.run(scenario())


def test_a_message_that_postgres_cannot_hold_harms_no_other(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("1", "nul\0", "2")
            await bench.until_taken(3)
            await bench.heard.line("handled 1 77051234567", "handled 2 77051234567")
            await bench.empty()

    asyncio.run(scenario())


def test_the_end_waits_for_what_is_in_hand_and_begins_nothing(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec, processes=1) as bench:
            bench.put("wait", "next")
            await bench.until_taken(2)
            await until(lambda: bench.inbox.in_hand)
            bench.dispatcher.wind_down()
            touch("go")
        assert handled(bench) == ["wait"]
        assert [row["text"] for row in bench.rows()] == ["next"]
        assert bench.heard.events == []

    asyncio.run(scenario())


def test_what_another_worker_wrote_late_is_found(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec) as bench, inbox_running(database, spec, serve=()) as other:
            other.put("late")
            await bench.heard.line("handled late 77051234567")
            await bench.empty()
            assert handled(other) == []

    asyncio.run(scenario())


def test_a_message_that_comes_twice_stands_there_once(database: Database, spec: HandlerSpec) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec) as bench:
            bench.put("wait")
            bench.inbox._known.forget(bench.phones[0].id)
            bench.count = 0
            bench.put("wait")
            await bench.until_taken(2)
            assert len(bench.rows()) == 1
            touch("go")
            await bench.empty()
            assert handled(bench) == ["wait"]

    asyncio.run(scenario())
