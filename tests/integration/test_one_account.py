"""One number has one open session, whatever rows of the backend's table it had: one that is deleted and made anew."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from support.fleets import SHARED, RunningWorker, WorkerFleet, until

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import alone
from wa_sessions.db import commands, phones
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Busy, OwnedByAnother
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.worker import policy
from wa_sessions.worker.hosts import protocol

NUMBER, OTHER = "77055000000", "77055999999"
"""The first one is that of the fleet's only phone."""
RENUMBER = 'UPDATE public."OrganizationPhone" SET "phoneJid" = %s WHERE id = %s'


@contextlib.asynccontextmanager
async def looking_away(fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningWorker]:
    """A worker that runs the phone, and looks at no row until the block is left; every phone is run once then."""
    ids = fleet.ids
    async with fleet.running(SHARED) as [worker]:
        await until(lambda: worker.phones == ids)
        looks = Looks(worker, monkeypatch)
        looks.held_back = True
        yield worker
        looks.held_back = False
        await until(fleet.is_run_once)


async def set_down(fleet: WorkerFleet, worker: RunningWorker, phone: Phone) -> int:
    """Have a phone fail for good; the client that it had."""
    client = worker.hosts.client_of(phone.id)
    assert client is not None
    fault = protocol.Undecrypted(client, "i\0", "1@lid", "1@lid", False, Cause.OTHER, Encryption.MESSAGE)
    worker.hosts.tell(client, fault)
    await until(lambda: fleet.rows("SELECT 1 FROM wa_sessions.health WHERE state = 'faulted'") != [])
    return client


@pytest.fixture
def fleet(database: Database, server: EmbeddedServer) -> WorkerFleet:
    return WorkerFleet(database, server, 1)


def run(scenario: Callable[[WorkerFleet], Coroutine[Any, Any, None]], fleet: WorkerFleet) -> None:
    asyncio.run(scenario(fleet))


class Looks:
    """Of a worker: ``held_back``, it looks at no phones, and renews what it has."""

    def __init__(self, worker: RunningWorker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held_back = False
        self.count = 0
        self._look = worker.worker._ownership.look
        monkeypatch.setattr(worker.worker._ownership, "look", self._unless_held_back)

    def _unless_held_back(self, *of: Any, **how: Any) -> Any:
        if self.held_back:
            raise Busy("a test holds it back")
        self.count += 1
        return self._look(*of, **how)


def made_anew(fleet: WorkerFleet, number: str = NUMBER) -> Phone:
    """The backend deletes its only row and inserts the number, in one transaction; told is it to all."""
    with fleet.database.transaction() as conn:
        conn.execute('DELETE FROM public."OrganizationPhone"')
        made = phones.add(conn, fleet.backend, number, 1)
    fleet.phones[:] = [made]
    return made


def refusals(worker: RunningWorker, phone: Phone) -> int:
    """How often it was told that a phone is another's."""
    watch: Any = getattr(worker.worker._sessions.changed, "__self__", None)
    return int(watch._refusals[phone.id]) if watch is not None else 0


def has_tried(worker: RunningWorker, phone: Phone) -> bool:
    return phone.id in worker.phones or refusals(worker, phone) > 0


@pytest.mark.parametrize(("number", "again"), [(NUMBER, NUMBER), ("5511987654321", "551187654321")])
def test_a_number_whose_row_was_made_anew_is_run_by_another_worker_once_the_first_one_has_let_go(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch, number: str, again: str
) -> None:
    fleet.rows(RENUMBER, f"{number}@s.whatsapp.net", (old := fleet.phones[0]).id)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == {old.id})
            looks = Looks(first, monkeypatch)
            looks.held_back = True
            second = fleet.begin()
            await until(lambda: bool(fleet.rows("SELECT 1 FROM wa_sessions.worker WHERE id = %s", second.id)))
            new = made_anew(fleet, again)
            await until(lambda: has_tried(second, new))
            assert (first.phones, second.phones) == ({old.id}, set())
            await first.worker._guard.call(first.worker._ownership.renew)
            assert (first.phones, second.phones) == ({old.id}, set())
            looks.held_back = False
            await until(fleet.is_run_once)
            assert not any(old.id in worker.phones for worker in fleet.workers)
            assert fleet.kinds(new) == ["taken", "pairing_started"]

    run(scenario, fleet)


