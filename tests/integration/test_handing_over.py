"""A phone that goes from one worker to another with messages in hand: none is lost, and each chat keeps its order."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from support.dispatching import function, running
from support.fleets import SHARED, WorkerFleet
from support.inboxes import inbox_running, until

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.worker.delivery import memory
from wa_sessions.worker.delivery.inbox import Inbox
from wa_sessions.worker.delivery.spec import HandlerSpec

TELL = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def answer(message):
    print("begun", message.text)
    while message.text.startswith("wait") and not pathlib.Path("go").exists():
        time.sleep(0.01)
    print("handled", message.text)
"""
COUNT = "SELECT count(*) FROM wa_sessions.inbox"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandlerSpec:
    monkeypatch.chdir(tmp_path)
    return function(tmp_path, TELL)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_a_message_in_hand_is_given_back_after_a_while_and_the_next_worker_begins_with_it(
    database: Database, spec: HandlerSpec, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec, processes=2) as one:
            phone, _ = one.phones
            one.put("wait 1", "2", "3")
            one.put("wait other", phone=1)
            await one.heard.line("begun wait 1", "begun wait other")
            began = time.monotonic()
            await one.dispatcher.settled(phone.id)
            assert time.monotonic() - began < 30
            one.put("4")  # what its host had told before it ended
            await one.dispatcher.settled(phone.id)
            one.dispatcher.forget(phone.id)
            assert [row["attempts"] for row in one.rows()] == [0, 0, 0, 0, 0]
            (tmp_path / "go").touch()
            async with inbox_running(database, spec, serve=[0]) as two:
                await two.heard.line("handled 4")
                assert [line for line in two.heard.texts() if "handled" in line] == [
                    "handled wait 1",
                    "handled 2",
                    "handled 3",
                    "handled 4",
                ]
            await one.heard.line("handled wait other")  # which is not disturbed by any of that
            assert one.heard.events == []
            assert "handled wait 1" not in one.heard.texts()
            await one.until(COUNT, 0)
            one.dispatcher.serve(phone)  # and back
            one.put("5")
            await one.heard.line("handled 5")

    run(scenario)


def test_a_handler_that_ends_in_time_is_left_to_it(database: Database, spec: HandlerSpec, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with inbox_running(database, spec) as one:
            one.put("wait", "next")
            await one.heard.line("begun wait")
            settled = asyncio.create_task(one.dispatcher.settled(one.phones[0].id))
            await asyncio.sleep(0.1)
            assert not settled.done()
            (tmp_path / "go").touch()
            await settled
            assert [row["text"] for row in one.rows()] == ["next"]
            assert "handled wait" in one.heard.texts()

    run(scenario)


def test_what_waits_in_memory_alone_is_handled_before_its_phone_goes(
    spec: HandlerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with running(spec) as bench:
            bench.put("wait", "next", "last")
            await bench.heard.line("begun wait")
            asyncio.get_running_loop().call_later(0.1, (tmp_path / "go").touch)
            await bench.dispatcher.settled(1)
            assert bench.heard.texts()[-1] == "handled last"
            (tmp_path / "go").unlink()
            monkeypatch.setattr(memory.MemoryQueue, "patience", 0.1)
            bench.put("wait again")
            bench.dispatcher.forget(1)
            await bench.dispatcher.settled(1)  # it has had its time, and goes on all the same
            (tmp_path / "go").touch()
            await bench.heard.line("handled wait again")

    run(scenario)


def test_a_worker_that_ends_keeps_a_phone_until_no_handler_has_a_message_of_it(
    database: Database, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = WorkerFleet(database, server, 2)

    async def scenario() -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            in_hand, done = fleet.phones[0].id, asyncio.Event()

            async def settled(phone_id: int) -> None:
                if phone_id == in_hand:
                    await done.wait()

            monkeypatch.setattr(first.worker._handlers, "settled", settled)
            second = fleet.begin()
            first.worker.stop()
            await until(lambda: second.phones == {fleet.phones[1].id})
            assert fleet.held(first) == {in_hand}
            done.set()
            await until(lambda: second.phones == fleet.ids)
            await first.task

    run(scenario)


def test_the_inbox_has_less_patience_than_memory() -> None:
    assert Inbox.patience < 3 < memory.MemoryQueue.patience
