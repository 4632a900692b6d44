"""A session and its supervisor over a real Postgres: the database goes away, or refuses what it is to write."""

import asyncio
import threading
from functools import partial
from typing import Any

import psycopg
import pytest
from support.fleets import until
from support.rigs import DEVICE, NUMBER, Rig, fail, run, running
from support.waiting import PATIENCE

from wa_sessions.db import health as health_rows
from wa_sessions.errors import DatabaseAway
from wa_sessions.worker import log, policy
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.hosts import protocol


def test_a_limit_that_is_reached_while_the_database_is_away_closes_when_it_is_back(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            for number in range(4):
                rig.unsynced()
                await until(partial(rig.has_counted, number + 1))
            with rig.outage():
                rig.unsynced()
                await until(lambda: rig.client is None, 5)
            await until(lambda: "session_closed" in rig.kinds())
            await until(lambda: rig.health()["state"] == "pairing")
            health = rig.health()
            assert (health["closing"], health["bad_decrypt_errors"]) == (None, 0)
            assert rig.kinds().count("session_closed") == 1
            assert rig.rows("SELECT 1 FROM whatsmeow.whatsmeow_device WHERE jid = %s", DEVICE) == []

    run(scenario, rig)


def test_a_deadlock_closes_no_socket(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            name = rig.database.target.conninfo
            with psycopg.connect(name) as one:
                one.execute("SET deadlock_timeout = '10s'")
                one.execute("LOCK TABLE wa_sessions.health IN ACCESS EXCLUSIVE MODE")
                rig.tell(protocol.PingUnanswered)
                query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
                await until(lambda: bool(rig.rows(query, "%INSERT INTO wa_sessions.health%")))
                # the task holds the lease's row and waits for health; now we wait for the lease's row: a deadlock
                await asyncio.to_thread(one.execute, "SELECT 1 FROM wa_sessions.lease FOR UPDATE")
                one.rollback()
            await until(lambda: rig.health()["state"] == "no_answer")
            assert rig.opened == 1
            assert rig.client is not None

    run(scenario, rig)


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("ALTER TABLE wa_sessions.lease RENAME TO away", "ALTER TABLE wa_sessions.away RENAME TO lease"),
        ("ALTER TABLE wa_sessions.event RENAME TO away", "ALTER TABLE wa_sessions.away RENAME TO event"),
        (
            'ALTER TABLE public."OrganizationPhone" RENAME TO away',
            'ALTER TABLE public.away RENAME TO "OrganizationPhone"',
        ),
    ],
)
def test_a_table_that_is_missing_for_a_while_ends_nothing(rig: Rig, away: str, back: str) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig) as worker:
            rig.rows(away)
            rig.tell(protocol.PingUnanswered)
            command = rig.ask("force_close", reason="maintenance", logout=False)
            await asyncio.sleep(2)
            rig.rows(back)
            await until(lambda: rig.answered(command))
            assert rig.health()["state"] == "force_closed"
            assert "fault" not in rig.kinds()
            assert not worker.done()
            restart = rig.ask("restart")
            await until(lambda: rig.answered(restart))
            await until(lambda: rig.opened == 2)

    run(scenario, rig)


TRAP = """
CREATE TABLE public.audit (phone integer);
CREATE FUNCTION public.audited() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END $$;
CREATE TRIGGER audited BEFORE UPDATE ON public."OrganizationPhone" FOR EACH ROW EXECUTE FUNCTION public.audited();
"""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str, str]]:
    """Errors and good news of the log: phone, event, message."""
    lines: list[tuple[str | None, str, str]] = []

    def say(message: str, *, phone: str | None = None, event: str = "", **_: object) -> None:
        lines.append((phone, event, message))

    monkeypatch.setattr(log, "info", say)
    monkeypatch.setattr(log, "error", say)
    return lines