def test_a_worker_lets_go_of_the_old_row_before_it_begins_with_the_new_one(fleet: WorkerFleet) -> None:
    """Both were seen in one look: the new session was begun while the old one was closing."""

    async def scenario(fleet: WorkerFleet) -> None:
        old = fleet.phones[0]
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == {old.id})
            worker.hosts.closes_clients = False
            new = made_anew(fleet)
            await until(lambda: has_tried(worker, new))
            assert worker.phones == {old.id}
            [client] = worker.hosts.clients
            worker.hosts.closes_clients = True
            worker.hosts.close(client)
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_a_session_that_finds_its_row_gone_keeps_the_lease_until_its_socket_is_closed(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It gave the lease back as it had the client dropped, which takes seconds where WhatsApp does not answer."""

    async def scenario(fleet: WorkerFleet) -> None:
        old = fleet.phones[0]
        async with fleet.running(SHARED) as [worker]:
            pairing = "SELECT 1 FROM wa_sessions.health WHERE state = 'pairing'"
            await until(lambda: worker.phones == {old.id} and bool(fleet.rows(pairing)))
            looks = Looks(worker, monkeypatch)
            looks.held_back = True
            worker.hosts.closes_clients = False
            fleet.rows('DELETE FROM public."OrganizationPhone"')
            [client] = worker.hosts.clients
            worker.hosts.tell(client, protocol.QrCode(client, "2@code"))
            await until(lambda: "session given up" in caplog.text)
            new = made_anew(fleet)
            looks.held_back = False
            await until(lambda: has_tried(worker, new))
            assert worker.phones == {old.id}
            worker.hosts.closes_clients = True
            worker.hosts.close(client)
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_a_session_that_is_set_down_keeps_the_lease_until_its_socket_is_closed(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "MOST_FAULTS", 1)
    fleet.phones.append(fleet.add())  # a worker whose last phone is set down ends
    phone = fleet.phones[0]

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == fleet.ids)
            worker.hosts.closes_clients = False
            client = await set_down(fleet, worker, phone)
            later = fleet.begin()
            looks = Looks(later, monkeypatch)
            await until(lambda: looks.count >= 2)
            assert phone.id in worker.phones - later.phones
            worker.hosts.closes_clients = True
            worker.hosts.close(client)
            await until(lambda: phone.id in later.phones)

    run(scenario, fleet)


def test_a_number_that_a_running_phone_had_is_another_rows_once_that_phone_has_let_go_of_it(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        old = fleet.phones[0]
        async with fleet.running(SHARED) as [first]:
            await until(lambda: first.phones == {old.id})
            looks = Looks(first, monkeypatch)
            looks.held_back = True
            second = fleet.begin()
            fleet.rows(RENUMBER, f"{OTHER}@s.whatsapp.net", old.id)
            with fleet.database.transaction() as conn:
                new = phones.add(conn, fleet.backend, NUMBER, 1)
            fleet.phones.append(new)
            await until(lambda: has_tried(second, new))
            assert (first.phones, second.phones) == ({old.id}, set())
            looks.held_back = False
            await until(fleet.is_run_once)
            numbers = {
                phone_id: task.session.number
                for worker in fleet.workers
                for phone_id, task in worker.worker._tasks.items()
            }
            assert numbers == {old.id: OTHER, new.id: NUMBER}

    run(scenario, fleet)


def test_a_lock_that_is_taken_anew_holds_the_number_that_the_session_has(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row has another by then: the session ends, and is begun with that."""

    async def scenario(fleet: WorkerFleet) -> None:
        old = fleet.phones[0]
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: worker.phones == {old.id})
            looks = Looks(worker, monkeypatch)
            looks.held_back = True
            [client] = worker.hosts.clients
            fleet.rows(RENUMBER, f"{OTHER}@s.whatsapp.net", old.id)
            locks = worker.worker._ownership._locks
            assert locks is not None
            fleet.rows("SELECT pg_terminate_backend(%s)", locks.info.backend_pid)
            await until(lambda: client not in worker.hosts.clients)
            looks.held_back = False
            await until(fleet.is_run_once)
            assert worker.worker._tasks[old.id].session.number == OTHER

    run(scenario, fleet)


