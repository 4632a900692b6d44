"""What locks, edits and clocks do to workers that share phones: nobody's socket closes for it, and no phone is lost."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from support.fleets import LEASE, SHARED, RunningWorker, WorkerFleet, until
from support.stand_in_hosts import StandInHandlers
from support.waiting import PATIENCE

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import ask, live_owner
from wa_sessions.actions.sessions import drain
from wa_sessions.db import leases, workers
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.errors import OwnedByAnother
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.process_identity import ProcessIdentity
from wa_sessions.worker import fleet as shares
from wa_sessions.worker import fleet_watch, policy, session_task, store_guard
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.ownership import Ownership, Taken
from wa_sessions.worker.session_tasks import RESERVED

ELSEWHERE = ProcessIdentity("elsewhere", 7, "another-boot", "pid:[1]", 1)


@pytest.fixture
def fleet(database: Database, server: EmbeddedServer) -> WorkerFleet:
    return WorkerFleet(database, server, 4)


def run(scenario: Callable[[WorkerFleet], Coroutine[Any, Any, None]], fleet: WorkerFleet) -> None:
    asyncio.run(scenario(fleet))


@contextlib.contextmanager
def held(fleet: WorkerFleet, statement: str, *values: object) -> Iterator[None]:
    """A transaction of somebody else that has locked something and goes on."""
    with psycopg.connect(fleet.database.target.conninfo) as conn:
        conn.execute(statement.encode(), values or None)
        yield
        conn.rollback()


def waiting(fleet: WorkerFleet) -> int:
    """How many connections wait for a lock."""
    query = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(fleet.rows(query)[0]["n"])


@pytest.mark.parametrize("table", ['public."OrganizationPhone"', "wa_sessions.health"])
def test_a_table_that_somebody_has_locked_closes_no_socket(fleet: WorkerFleet, table: str) -> None:
    """A migration of the backend's darkened all phones of all workers."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED, SHARED) as _:
            await until(fleet.is_run_once)
            before = [set(worker.hosts.clients) for worker in fleet.workers]
            with held(fleet, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"):
                await asyncio.sleep(LEASE * 3)
                assert [set(worker.hosts.clients) for worker in fleet.workers] == before
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_a_worker_row_that_somebody_has_locked_leaves_no_connection_behind(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as _:
            await until(fleet.is_run_once)
            with held(fleet, "SELECT 1 FROM wa_sessions.worker FOR UPDATE"):
                most, until_then = 0, time.monotonic() + LEASE * 6
                while time.monotonic() < until_then:
                    most = max(most, await asyncio.to_thread(waiting, fleet))
                    await asyncio.sleep(0.2)
                assert most <= 2
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_a_phone_that_somebody_has_locked_takes_no_other_with_it(fleet: WorkerFleet) -> None:
    """As the connection with the locks is lost, that phone's lock comes later, and all sockets stay open."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(fleet.is_run_once)
            before = set(worker.hosts.clients)
            locks = worker.worker._ownership._locks
            assert locks is not None
            with held(fleet, "SELECT 1 FROM wa_sessions.lease WHERE phone_id = %s FOR UPDATE", fleet.phones[0].id):
                fleet.rows("SELECT pg_terminate_backend(%s)", locks.info.backend_pid)
                await asyncio.sleep(LEASE * 2)
                assert set(worker.hosts.clients) == before
            await until(lambda: not worker.worker._guard._again)
            assert lock_count(fleet) == len(fleet.phones)

    run(scenario, fleet)


def test_a_phone_that_is_locked_as_it_is_let_go_takes_no_other_with_it(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that gives no sign of life any more: that is written of its own row."""
    monkeypatch.setattr(session_task, "STUCK_AFTER", 1.0)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(fleet.is_run_once)
            one, other = (phone.id for phone in fleet.phones[:2])
            rest = {worker.hosts.client_of(phone_id) for phone_id in fleet.ids - {one, other}}
            with held(fleet, "SELECT 1 FROM wa_sessions.lease WHERE phone_id = ANY(%s) FOR UPDATE", [one, other]):
                worker.worker._sessions.let_go(one, "a test")
                client = worker.hosts.client_of(other)
                assert client is not None
                worker.hosts.tell(client, protocol.QrCode(client, "2@code"))
                await asyncio.sleep(LEASE * 4)
                assert rest <= worker.hosts.clients.keys()
                assert fleet.held(worker) >= fleet.ids - {one}
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_after_a_silence_a_phone_that_somebody_has_locked_keeps_no_other_down(fleet: WorkerFleet) -> None:
    """It may be another's by then, so it is let go, and taken again as soon as nobody has it locked."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(fleet.is_run_once)
            locked, rest = fleet.phones[0].id, fleet.ids - {fleet.phones[0].id}
            with held(fleet, "SELECT 1 FROM wa_sessions.lease WHERE phone_id = %s FOR UPDATE", locked):
                worker.freeze()
                await asyncio.sleep(LEASE)
                worker.thaw()
                await until(lambda: worker.phones == rest)
                await asyncio.sleep(LEASE)
                assert fleet.is_run_once(rest)
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_of_many_phones_that_are_locked_all_have_their_turn(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_guard, "RECLAIMED_AT_ONCE", 2)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(fleet.is_run_once)
            locks = worker.worker._ownership._locks
            assert locks is not None
            some = sorted(fleet.ids)[:2]
            with held(fleet, "SELECT 1 FROM wa_sessions.lease WHERE phone_id = ANY(%s) FOR UPDATE", some):
                with held(fleet, "SELECT 1 FROM wa_sessions.lease WHERE NOT phone_id = ANY(%s) FOR UPDATE", some):
                    fleet.rows("SELECT pg_terminate_backend(%s)", locks.info.backend_pid)
                    await until(lambda: set(worker.worker._guard._again) == fleet.ids)
                await until(lambda: set(worker.worker._guard._again) == set(some))
            await until(lambda: not worker.worker._guard._again)

    run(scenario, fleet)


def lock_count(fleet: WorkerFleet) -> int:
    query = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s::oid"
    database = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    return int(fleet.rows(query + database, leases.LOCK_CLASS)[0]["n"])


async def _gone_and_back(fleet: WorkerFleet, worker: RunningWorker, ids: set[int]) -> None:
    """The rows of phones are gone until their worker has noticed it, and then there again."""
    await until(lambda: all_pairing(fleet))
    fleet.rows('CREATE TABLE public.kept AS SELECT * FROM public."OrganizationPhone" WHERE id = ANY(%s)', list(ids))
    fleet.rows('DELETE FROM public."OrganizationPhone" WHERE id = ANY(%s)', list(ids))
    for client in list(worker.hosts.clients):
        worker.hosts.tell(client, protocol.QrCode(client, "2@code"))
    await until(lambda: not worker.phones & ids)
    fleet.rows('INSERT INTO public."OrganizationPhone" SELECT * FROM public.kept')
    fleet.rows("DROP TABLE public.kept")
    await until(fleet.is_run_once)


def test_a_phone_whose_row_was_gone_for_a_moment_is_run_again(fleet: WorkerFleet) -> None:
    """A restore of the backend's table: the phone was not run any more, and of all phones the worker ended."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(fleet.is_run_once)
            await _gone_and_back(fleet, worker, {fleet.phones[0].id})
            await _gone_and_back(fleet, worker, fleet.ids)

    run(scenario, fleet)


def all_pairing(fleet: WorkerFleet) -> bool:
    pairing = fleet.rows("SELECT phone_id FROM wa_sessions.health WHERE state = 'pairing'")
    return {row["phone_id"] for row in pairing} == fleet.ids


def test_a_sign_of_life_from_the_future_is_none(fleet: WorkerFleet) -> None:
    """The database's clock was put back, and a worker of another machine is killed."""
    phone, gone = fleet.phones[0], uuid4()
    owned_elsewhere(fleet, phone.id, gone)
    fleet.rows("UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp() + interval '1 hour'")

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids, within=LEASE * 5)
            fleet.rows("DELETE FROM wa_sessions.worker WHERE id = %s", gone)

    run(scenario, fleet)


def test_a_worker_that_begins_takes_nothing_of_one_whose_row_is_gone_before_a_lease_is_over(
    fleet: WorkerFleet,
) -> None:
    phone = fleet.phones[0]
    owned_elsewhere(fleet, phone.id, uuid4())
    fleet.rows("DELETE FROM wa_sessions.worker")

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            began = time.monotonic()
            await until(lambda: worker.phones == fleet.ids)
            assert time.monotonic() - began > LEASE * 0.9

    run(scenario, fleet)


def test_a_worker_that_begins_looks_again_when_the_lease_of_a_silent_one_is_over(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_watch, "FULL_EVERY", 60.0)
    owned_elsewhere(fleet, fleet.phones[0].id, uuid4())
    fleet.rows("UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp() - interval '1 minute'")

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids, 30)
            fleet.rows("DELETE FROM wa_sessions.worker WHERE id <> %s", worker.id)

    run(scenario, fleet)


