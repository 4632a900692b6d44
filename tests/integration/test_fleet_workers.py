"""Several workers that share phones, over a real Postgres: who takes over from whom, and that nobody does too early."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from support.fleets import LEASE, SHARED, RunningWorker, WorkerFleet, until
from support.stand_in_workers import FleetWorker

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import ask, live_owner
from wa_sessions.actions.sessions.assign import assign
from wa_sessions.actions.sessions.restart import restart
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.leases import FREE_AFTER, LOCK_CLASS
from wa_sessions.db.phones import Phone
from wa_sessions.errors import ExitCode, OwnedByAnother, WaSessionsError
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.process_identity import ProcessIdentity
from wa_sessions.worker import fleet as shares
from wa_sessions.worker import fleet_watch, log, policy
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.fleet import Scope
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.ownership import Ownership

OWN = ProcessIdentity.own()
Scenario = Callable[[WorkerFleet], Coroutine[Any, Any, None]]


@pytest.fixture
def fleet(database: Database, server: EmbeddedServer) -> WorkerFleet:
    return WorkerFleet(database, server, 4)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones may be moved after a second."""
    monkeypatch.setattr(shares, "SETTLED", 1.0)


def run(scenario: Scenario, fleet: WorkerFleet) -> None:
    asyncio.run(scenario(fleet))


def _ask(fleet: WorkerFleet, phone: Phone, verb: str, **arguments: object) -> None:
    """Have its worker do something, and wait for that."""
    with fleet.database.transaction() as conn:
        owner = live_owner(conn, phone.id)
    assert owner
    ask(Opened(fleet.database, fleet.backend), phone, owner, verb, 10, **arguments)


def test_a_second_worker_stands_by_and_takes_over_as_the_first_one_ends(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "info", lambda message, **_: said.append(message))

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin()
            await until(lambda: "standing by: other workers run the phones" in said)
            await first.stop()
            await until(lambda: second.phones == fleet.ids)
            assert fleet.kinds(fleet.phones[0]).count("stopped") == 1
            begun, then = fleet.taken(fleet.phones[0])
            assert (begun, then["worker"]) == ({"worker": OWN.name}, OWN.name)
            assert not {"killed", "silent_seconds"} & then.keys()
        assert said.count("standing by: other workers run the phones") == 1

    run(scenario, fleet)