def test_a_write_that_keeps_failing_is_tried_with_growing_pauses_and_its_reason_is_said_once(
    rig: Rig, said: list[tuple[str | None, str, str]]
) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            for statement in TRAP.split(";\n"):
                rig.rows(statement)
            before = len(rig.kinds())
            rig.tell(protocol.Disconnected)
            await until(lambda: rig.worker._tasks[rig.phone.id].session.store_attempts >= 4, 30)
            reasons = [message for phone, event, message in said if (phone, event) == (NUMBER, "store_lost")]
            assert ["ALTER FUNCTION public.audited() SET search_path" in reason for reason in reasons] == [True]
            assert rig.kinds()[before:] == ["store_lost"]
            rig.rows("ALTER FUNCTION public.audited() SET search_path = public")
            await until(lambda: rig.client is not None)
            rig.tell(protocol.Connected)
            await until(lambda: rig.health()["state"] == "connected")
            assert rig.kinds()[-2:] == ["store_lost", "store_back"]

    run(scenario, rig)


def test_a_look_that_keeps_failing_before_the_session_begins_is_tried_with_growing_pauses(
    rig: Rig, said: list[tuple[str | None, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a database has a connection for the guard, and none for this phone."""
    loads: list[int] = []
    paused: list[float] = []
    loaded = health_rows.load

    def refused(conn: Any, phone_id: int) -> Any:
        loads.append(phone_id)
        if phone_id == rig.phone.id and loads.count(phone_id) <= 4:
            raise DatabaseAway("too many clients already")
        return loaded(conn, phone_id)

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(health_rows, "load", refused)
        monkeypatch.setattr(rig.worker._sessions, "_pause", pause)
        async with running(rig):
            assert rig.health()["state"] == "connected"

    run(scenario, rig)
    assert [message for phone, event, message in said if (phone, event) == (NUMBER, "store_lost")] == [
        "too many clients already; it is tried again"
    ]
    assert len(paused) == 3
    assert paused == sorted(paused)


def test_an_outage_is_one_line_of_the_log_however_many_phones_there_are(
    rig: Rig, said: list[tuple[str | None, str, str]]
) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            with rig.outage():
                rig.tell(protocol.Disconnected)
                await until(lambda: rig.client is None, 5)
                await until(lambda: rig.worker._guard.answers is False)
            await until(lambda: rig.kinds()[-2:] == ["store_lost", "store_back"])
            lost = [(phone, message) for phone, event, message in said if event in ("store_lost", "store_back")]
            assert [phone for phone, _ in lost] == [None, None]
            assert "sockets are closed, WhatsApp keeps the messages" in lost[0][1]
            assert "answers again after" in lost[1][1]

    run(scenario, rig)


def test_a_database_that_hangs_is_said(
    rig: Rig, said: list[tuple[str | None, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, renew = threading.Event(), rig.worker._ownership.renew

    def hanging(*arguments: Any) -> Any:
        goes_on.wait(PATIENCE)
        return renew(*arguments)

    async def scenario(rig: Rig) -> None:
        async with running(rig):
            monkeypatch.setattr(rig.worker._ownership, "renew", hanging)
            await until(lambda: any(event == "store_lost" for _, event, _ in said))
            goes_on.set()
            await until(lambda: any(event == "store_back" for _, event, _ in said))

    run(scenario, rig)
    [line] = [message for phone, event, message in said if event == "store_lost"]
    assert line.startswith("the database does not answer since 0.4 s: sockets are closed")


def test_a_fault_whose_status_cannot_be_written_is_written_without_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _self: 0.0)

    async def scenario(rig: Rig) -> None:
        async with running(rig):
            for _ in range(policy.MOST_FAULTS):
                if rig.kinds().count("fault") == policy.MOST_FAULTS - 1:
                    for statement in TRAP.split(";\n"):
                        rig.rows(statement)
                await fail(rig, lambda: "faulted" in rig.kinds())
            await until(lambda: rig.health()["state"] == "faulted")

    run(scenario, rig)


def test_a_force_close_in_an_outage_stays_down(rig: Rig) -> None:
    async def scenario(rig: Rig) -> None:
        async with running(rig):
            rig.hosts.closes_clients = False
            command = rig.ask("force_close", reason="maintenance", logout=False)
            await until(lambda: rig.worker._tasks[rig.phone.id].session.ending)
            with rig.outage():
                rig.hosts.closes_clients = True
                rig.hosts.close(rig.client or 0)
                await until(lambda: rig.worker._tasks[rig.phone.id].session.store_away, 5)
            await until(lambda: rig.answered(command))
            await asyncio.sleep(0.5)
            assert rig.health()["state"] == "force_closed"
            assert rig.opened == 1
            assert rig.kinds().count("force_closed") == 1

    run(scenario, rig)