@pytest.mark.parametrize("back", ["30 seconds", "1 hour"])
def test_a_phone_that_was_released_before_the_clock_was_put_back_is_free(fleet: WorkerFleet, back: str) -> None:
    owned_elsewhere(fleet, fleet.phones[0].id, uuid4())
    fleet.rows("DELETE FROM wa_sessions.worker")
    fleet.rows("UPDATE wa_sessions.lease SET expires_at = clock_timestamp() + %s::interval", back)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids, within=15)

    run(scenario, fleet)


def test_a_lease_of_an_old_version_is_no_released_phone_of_before_a_step_of_the_clock(fleet: WorkerFleet) -> None:
    """It has an end of its own, half a minute ahead."""
    phone, old = fleet.phones[0], uuid4()
    owned_elsewhere(fleet, phone.id, old)
    fleet.rows("UPDATE wa_sessions.worker SET lease_seconds = NULL")
    fleet.rows("UPDATE wa_sessions.lease SET expires_at = clock_timestamp() + interval '30 seconds'")

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids - {phone.id})
            await asyncio.sleep(fleet_watch.FULL_EVERY + 1)
            assert worker.phones == fleet.ids - {phone.id}
            fleet.rows("DELETE FROM wa_sessions.worker WHERE id = %s", old)
            fleet.rows("UPDATE wa_sessions.lease SET expires_at = clock_timestamp() WHERE worker_id = %s", old)

    run(scenario, fleet)