def test_the_phones_of_a_frozen_worker_are_taken_and_it_lives_on(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin()
            await asyncio.sleep(LEASE * 1.1)  # at first it takes nothing of a silent one
            first.freeze()
            await until(lambda: second.phones == fleet.ids, LEASE * 1.5 + 2)
            then = fleet.taken(fleet.phones[0])[-1]
            assert (then["worker"], then["from"]) == (OWN.name, OWN.name)
            assert LEASE * FREE_AFTER <= then["silent_seconds"] < LEASE * 1.5 + 2
            first.thaw()
            await until(lambda: not first.worker._tasks)
            assert (first.phones, first.task.done()) == (set(), False)
            await second.stop()
            await until(lambda: first.phones == fleet.ids)

    run(scenario, fleet)


def test_the_history_tells_that_the_worker_before_was_killed(fleet: WorkerFleet) -> None:
    killed = FleetWorker(fleet.database, OWN.host, OWN.pid, identity=replace(OWN, started=1))
    killed.take(fleet.phones[0].id)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            fleet.rows("DELETE FROM wa_sessions.worker WHERE id = %s", killed.id)
        took_over, began = fleet.taken(fleet.phones[0]), fleet.taken(fleet.phones[1])
        assert took_over == [{"worker": OWN.name, "from": OWN.name, "killed": True}]
        assert began == [{"worker": OWN.name}]

    run(scenario, fleet)
    killed.close()


def test_what_a_worker_that_has_just_begun_sees_silent_is_given_time_to_come_back(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            first.freeze()
            await asyncio.sleep(LEASE * 1.2)
            second = fleet.begin()
            await until(lambda: bool(fleet.rows("SELECT 1 FROM wa_sessions.worker WHERE id = %s", second.id)))
            await asyncio.sleep(LEASE * 0.5)
            first.thaw()
            await asyncio.sleep(LEASE)
            assert (first.phones, second.phones) == (fleet.ids, set())

    run(scenario, fleet)


def test_a_lock_connection_that_is_cut_changes_nobodys_phones(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker's lease is long: what a busy machine delays is no silence. All others may take what is free."""
    monkeypatch.setattr(shares, "SETTLED", 3600.0)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running():
            first = fleet.begin(lease=20 * LEASE)
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin()
            await until(lambda: second.watch is not None and second.watch._guard.back_for > LEASE)
            locks = first.worker._ownership._locks
            assert locks
            first.freeze()
            fleet.rows("SELECT pg_terminate_backend(%s)", locks.info.backend_pid)
            await until(lambda: locks_held(fleet) == 0)
            await looked(second)
            first.thaw()
            await until(lambda: locks_held(fleet) == 4 and first.worker._ownership._locks not in (None, locks))
            await looked(second)
            assert (first.phones, second.phones) == (fleet.ids, set())
            assert len(fleet.taken(fleet.phones[0])) == 1, "its worker is the same"
            assert len(first.hosts.opened) == 4

    run(scenario, fleet)


def locks_held(fleet: WorkerFleet) -> int:
    held = """
        SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s::oid
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    return int(fleet.rows(held, LOCK_CLASS)[0]["n"])


async def looked(worker: RunningWorker) -> None:
    """Return when it has looked at all phones, and taken what there was."""
    await _begins_to_look(worker)
    await _begins_to_look(worker)  # so that it has acted upon the look before


async def _begins_to_look(worker: RunningWorker) -> None:
    before = worker.watch._next_full
    worker.watch.changed()
    await until(lambda: worker.watch._next_full > before)


def test_workers_balance_as_they_come_and_go(database: Database, server: EmbeddedServer, settled: None) -> None:
    fleet = WorkerFleet(database, server, 9)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin()
            await until(lambda: fleet.is_run_once() and sorted(map(len, (first.phones, second.phones))) == [4, 5], 30)
            third = fleet.begin()
            workers = (first, second, third)
            await until(lambda: fleet.is_run_once() and [len(one.phones) for one in workers] == [3, 3, 3], 30)
            opened = [len(one.hosts.opened) for one in workers]
            await asyncio.sleep(3)
            assert [len(one.hosts.opened) for one in workers] == opened
            await second.stop()
            await until(lambda: fleet.is_run_once() and {len(first.phones), len(third.phones)} == {4, 5}, 30)

    run(scenario, fleet)


def test_phones_that_come_are_taken_up_and_those_that_leave_are_let_go(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(Scope(1)) as [worker]:
            await until(lambda: worker.phones == fleet.ids)
            added = fleet.add()
            await until(lambda: added.id in worker.phones)
            other = fleet.add(organization=2)
            away, deleted, moved = fleet.phones[:3]
            fleet.rows(
                """UPDATE public."OrganizationPhone" SET "connectionType" = 'baileys', status = 'theirs'
                   WHERE id = %s""",
                away.id,
            )
            fleet.rows('DELETE FROM public."OrganizationPhone" WHERE id = %s', deleted.id)
            fleet.rows('UPDATE public."OrganizationPhone" SET "organizationId" = 2 WHERE id = %s', moved.id)
            left = {fleet.phones[3].id, added.id}
            await until(lambda: worker.phones == left and fleet.held(worker) == left)
            stopped = (
                "SELECT detail ->> 'reason' AS why FROM wa_sessions.event WHERE phone_id = %s AND kind = 'stopped'"
            )
            assert fleet.rows(stopped, away.id) == [{"why": "it is a baileys phone by now"}]
            theirs = 'SELECT status FROM public."OrganizationPhone" WHERE id = %s'
            assert fleet.rows(theirs, away.id) == [{"status": "theirs"}]
            assert fleet.rows(stopped, moved.id) == [{"why": "it is in organization 2 by now"}]
            opened = Opened(fleet.database, fleet.backend)
            assign(opened, PhoneRef(phone_id=away.id), "neonize", process_stopped=True)
            await until(lambda: worker.phones == {*left, away.id})
            await asyncio.to_thread(assign, opened, PhoneRef(phone_id=away.id), "baileys")
            await until(lambda: worker.phones == left)
            all_of_them = fleet.begin()
            await until(lambda: all_of_them.phones == {other.id, moved.id})

    run(scenario, fleet)


def test_a_phone_that_got_another_number_is_begun_anew_with_that(fleet: WorkerFleet) -> None:
    """Its old session went on under the new number, and the next login wrote the old number back."""

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids)
            phone = fleet.phones[0]
            before = worker.hosts.client_of(phone.id)
            fleet.rows(
                """UPDATE public."OrganizationPhone" SET "phoneJid" = '77059999999@s.whatsapp.net' WHERE id = %s""",
                phone.id,
            )
            await until(lambda: worker.hosts.client_of(phone.id) not in (before, None))
            assert worker.worker._tasks[phone.id].session.number == "77059999999"

    run(scenario, fleet)


def test_named_phones_are_waited_for(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin(None, fleet.phones[:2])
            refused = fleet.begin(None, fleet.phones[:2], wait=False)
            with pytest.raises(OwnedByAnother, match="is run by worker") as error:
                await refused.task
            assert error.value.exit_code is ExitCode.OWNED
            fleet.workers.remove(refused)
            await first.stop()
            await until(lambda: second.phones == {phone.id for phone in fleet.phones[:2]})

    run(scenario, fleet)


def test_a_worker_that_does_not_wait_ends_when_another_has_its_last_phone(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running() as _:
            named = fleet.begin(None, fleet.phones[:1], wait=False)
            await until(lambda: len(named.phones) == 1)
            old = FleetWorker(fleet.database, "host.example", 1, lease=None)
            fleet.rows(
                """UPDATE wa_sessions.lease
                   SET worker_id = %s, epoch = epoch + 1, expires_at = now() + interval '30 seconds'""",
                old.id,
            )
            with pytest.raises(OwnedByAnother, match="no phone is left to this worker"):
                await named.task
            fleet.workers.remove(named)
            fleet.rows("DELETE FROM wa_sessions.lease")
            fleet.rows("DELETE FROM wa_sessions.worker WHERE id = %s", old.id)
            old.close()

    run(scenario, fleet)


@pytest.mark.parametrize("scope", [None, SHARED], ids=["by name", "shared"])
def test_workers_that_begin_in_crossed_order_leave_each_phone_run_by_one(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch, scope: Scope | None
) -> None:
    """Both see every phone free, and not each other, before either takes one, so that one of them is refused."""
    look, take = Ownership.look, Ownership.take
    met, both, refused = set[Ownership](), threading.Barrier(2), list[str]()

    def seen_together(owner: Ownership, *arguments: Any, full: bool) -> Any:
        workers, gone, phones = look(owner, *arguments, full=full)
        if not full or owner in met:
            return workers, gone, phones
        met.add(owner)
        both.wait(60)
        return [row for row in workers if row.id == owner._worker_id], gone, phones

    def taken(owner: Ownership, *arguments: Any, **options: Any) -> Any:
        try:
            return take(owner, *arguments, **options)
        except OwnedByAnother as error:
            refused.append(str(error))
            raise

    monkeypatch.setattr(Ownership, "look", seen_together)
    monkeypatch.setattr(Ownership, "take", taken)

    async def scenario(fleet: WorkerFleet) -> None:
        for _ in range(10):
            async with fleet.running():
                for named in (fleet.phones, fleet.phones[::-1]):
                    fleet.begin(scope, () if scope else named)
                await until(fleet.is_run_once)
            fleet.workers.clear()

    run(scenario, fleet)
    assert refused


def test_after_an_outage_every_phone_is_where_it_was(fleet: WorkerFleet, settled: None) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED, SHARED, SHARED) as workers:
            await until(lambda: fleet.is_run_once() and min(len(one.phones) for one in workers) == 1)
            await asyncio.sleep(LEASE)
            before = [one.phones for one in workers]
            with fleet.outage():
                await until(lambda: not any(one.phones for one in workers))
                await asyncio.sleep(LEASE * 1.5)
            await until(lambda: [one.phones for one in workers] == before)
            await asyncio.sleep(LEASE * 1.5)
            assert [one.phones for one in workers] == before

    run(scenario, fleet)


def test_a_phone_that_an_operator_had_released_is_taken_by_nobody_meanwhile(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED, SHARED) as _:
            await until(fleet.is_run_once)
            phone, opened = fleet.phones[0], Opened(fleet.database, fleet.backend)
            await asyncio.to_thread(_ask, fleet, phone, "release", reason="test")
            await asyncio.sleep(1)
            assert fleet.is_run_once(fleet.ids - {phone.id})
            assert not any(phone.id in worker.phones for worker in fleet.workers)
            await asyncio.to_thread(restart, opened, PhoneRef(phone_id=phone.id))
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_a_faulted_phone_is_left_until_an_operator_says_so_or_a_worker_begins(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next", lambda _self: 0.0)
    phone, opened = fleet.phones[0], Opened(fleet.database, fleet.backend)

    async def fail(worker: RunningWorker) -> None:
        for _ in range(policy.MOST_FAULTS):
            await until(lambda: phone.id in worker.phones)
            client = worker.hosts.client_of(phone.id)
            assert client
            fault = protocol.Undecrypted(client, "i\0", "1@lid", "1@lid", False, Cause.OTHER, Encryption.MESSAGE)
            worker.hosts.tell(client, fault)
            await until(partial(lambda one: one not in worker.hosts.clients, client))

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids)
            await fail(worker)
            await until(lambda: phone.id not in fleet.held(worker))
            await asyncio.sleep(fleet_watch.FULL_EVERY + 1)
            assert phone.id not in worker.phones
            await asyncio.to_thread(restart, opened, PhoneRef(phone_id=phone.id))
            await until(lambda: worker.phones == fleet.ids)
            await fail(worker)
            await until(lambda: phone.id not in fleet.held(worker))
            later = fleet.begin()
            await until(lambda: phone.id in later.phones)

    run(scenario, fleet)


def test_what_is_closed_stays_closed_in_another_worker(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            closed, opened = fleet.phones[0], Opened(fleet.database, fleet.backend)
            await asyncio.to_thread(_ask, fleet, closed, "force_close", reason="test", logout=False, operation=None)
            second = fleet.begin()
            await asyncio.sleep(1)
            await first.stop()
            await until(lambda: second.phones == fleet.ids - {closed.id} and fleet.held(second) == fleet.ids)
            state = fleet.rows("SELECT state FROM wa_sessions.health WHERE phone_id = %s", closed.id)
            assert state == [{"state": "force_closed"}]
            await asyncio.to_thread(restart, opened, PhoneRef(phone_id=closed.id))
            await until(lambda: second.phones == fleet.ids)

    run(scenario, fleet)


def test_a_drained_worker_gives_its_phones_to_the_others_and_keeps_them_while_there_is_none(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            fleet.rows("UPDATE wa_sessions.worker SET draining = true")
            await asyncio.sleep(LEASE)
            assert first.phones == fleet.ids
            second = fleet.begin()
            await until(lambda: second.phones == fleet.ids)
            assert not first.task.done()

    run(scenario, fleet)


def test_a_phone_is_moved_to_the_worker_that_an_operator_wants_it_to_have(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == fleet.ids)
            second = fleet.begin()
            await until(lambda: bool(fleet.rows("SELECT 1 FROM wa_sessions.worker WHERE id = %s", second.id)))
            fleet.rows(
                """UPDATE wa_sessions.lease SET wanted_by = %s, wanted_until = now() + interval '1 minute'
                   WHERE phone_id = %s""",
                second.id,
                fleet.phones[2].id,
            )
            fleet.rows("SELECT pg_notify('wa_sessions_fleet', '')")
            await until(lambda: second.phones == {fleet.phones[2].id})
            assert fleet.is_run_once()

    run(scenario, fleet)


def test_a_phone_that_cannot_be_taken_stops_nothing_else(fleet: WorkerFleet) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        twice = """INSERT INTO public."OrganizationPhone"
                       ("organizationId", "phoneJid", status, "connectionType", "updatedAt")
                   VALUES (2, %s, 'disconnected', 'neonize', now())"""
        fleet.rows(twice, f"{fleet.phones[0].number}:5@s.whatsapp.net")
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == {phone.id for phone in fleet.phones[1:]})
            with pytest.raises(WaSessionsError, match="no worker runs"):
                restart(Opened(fleet.database, fleet.backend), PhoneRef(phone_id=fleet.phones[0].id))

    run(scenario, fleet)
