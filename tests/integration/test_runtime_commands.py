"""A session and its supervisor over a real Postgres: what operators ask of it."""

import asyncio
from typing import Any

import pytest
from support.fleets import until
from support.rigs import Rig, run, running

from wa_sessions.db import commands
from wa_sessions.errors import Busy, DatabaseAway, WaSessionsError
from wa_sessions.health.events.workers import HandlerUnfinished
from wa_sessions.worker import log
from wa_sessions.worker.supervisor import WorkerFault


def test_a_command_that_was_taken_as_the_database_went_is_carried_out(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            queue, took, failures = rig.worker._commands, rig.worker._commands._take, [1]

            def cut_off() -> list[commands.Command]:
                """The commands are marked as taken, and nobody hears which they were."""
                taken = took()
                if taken and failures:
                    failures.clear()
                    raise DatabaseAway("cut off")
                return taken

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(queue, "_take", cut_off)
                restart = rig.ask("restart")
                await until(lambda: rig.answered(restart))
            await until(lambda: rig.opened == 2)

    run(scenario, rig)


@pytest.mark.parametrize("failure", [DatabaseAway("cut off"), Busy("a deadlock")])
def test_a_refusal_that_fails_loses_no_command(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, failure: WaSessionsError
) -> None:
    finish, failures = commands.finish, [1]

    def cut_off(conn: Any, command_id: int, **answer: Any) -> None:
        if failures and "does not run the phone" in (answer.get("error") or ""):
            failures.clear()
            raise failure
        finish(conn, command_id, **answer)

    async def scenario(rig: Rig) -> None:
        async with running(rig):
            monkeypatch.setattr(commands, "finish", cut_off)
            with rig.database.transaction() as conn:
                nobodys = commands.ask(conn, 4711, rig.worker.worker_id, "restart", {}, "op@host")
                restart = commands.ask(conn, rig.phone.id, rig.worker.worker_id, "restart", {}, "op@host")
            await until(lambda: rig.answered(nobodys) and rig.answered(restart))
            assert rig.opened == 2

    run(scenario, rig)


def test_a_command_in_the_instant_of_the_end_does_not_keep_the_worker(rig: Rig) -> None:
    """``asyncio.wait_for`` of Python 3.11 swallows a cancellation that comes with what it waits for."""

    async def scenario(rig: Rig) -> None:
        queue = rig.worker._commands
        serving = asyncio.create_task(queue.run())
        await asyncio.sleep(0)
        queue._heard.set()
        serving.cancel()
        done, _ = await asyncio.wait({serving}, timeout=5)
        assert done

    run(scenario, rig)


def test_what_a_handler_left_of_a_phone_that_is_not_ours_any_more_is_said(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "warn", lambda message, **_: said.append(message))

    async def scenario(rig: Rig) -> None:
        async with running(rig):
            release = rig.ask("release", reason="test")
            await until(lambda: rig.answered(release) and rig.phone.id not in rig.worker._tasks)
            rig.worker.handler_event(rig.phone.id, HandlerUnfinished(3))

    run(scenario, rig)
    assert any("had not finished 3 messages" in message for message in said)


def test_a_service_of_several_tasks_says_which_error_it_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise ExceptionGroup("unhandled errors in a TaskGroup", [RuntimeError("a bug")])

    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(rig.worker._handlers, "run", broken)
        with pytest.raises(WorkerFault, match="handlers failed, a fault of wa-sessions: RuntimeError: a bug"):
            await rig.worker.run([rig.phone])

    run(scenario, rig)


def test_a_phone_that_is_released_is_nobodys(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            rig.hosts.closes_clients = False
            command = rig.ask("release", reason="test")
            await until(lambda: rig.worker._tasks[rig.phone.id].session.ending)
            with rig.outage():
                rig.hosts.closes_clients = True
                rig.hosts.close(rig.client or 0)
                await until(lambda: rig.worker._tasks[rig.phone.id].session.store_away, 5)
            await until(lambda: rig.answered(command))
            lease = "SELECT 1 FROM wa_sessions.lease WHERE phone_id = %s AND expires_at > clock_timestamp()"
            assert not rig.rows(lease, rig.phone.id)
            assert (rig.client, rig.opened, rig.health()["state"]) == (None, 1, "stopped")
            late = rig.ask("restart")
            await until(lambda: rig.answered(late))
            assert (
                "does not run the phone"
                in rig.rows("SELECT error FROM wa_sessions.command WHERE id = %s", late)[0]["error"]
            )

    run(scenario, rig)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("no-such-verb", {}),
        ("force_close", {}),
        ("force_close", {"reason": 5, "logout": "no"}),
        ("force_close", []),
        ("clean", {"action": "a", "reason": "b", "operation": "c", "selection": 4}),
        ("clean", {"action": "a", "reason": "b", "operation": "c", "selection": {"types": 5, "peer": None}}),
        ("clean", {"action": "a", "reason": "b", "operation": "c", "selection": {"types": None, "peer": {"lid": 1}}}),
        ("restore", {"operation": 5}),
        ("restart", "x"),
        ("send", {}),
        ("send", {"to": {}, "text": []}),
    ],
)
def test_a_malformed_command_is_refused_and_the_session_lives(rig: Rig, verb: str, arguments: Any) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            command = rig.ask(verb, arguments)
            await until(lambda: rig.answered(command), 3)
            row = rig.rows("SELECT exit_code, error FROM wa_sessions.command WHERE id = %s", command)[0]
            assert (row["exit_code"], "fault" in row["error"]) == (2, False)
            assert "fault" not in rig.kinds()
            await until(lambda: rig.client is not None)

    run(scenario, rig)