@pytest.mark.parametrize("reserved", [False, True])
def test_a_phone_that_was_free_as_the_clock_was_put_back_is_taken_by_a_worker_that_runs(
    fleet: WorkerFleet, *, reserved: bool
) -> None:
    """It was looked at as a worker begins alone: for an hour nobody would have taken it."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(fleet.is_run_once)
            phone = fleet.phones[0]
            fleet.rows('CREATE TABLE public.kept AS SELECT * FROM public."OrganizationPhone" WHERE id = %s', phone.id)
            fleet.rows('DELETE FROM public."OrganizationPhone" WHERE id = %s', phone.id)
            await until(lambda: fleet.held(worker) == worker.phones == fleet.ids - {phone.id})
            if reserved:
                with fleet.database.transaction() as conn:
                    leases.reserve(conn, phone.id, 3600 + RESERVED)
            else:
                fleet.rows(
                    """UPDATE wa_sessions.lease
                       SET worker_id = gen_random_uuid(), expires_at = now() + interval '1 hour' WHERE phone_id = %s""",
                    phone.id,
                )
            fleet.rows('INSERT INTO public."OrganizationPhone" SELECT * FROM public.kept')
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_a_worker_that_has_phones_is_not_forgotten_however_old_its_last_sign_of_life(fleet: WorkerFleet) -> None:
    """The database's clock was put forward: it lives, and gives the next sign within a second."""
    alive, dead = uuid4(), uuid4()
    owned_elsewhere(fleet, fleet.phones[0].id, alive)
    with fleet.database.transaction() as conn:
        workers.register(conn, dead, ELSEWHERE, "1", lease=LEASE, scope="all")
    fleet.rows("UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp() - interval '2 hours'")
    with fleet.database.transaction() as conn:
        assert workers.forget_stale(conn, 3600) == 1
        assert [row.id for row in workers.roster(conn)] == [alive]


def owned_elsewhere(fleet: WorkerFleet, phone_id: int, worker_id: UUID) -> None:
    """A worker of another machine has it, and its connection with the lock is gone."""
    with fleet.database.transaction() as conn:
        workers.register(conn, worker_id, ELSEWHERE, "1", lease=LEASE, scope="all")
        leases.take(conn, phone_id, worker_id)
        leases.unlock(conn, phone_id)


