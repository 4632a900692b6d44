"""A session and its supervisor over a real Postgres: its leases."""

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from support.fleets import until
from support.rigs import Rig, run, running
from support.stand_in_hosts import StandInHandlers
from support.waiting import PATIENCE

from wa_sessions.db import leases
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.errors import Busy
from wa_sessions.health.model import Limits
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.session import Settings
from wa_sessions.worker.supervisor import Supervisor, WorkerOptions


def test_a_write_while_a_lease_is_taken_anew_gives_nothing_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.use(LeaseTimes(60.0))  # the thread that waits for the write is no database that does not answer

    async def scenario(rig: Rig) -> None:
        async with running(rig):
            reclaim, fence = rig.worker._ownership.reclaim, leases.fence
            taken, refused = threading.Event(), threading.Event()

            def slowly(phone_ids: Any) -> Any:
                epochs = reclaim(phone_ids)
                taken.set()
                refused.wait(PATIENCE)
                return epochs

            def watched(*of: Any) -> None:
                try:
                    fence(*of)
                except Busy:
                    refused.set()
                    raise

            monkeypatch.setattr(rig.worker._ownership, "reclaim", slowly)
            monkeypatch.setattr(leases, "fence", watched)
            rig.rows("UPDATE wa_sessions.lease SET expires_at = clock_timestamp() - interval '1 s'")
            rig.worker.suspect_store()
            assert await asyncio.to_thread(taken.wait, PATIENCE)
            rig.tell(protocol.PingUnanswered)
            await until(lambda: rig.health()["state"] == "no_answer")
            assert refused.is_set()
            assert rig.opened == 1

    run(scenario, rig)


def test_a_lease_whose_row_is_deleted_is_taken_anew(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            rig.rows("DELETE FROM wa_sessions.lease")
            rig.tell(protocol.PingUnanswered)
            await until(lambda: rig.health()["state"] == "no_answer")
            assert rig.opened == 1

    run(scenario, rig)


def test_leases_are_renewed_while_every_session_waits_for_a_lock(database: Database, server: EmbeddedServer) -> None:
    rig = Rig(database, server, Limits())

    async def scenario(rig: Rig) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        with Database.open(database.target, size=2) as narrow:
            rig.worker = Supervisor(
                narrow, rig.backend, WorkerOptions(Settings(Limits()), LeaseTimes(2.0)), rig.hosts, StandInHandlers()
            )
            async with running(rig):
                leases = "SELECT epoch FROM wa_sessions.lease WHERE expires_at > clock_timestamp()"
                before = rig.rows(leases)
                with psycopg.connect(database.target.conninfo) as other:
                    other.execute("LOCK TABLE wa_sessions.health IN ACCESS EXCLUSIVE MODE")
                    for client in list(rig.hosts.clients):
                        rig.hosts.tell(client, protocol.Disconnected(client))
                    await asyncio.sleep(4)
                    assert rig.rows(leases) == before
                    assert rig.hosts.until > now()
                await until(lambda: rig.health()["state"] == "reconnecting")
                assert rig.opened == 1

    run(scenario, rig)


def test_a_worker_that_is_told_to_end_while_it_begins_leaves_no_lease(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(rig: Rig) -> None:
        waiting = asyncio.Event()

        async def prepare() -> None:
            waiting.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(rig.hosts, "prepare", prepare)
        worker = asyncio.create_task(rig.worker.run([rig.phone, rig.other]))
        await waiting.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(worker, 3)
        assert rig.rows("SELECT 1 FROM wa_sessions.lease WHERE expires_at > clock_timestamp()") == []
        assert rig.rows("SELECT 1 FROM wa_sessions.worker") == []

    run(scenario, rig)
