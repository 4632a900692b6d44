"""A session and its supervisor over a real Postgres, which fails as it does in life; only hosts are stand-ins."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from support.outages import demoted, outage
from support.relay import Relay
from support.stand_in_hosts import StandInHandlers, StandInHosts
from support.waiting import PATIENCE

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.check import check
from wa_sessions.actions.watch.stats import session_stats
from wa_sessions.db import backend, commands, leases, phones
from wa_sessions.db import health as health_rows
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.db.settings import Target
from wa_sessions.errors import Busy, DatabaseAway, ExitCode, OwnedByAnother, WaSessionsError
from wa_sessions.health.checking import Thresholds
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.events.workers import HandlerUnfinished
from wa_sessions.health.model import Limits
from wa_sessions.health.reconnect import State
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import Selection
from wa_sessions.worker import command_queue, log, policy
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.session import Settings
from wa_sessions.worker.supervisor import Supervisor, WorkerFault, WorkerOptions

NUMBER, OTHER = "77051234567", "77057654321"
DEVICE = f"{NUMBER}:1@s.whatsapp.net"


class Rig:
    """One worker in this event loop, two phones with keys, and a database that can be taken away."""

    def __init__(self, database: Database, server: EmbeddedServer, limits: Limits) -> None:
        self.database = database
        self._server = server
        self.hosts = StandInHosts()
        with database.transaction() as conn:
            self.backend = backend.detect(conn)
            self.phone, self.other = (phones.add(conn, self.backend, number, 1) for number in (NUMBER, OTHER))
            for number in (NUMBER, OTHER):
                _give_keys(conn, f"{number}:1@s.whatsapp.net")
        self.limits = limits
        self.use(LeaseTimes(2.0))

    def use(self, times: LeaseTimes) -> None:
        """A worker with these times."""
        options = WorkerOptions(Settings(self.limits), times)
        self.worker = Supervisor(self.database, self.backend, options, self.hosts, StandInHandlers())

    # ---------------------------------------------------------------------------------------- what is seen

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self.database.transaction() as conn:
            cursor = conn.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def kinds(self) -> list[str]:
        query = "SELECT kind FROM wa_sessions.event WHERE phone_id = %s ORDER BY id"
        return [row["kind"] for row in self.rows(query, self.phone.id)]

    def has_counted(self, number: int) -> bool:
        return bool(self.health()["bad_decrypt_errors"] == number)

    def has_come_back(self, times: int) -> bool:
        return self.kinds().count("store_back") == times

    def health(self) -> dict[str, Any]:
        return self.rows("SELECT * FROM wa_sessions.health WHERE phone_id = %s", self.phone.id)[0]

    @property
    def client(self) -> int | None:
        return self.hosts.client_of(self.phone.id)

    @property
    def opened(self) -> int:
        return sum(phone_id == self.phone.id for phone_id, _ in self.hosts.opened)

    # ---------------------------------------------------------------------------------------- what happens

    def tell(self, kind: Callable[..., Any], *values: object) -> None:
        assert self.client is not None
        self.hosts.tell(self.client, kind(self.client, *values))

    def unsynced(self) -> None:
        self.tell(protocol.Unsynced, "regular", Cause.BAD_DECRYPT)

    def ask(self, verb: str, given: object = None, **arguments: object) -> int:
        with self.database.transaction() as conn:
            command = commands.ask(conn, self.phone.id, self.worker.worker_id, verb, arguments, "op@host")
            if given is not None:
                conn.execute("UPDATE wa_sessions.command SET arguments = %s WHERE id = %s", (Jsonb(given), command))
            return command

    def answered(self, command_id: int) -> bool:
        return bool(
            self.rows("SELECT 1 FROM wa_sessions.command WHERE id = %s AND finished_at IS NOT NULL", command_id)
        )

    def demoted(self) -> contextlib.AbstractContextManager[None]:
        return demoted(self._server, self.database)

    def outage(self) -> contextlib.AbstractContextManager[None]:
        return outage(self._server, self.database)


def _give_keys(conn: Any, device: str) -> None:
    columns = conn.execute(
        """SELECT column_name AS name, data_type AS type FROM information_schema.columns
           WHERE table_schema = 'whatsmeow' AND table_name = 'whatsmeow_device' AND is_nullable = 'NO'"""
    ).fetchall()
    made = {"bytea": b"\1" * 32, "integer": 1, "bigint": 1, "text": "x", "boolean": False}
    values = {row["name"]: made.get(row["type"], b"\1" * 64) for row in columns} | {"jid": device}
    for name in ("adv_account_sig", "adv_account_sig_key", "adv_device_sig", "identity_key", "noise_key"):
        if name in values:
            values[name] = b"\1" * (64 if name in ("adv_account_sig", "adv_device_sig") else 32)
    if "signed_pre_key_sig" in values:
        values["signed_pre_key_sig"] = b"\1" * 64
    names = SQL(", ").join(map(Identifier, values))
    cells = SQL(", ").join(SQL("%({})s").format(SQL(name)) for name in values)
    conn.execute(SQL("INSERT INTO whatsmeow.whatsmeow_device ({}) VALUES ({})").format(names, cells), values)


async def until(true: Callable[[], bool], within: float = PATIENCE) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


async def fail(rig: Rig, over: Callable[[], bool]) -> None:
    """Have the session meet a fault; it is begun again then, or all is ``over``."""
    before = rig.opened
    rig.tell(protocol.Undecrypted, "i\0", "1@lid", "1@lid", False, Cause.OTHER, Encryption.MESSAGE)
    await until(lambda: rig.opened > before or over())


@contextlib.asynccontextmanager
async def running(rig: Rig, *chosen: Phone) -> AsyncIterator[asyncio.Task[None]]:
    """The worker, connected; it is stopped at the end, and must end well."""
    task = asyncio.create_task(rig.worker.run(chosen or [rig.phone, rig.other]))
    await until(lambda: task.done() or rig.client is not None)
    rig.tell(protocol.Connected)
    await until(lambda: "connected" in rig.kinds())
    try:
        yield task
    finally:
        rig.worker.stop()
    with contextlib.suppress(OwnedByAnother):
        await task


@pytest.fixture
def rig(database: Database, server: EmbeddedServer) -> Rig:
    return Rig(database, server, Limits())


def run(scenario: Callable[[Rig], Coroutine[Any, Any, None]], rig: Rig) -> None:
    asyncio.run(scenario(rig))


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