def test_of_workers_that_are_drained_at_once_one_keeps_the_phones(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(fleet.database, fleet.backend)
    monkeypatch.setattr(shares, "SETTLED", 1.0)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED, SHARED) as workers_:
            await until(lambda: fleet.is_run_once() and all(worker.phones for worker in workers_))
            plans = [await asyncio.to_thread(drain.plan, opened, str(worker.id)) for worker in workers_]
            ends = await asyncio.gather(
                *(asyncio.to_thread(drain.begin, opened, plan) for plan in plans), return_exceptions=True
            )
            assert sum(isinstance(end, OwnedByAnother) for end in ends) == 1
            await until(fleet.is_run_once)
            fleet.rows("UPDATE wa_sessions.worker SET draining = true")
            await workers_[1].stop()
            await until(lambda: workers_[0].phones == fleet.ids)

    run(scenario, fleet)


def test_a_worker_that_is_drained_stays_so_though_its_row_was_removed(fleet: WorkerFleet) -> None:
    """As it was silent for an hour and had no phones: it took some as it came back."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin()
            fleet.rows("UPDATE wa_sessions.worker SET draining = true WHERE id = %s", first.id)
            await until(lambda: second.phones == fleet.ids and not fleet.held(first))
            first.freeze()
            fleet.rows("DELETE FROM wa_sessions.worker WHERE id = %s", first.id)
            first.thaw()
            draining = "SELECT draining FROM wa_sessions.worker WHERE id = %s"
            await until(lambda: bool(fleet.rows(draining, first.id)))
            assert fleet.rows(draining, first.id) == [{"draining": True}]
            fleet.rows("UPDATE wa_sessions.worker SET draining = false WHERE id = %s", first.id)
            await second.stop()
            await until(lambda: first.phones == fleet.ids)

    run(scenario, fleet)


def test_all_phones_of_a_worker_that_begins_are_begun_afresh(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many it takes at once: those after the first ones stayed closed."""
    monkeypatch.setattr(fleet_watch, "MOST_TAKEN", 1)
    for phone in fleet.phones:
        fleet.rows(
            """INSERT INTO wa_sessions.health (phone_id, organization_id, state, state_since)
               VALUES (%s, 1, 'force_closed', now())""",
            phone.id,
        )

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids)

    run(scenario, fleet)


