"""A session and its supervisor over a real Postgres: what it keeps to the database, and what it says of itself."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from support.fleets import until
from support.relay import Relay
from support.rigs import DEVICE, Rig, run, running

from wa_sessions.db import health as health_rows
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target
from wa_sessions.health.model import Limits
from wa_sessions.health.reconnect import State
from wa_sessions.keys.selection import Selection
from wa_sessions.worker import command_queue
from wa_sessions.worker.hosts import protocol


def test_losing_the_database_again_and_again_adds_no_listener(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            for times in range(3):
                with rig.outage():
                    await until(lambda: rig.client is None, 5)
                await until(lambda: rig.client is not None)
                rig.tell(protocol.Connected)
                await until(partial(rig.has_come_back, times + 1))
            listeners = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%%'"
            assert len(rig.rows(listeners)) == 1
            assert not [thread for thread in threading.enumerate() if thread.name == "listen"]
            command = rig.ask("restart")
            await until(lambda: rig.answered(command), 3)

    run(scenario, rig)


@pytest.mark.parametrize("writable", [False, True])
def test_a_server_that_is_read_only_is_away(target: Target, server: EmbeddedServer, writable: bool) -> None:
    """By a name that leads to the new primary a moment later: no connection to the old one may be kept."""

    async def scenario(rig: Rig) -> None:
        async with running(rig) as worker:
            with rig.demoted():
                await until(lambda: rig.client is None)
            await until(lambda: rig.client is not None)
            rig.tell(protocol.Connected)
            await until(lambda: "store_back" in rig.kinds())
            command = rig.ask("send", to="1", text="hello")
            await until(lambda: rig.answered(command))
            assert not worker.done()

    with Database(target, 8, deadline=15, writable=writable) as database:
        run(scenario, Rig(database, server, Limits()))


def test_a_middlebox_that_forgets_all_connections_is_survived(
    target: Target, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on acknowledging, so TCP sees nothing: neither the locks' connection nor the listener's is used again."""
    monkeypatch.setattr(command_queue, "LOOK_EVERY", 0.5)
    listeners = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%%'"

    async def scenario(rig: Rig) -> None:
        async with running(rig) as worker:
            before = rig.rows(listeners)
            relay.forget()
            command = rig.ask("send", to="1", text="hello")
            await until(lambda: rig.answered(command))
            await until(lambda: any(row not in before for row in rig.rows(listeners)))
            monkeypatch.setattr(command_queue, "LOOK_EVERY", 3600)
            for _ in range(2):  # a look may be under way; the second one is heard of
                command = rig.ask("send", to="1", text="again")
                await until(partial(rig.answered, command))
            assert rig.rows("SELECT 1 FROM wa_sessions.lease WHERE expires_at > clock_timestamp()")
            assert not worker.done()

    with Relay(server.socket_dir) as relay:
        conninfo = make_conninfo(target.conninfo, host="127.0.0.1", hostaddr="127.0.0.1", port=relay.port)
        with Database(Target(conninfo, None, "test"), 8, deadline=0.5, writable=True) as database:
            run(scenario, Rig(database, server, Limits()))


def test_a_suspicion_that_is_wrong_closes_nothing(rig: Rig) -> None:
    listeners = """SELECT pid FROM pg_stat_activity
                   WHERE datname = current_database() AND query ILIKE 'LISTEN%%'"""

    async def scenario(rig: Rig) -> None:
        async with running(rig):
            [before] = rig.rows(listeners)
            rig.rows("SELECT pg_terminate_backend(%s)", before["pid"])
            await until(lambda: [row for row in rig.rows(listeners) if row != before] != [])
            command = rig.ask("send", to="1", text="hello")
            await until(lambda: rig.answered(command))
            assert rig.hosts.sent == [("1", "hello")]
            assert "store_lost" not in rig.kinds()
            assert rig.opened == 1

    run(scenario, rig)


def test_a_sync_is_seen_within_seconds_on_a_busy_phone(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            rig.unsynced()
            await until(lambda: rig.health()["bad_decrypt_errors"] == 1)
            insert = "INSERT INTO whatsmeow.whatsmeow_app_state_version VALUES (%s, 'regular', 5, %s)"
            rig.rows(insert, DEVICE, b"\1" * 128)
            for number in range(20):
                rig.tell(protocol.Decrypted, f"m{number}", "1@lid", "1@lid")
                await asyncio.sleep(0.1)
            await until(lambda: rig.health()["bad_decrypt_errors"] == 0, 3)

    run(scenario, rig)


def test_a_clean_that_finds_nothing_resets_no_counter(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            rig.unsynced()
            await until(lambda: rig.health()["bad_decrypt_errors"] == 1)
            selection = Selection(frozenset({"session"})).as_dict()
            command = rig.ask("clean", action="x", reason="r", operation="no-such-operation", selection=selection)
            await until(lambda: rig.answered(command))
            await until(lambda: rig.opened == 2)
            rig.tell(protocol.Connected)
            await until(lambda: rig.kinds().count("connected") == 2)
            assert rig.health()["bad_decrypt_errors"] == 1

    run(scenario, rig)


def test_a_commit_that_went_through_though_its_answer_was_lost_counts_once(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            task = rig.worker._tasks[rig.phone.id]
            begun, saved, saving = task.repository._database.transaction, health_rows.save, []

            def save(conn: Any, row: Any) -> None:
                saved(conn, row)
                if row.phone_id == rig.phone.id:
                    saving.append(conn)

            @contextlib.contextmanager
            def cut_off() -> Iterator[Any]:
                """The commit reaches the server, and its answer does not reach us."""
                with begun() as conn:
                    yield conn
                    if saving and conn is saving[0]:
                        conn.commit()
                        conn.close()

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(health_rows, "save", save)
                patched.setattr(task.repository._database, "transaction", cut_off)
                rig.unsynced()
                await until(lambda: rig.opened == 2)
            rig.tell(protocol.Connected)
            await until(lambda: rig.kinds().count("connected") == 2)
            assert rig.kinds().count("error_counted") == 1
            assert rig.kinds().count("collection_quarantined") + rig.kinds().count("collection_kept") == 1

    run(scenario, rig)


def test_after_a_pause_a_worker_takes_again_what_is_free(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig) as worker:
            rig.rows(
                "UPDATE wa_sessions.lease SET expires_at = now() - interval '1 s' WHERE phone_id = %s", rig.phone.id
            )
            lease = "SELECT 1 FROM wa_sessions.lease WHERE phone_id = %s AND expires_at > clock_timestamp()"
            await until(lambda: bool(rig.rows(lease, rig.phone.id)))
            command = rig.ask("restart")
            await until(lambda: rig.answered(command))
            await until(lambda: rig.worker._tasks[rig.phone.id].session.state is State.CONNECTING)
            assert not worker.done()

    run(scenario, rig)