def test_no_operator_has_a_number_to_himself_while_a_worker_runs_it_for_a_row_that_is_gone(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        old, opened = fleet.phones[0], Opened(fleet.database, fleet.backend)
        async with looking_away(fleet, monkeypatch):
            new = made_anew(fleet)
            with pytest.raises(OwnedByAnother, match=f"{NUMBER} still runs as phone #{old.id}"), alone(opened, new.id):
                pass

    run(scenario, fleet)


def test_a_login_does_not_give_a_row_back_the_number_that_the_backend_took_from_it(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each login writes the device into the row; the backend's change was lost, and the number stood twice."""

    async def scenario(fleet: WorkerFleet) -> None:
        old = fleet.phones[0]
        async with looking_away(fleet, monkeypatch) as worker:
            fleet.rows(RENUMBER, f"{OTHER}@s.whatsapp.net", old.id)
            with fleet.database.transaction() as conn:
                fleet.phones.append(phones.add(conn, fleet.backend, NUMBER, 1))
            [client] = worker.hosts.clients
            worker.hosts.tell(client, protocol.Paired(client, f"{NUMBER}:5@s.whatsapp.net"))
            worker.hosts.tell(client, protocol.Connected(client))
            await until(lambda: client not in worker.hosts.clients)
            jid = 'SELECT "phoneJid" AS jid FROM public."OrganizationPhone" WHERE id = %s'
            assert fleet.rows(jid, old.id) == [{"jid": f"{OTHER}@s.whatsapp.net"}]

    run(scenario, fleet)


def test_no_operator_closes_the_next_number_of_a_row_through_the_session_of_the_one_before(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(fleet: WorkerFleet) -> None:
        old = fleet.phones[0]
        async with looking_away(fleet, monkeypatch) as worker:
            fleet.rows(RENUMBER, f"{OTHER}@s.whatsapp.net", old.id)
            row = 'SELECT status, "updatedAt" FROM public."OrganizationPhone"'
            before = fleet.rows(row)
            reason = {"reason": "sold", "logout": True}
            with fleet.database.transaction() as conn:
                request = commands.ask(conn, old.id, worker.id, "force_close", reason, "ann")
            answered = "SELECT error FROM wa_sessions.command WHERE id = %s AND finished_at IS NOT NULL"
            await until(lambda: fleet.rows(answered, request) != [])
            assert f"no phone has the id #{old.id} with the number {NUMBER} any more" in str(
                fleet.rows(answered, request)
            )
            assert fleet.rows(row) == before

    run(scenario, fleet)


def test_what_was_counted_of_the_number_that_a_row_had_is_not_the_next_ones(fleet: WorkerFleet) -> None:
    """Another error would have closed the session of the new number, whose first one it was."""
    phone, health = fleet.phones[0], "SELECT bad_mac_errors, state FROM wa_sessions.health"

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [first]:
            await until(fleet.is_run_once)
            await first.stop()
            fleet.rows("UPDATE wa_sessions.health SET bad_mac_errors = 2, state = 'replaced'")
            fleet.rows(RENUMBER, f"{OTHER}@s.whatsapp.net", phone.id)
            fleet.begin()
            await until(lambda: fleet.rows(health) == [{"bad_mac_errors": 0, "state": "pairing"}])
            await until(fleet.is_run_once)

    run(scenario, fleet)


def test_a_phone_that_was_set_down_is_run_with_the_next_number_that_its_row_has(
    fleet: WorkerFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "MOST_FAULTS", 1)
    fleet.phones.append(fleet.add())  # a worker whose last phone is set down ends
    phone = fleet.phones[0]

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(fleet.is_run_once)
            await set_down(fleet, worker, phone)
            await until(lambda: phone.id not in worker.phones)
            fleet.rows(RENUMBER, f"{OTHER}@s.whatsapp.net", phone.id)
            await until(fleet.is_run_once)
            assert worker.worker._tasks[phone.id].session.number == OTHER

    run(scenario, fleet)


def test_a_phone_whose_row_has_no_number_for_a_while_is_not_begun_without_one(fleet: WorkerFleet) -> None:
    """The worker had seen it with one, and ran a session of no number until its next look."""
    phone = fleet.phones[0]
    fleet.rows('ALTER TABLE public."OrganizationPhone" ALTER "phoneJid" DROP NOT NULL')
    fleet.rows(RENUMBER, None, phone.id)

    async def scenario(fleet: WorkerFleet) -> None:
        async with fleet.running(SHARED) as [worker]:
            await until(lambda: fleet.rows("SELECT 1 FROM wa_sessions.worker") != [])
            with pytest.raises(OwnedByAnother, match=f"phone #{phone.id} has no number"):
                await worker.worker._guard.call(worker.worker._ownership.take, phone.id)
            fleet.rows(RENUMBER, f"{NUMBER}@s.whatsapp.net", phone.id)
            await until(fleet.is_run_once)

    run(scenario, fleet)