@pytest.mark.parametrize("named", [False, True])
def test_phones_that_somebody_has_locked_keep_no_other_waiting_as_a_worker_begins(
    database: Database, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    """Each was waited for, one after the other: sixty of them kept the last one without a worker for 15 s.

    What it is ready to wait is counted, and not measured: the machine may be busy.
    """
    fleet = WorkerFleet(database, server, 60)
    for phone in fleet.phones:
        released_before(fleet, phone.id)
    last = fleet.phones[-1]
    waited: list[float] = []
    take = Ownership.take

    def noting(self: Ownership, phone_id: int, *, waits: float | None = None, **how: Any) -> Taken:
        if phone_id == last.id:
            monkeypatch.setattr(Ownership, "take", take)
        waited.append(leases.HOLDER_TIMEOUT if waits is None else waits)
        return take(self, phone_id, waits=waits, **how)

    async def scenario(fleet: WorkerFleet) -> None:
        monkeypatch.setattr(Ownership, "take", noting)
        with held(fleet, "SELECT 1 FROM wa_sessions.lease WHERE phone_id <> %s FOR UPDATE", last.id):
            async with fleet.running() as _:
                worker = fleet.begin(None, fleet.phones) if named else fleet.begin()
                await until(lambda: last.id in worker.phones)
        assert len(waited) >= 60
        assert sum(waited) < 3

    run(scenario, fleet)


def released_before(fleet: WorkerFleet, phone_id: int) -> None:
    """Free, and some worker had it once."""
    with fleet.database.transaction() as conn:
        leases.take(conn, phone_id, former := uuid4())
        leases.release(conn, phone_id, former)


def test_a_phone_that_somebody_has_locked_as_a_worker_begins_is_begun_afresh_too(fleet: WorkerFleet) -> None:
    late = fleet.phones[0]
    for phone in fleet.phones:
        released_before(fleet, phone.id)
        fleet.rows(
            """INSERT INTO wa_sessions.health (phone_id, organization_id, state, state_since)
               VALUES (%s, 1, 'force_closed', now())""",
            phone.id,
        )

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running() as _:
            with held(fleet, "SELECT 1 FROM wa_sessions.lease WHERE phone_id = %s FOR UPDATE", late.id):
                worker = fleet.begin()
                await until(lambda: worker.phones == fleet.ids - {late.id})
                await until(lambda: not worker.worker._sessions.tasks.keys() & {late.id})
            await until(lambda: worker.phones == fleet.ids)

    run(scenario, fleet)


def test_a_worker_whose_only_other_phone_an_operator_has_does_not_end(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set down for its faults was one phone alone; nobody was there for the other one when it came back."""
    monkeypatch.setattr(policy, "MOST_FAULTS", 1)
    faulty, lent, *rest = fleet.phones
    for phone in rest:
        fleet.rows('DELETE FROM public."OrganizationPhone" WHERE id = %s', phone.id)
        fleet.phones.remove(phone)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids)
            await until(lambda: fleet.is_run_once())
            with fleet.database.transaction() as conn:
                owner = live_owner(conn, lent.id)
            assert owner is not None
            opened = Opened(fleet.database, fleet.backend)
            await asyncio.to_thread(ask, opened, lent, owner, "release", 10, reason="a test")
            client = worker.hosts.client_of(faulty.id)
            assert client is not None
            fault = protocol.Undecrypted(client, "i\0", "1@lid", "1@lid", False, Cause.OTHER, Encryption.MESSAGE)
            worker.hosts.tell(client, fault)
            await until(
                lambda: worker.worker._sessions.set_down.keys() == {faulty.id} and not worker.worker._sessions.running
            )
            ends = "UPDATE wa_sessions.lease SET wanted_until = now() + interval '1 second' WHERE phone_id = %s"
            fleet.rows(ends, lent.id)
            await until(lambda: worker.phones == {lent.id})

    run(scenario, fleet)


def test_what_is_taken_as_the_worker_is_told_to_end_is_begun_with_no_more(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session was killed with the worker, and said that it goes on."""

    async def scenario(fleet: WorkerFleet) -> None:
        fleet.rows('CREATE TABLE public.kept AS SELECT * FROM public."OrganizationPhone"')
        fleet.rows('DELETE FROM public."OrganizationPhone"')
        worker = RunningWorker(fleet.database, fleet.backend, SHARED, LongHandlers())
        take, takes, goes_on = worker.worker._ownership.take, threading.Event(), threading.Event()

        def take_slowly(phone_id: int, **how: Any) -> Any:
            takes.set()
            assert goes_on.wait(PATIENCE)
            return take(phone_id, **how)

        monkeypatch.setattr(worker.worker._ownership, "take", take_slowly)
        worker.start()
        fleet.rows('INSERT INTO public."OrganizationPhone" SELECT * FROM public.kept')
        await until(takes.is_set)
        worker.worker.stop()
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.1, goes_on.set)
        await worker.task
        assert worker.hosts.opened == []
        assert fleet.rows("SELECT phone_id, state FROM wa_sessions.health") == []
        assert fleet.rows("SELECT 1 FROM wa_sessions.lease WHERE expires_at > clock_timestamp()") == []

    run(scenario, fleet)


class LongHandlers(StandInHandlers):
    """They have something in hand as the worker ends."""

    async def drain(self, within: float) -> None:
        await asyncio.sleep(1)


def test_phones_that_another_worker_had_meanwhile_and_gave_up_are_run_again(fleet: WorkerFleet) -> None:
    """They were its own again, stayed as the other one had left them, stopped, and nobody else could take them."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin()
            await until(lambda: second.worker._guard.back_for > LEASE)
            first.freeze()
            await until(lambda: second.phones == fleet.ids and all_pairing(fleet))
            await second.stop()
            for client in list(first.hosts.clients):  # its hosts had ended by themselves
                first.hosts.lose(client)
            first.thaw()
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_a_worker_whose_row_somebody_removed_has_its_phones_to_itself_until_it_cannot_live(fleet: WorkerFleet) -> None:
    """Others ended its connection and took them at once, while its sockets were open."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin()
            await until(lambda: second.worker._guard.back_for > LEASE)
            await until(lambda: first.hosts.until > now() + LEASE / 2)
            first.freeze()
            fleet.rows("DELETE FROM wa_sessions.worker WHERE id = %s", first.id)
            fleet.rows("SELECT pg_notify('wa_sessions_fleet', '')")
            while first.hosts.until > now():
                assert not second.phones
                await asyncio.sleep(0.02)
            first.thaw()
            await until(fleet.is_run_once)

    run(scenario, fleet)
