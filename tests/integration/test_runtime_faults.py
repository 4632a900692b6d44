"""A session and its supervisor over a real Postgres: faults of ours, and of its services."""

import asyncio
import contextlib
from datetime import timedelta

import pytest
from support.fleets import until
from support.rigs import Rig, fail, run, running

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.check import check
from wa_sessions.actions.watch.stats import session_stats
from wa_sessions.errors import ExitCode, WaSessionsError
from wa_sessions.health.checking import Thresholds
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker import policy
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.supervisor import WorkerFault


def test_a_phone_whose_row_is_deleted_is_let_go(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig) as worker:
            rig.rows('DELETE FROM public."OrganizationPhone" WHERE id = %s', rig.phone.id)
            rig.tell(protocol.Disconnected)
            lease = "SELECT 1 FROM wa_sessions.lease WHERE phone_id = %s AND expires_at > clock_timestamp()"
            await until(lambda: not rig.rows(lease, rig.phone.id))
            assert rig.client is None
            assert not worker.done()
            assert rig.rows(lease, rig.other.id)

    run(scenario, rig)


def test_a_fault_is_recorded_and_the_session_goes_on(rig: Rig) -> None:
    """A handler's error type with a NUL, which Postgres cannot hold: whatever makes one event impossible to write."""

    async def scenario(rig: Rig) -> None:
        async with running(rig):
            failed = (f"id\0{1}", "1@lid", "1@lid", False, Cause.BAD_MAC, Encryption.MESSAGE)
            rig.tell(protocol.Undecrypted, *failed)
            await until(lambda: "fault" in rig.kinds())
            await until(lambda: rig.opened == 2)
            rig.tell(protocol.Connected)
            await until(lambda: rig.health()["state"] == "connected")

    run(scenario, rig)


def test_a_phone_that_fails_again_and_again_is_set_down_with_its_reason(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _self: 0.0)

    async def scenario(rig: Rig) -> None:
        async with running(rig) as worker:
            waiting = rig.ask("send", to="1", text="hello")
            for _ in range(policy.MOST_FAULTS):
                await fail(rig, lambda: "faulted" in rig.kinds())
            await until(lambda: rig.health()["state"] == "faulted")
            opened = Opened(rig.database, rig.backend)
            await until(lambda: session_stats(opened, PhoneRef(phone_id=rig.phone.id)).unknown_because == "no_worker")
            judged = check(opened, PhoneRef(phone_id=rig.phone.id), None, Thresholds(timedelta(minutes=5)))
            assert judged.verdict.name == "CRITICAL"
            assert rig.rows("SELECT 1 FROM wa_sessions.alert WHERE kind = 'faulted'")
            assert rig.client is None
            assert rig.answered(waiting)
            assert not worker.done()

    run(scenario, rig)


def test_a_worker_whose_last_phone_is_set_down_ends_as_failed_and_is_started_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with 5, another's phone: a service manager that knows our exit codes would leave it stopped."""
    monkeypatch.setattr(Backoff, "next", lambda _self: 0.0)

    async def scenario(rig: Rig) -> None:
        worker = asyncio.create_task(rig.worker.run([rig.phone]))
        await until(lambda: rig.client is not None)
        for _ in range(policy.MOST_FAULTS):
            await fail(rig, worker.done)
        with pytest.raises(WaSessionsError, match="no phone is left to this worker: a fault of wa-sessions") as error:
            await worker
        assert error.value.exit_code is ExitCode.FAILED
        assert rig.health()["state"] == "faulted"
        assert "\n" not in rig.health()["state_detail"]

    run(scenario, rig)


def test_after_an_answer_that_was_long_in_coming_leases_are_renewed_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts live from when it was asked for: those that are opened now would end before the next turn."""

    async def scenario(rig: Rig) -> None:
        answers: list[float] = []

        def slow_once(silent: list[int], hosts: int) -> frozenset[int] | None:
            mine = renew(silent, hosts)
            if not answers:
                rig.worker._ownership.until -= 8.0
            answers.append(rig.worker._ownership.until)
            return mine

        rig.use(LeaseTimes(15.0))
        renew = rig.worker._ownership.renew
        async with running(rig):
            monkeypatch.setattr(rig.worker._ownership, "renew", slow_once)
            await until(lambda: len(answers) > 1, 5.5)
            assert answers[1] - now() > 9

    run(scenario, rig)


def test_a_session_without_a_sign_of_life_is_not_called_healthy(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wa_sessions.actions.watch.stats.SILENT_AFTER", 1.0)

    async def scenario(rig: Rig) -> None:
        async with running(rig):
            opened, ref = Opened(rig.database, rig.backend), PhoneRef(phone_id=rig.phone.id)
            await asyncio.sleep(1.5)
            assert session_stats(opened, ref).is_healthy is True
            rig.hosts.living = False
            await until(lambda: session_stats(opened, ref).unknown_because == "no_sign_of_life")
            assert session_stats(opened, ref).is_healthy is None
            judged = check(opened, ref, None, Thresholds(timedelta(minutes=5)))
            assert judged.verdict.name == "CRITICAL"

    run(scenario, rig)


def test_a_session_gives_a_sign_of_life_as_soon_as_the_database_is_back(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        rig.use(LeaseTimes(3600.0))
        async with running(rig):
            rig.hosts.living = False
            rig.worker.suspect_store()
            await until(lambda: bool(rig.rows("SELECT 1 FROM wa_sessions.lease WHERE alive_at IS NOT NULL")))
            rig.hosts.living = True
            with rig.outage():
                await until(lambda: rig.client is None, 5)
            await until(lambda: "store_back" in rig.kinds())
            stats = session_stats(Opened(rig.database, rig.backend), PhoneRef(phone_id=rig.phone.id))
            assert stats.unknown_because is None

    run(scenario, rig)


def test_a_service_that_fails_ends_the_worker_and_says_why(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> set[int]:
        raise RuntimeError("a bug")

    async def scenario(rig: Rig) -> None:
        async with running(rig) as worker:
            monkeypatch.setattr(rig.worker._ownership, "renew", broken)
            with pytest.raises(WorkerFault, match="leases failed, a fault of wa-sessions: RuntimeError: a bug"):
                await worker
            assert rig.health()["state"] == "stopped"

    with contextlib.suppress(WorkerFault):
        run(scenario, rig)
