"""One owner for each session, seen from two workers."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from support.waiting import PATIENCE
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.db import account_leases, leases, workers
from wa_sessions.db.dedicated import pinned
from wa_sessions.db.gateway import Connection, Database, errors_of
from wa_sessions.db.leases import LeaseLost
from wa_sessions.errors import Busy, DatabaseError, ExitCode, OwnedByAnother
from wa_sessions.process_identity import ProcessIdentity

PHONE, NEW = 7, 8
"""Two rows of a number: the second one was made as the first one was deleted."""
NUMBER = "77051234567"


class Worker:
    def __init__(self, database: Database, pid: int, *, identity: ProcessIdentity | None = None) -> None:
        self.id: UUID = uuid4()
        self.lock: Connection = database.dedicated()
        self._database = database
        identity = identity or ProcessIdentity("host.example", pid)
        with database.transaction() as conn:
            workers.register(conn, self.id, identity, "1.0", lease=30)

    def take(self, *, dead: UUID | None = None) -> int:
        with errors_of(self._database.target), pinned(self.lock):
            return leases.take(self.lock, PHONE, self.id, dead=dead)

    def run(self, phone_id: int, number: str = NUMBER) -> int:
        """Take a phone with its number."""
        try:
            with errors_of(self._database.target), pinned(self.lock):
                epoch = leases.take(self.lock, phone_id, self.id)
                account_leases.claim(self.lock, phone_id, number)
                return epoch
        except OwnedByAnother:
            leases.unlock(self.lock, phone_id)
            raise

    def renew(self) -> frozenset[int] | None:
        with self._database.transaction() as conn:
            return workers.renew(conn, self.id)

    def fall_silent(self, leases_long: float) -> None:
        with self._database.transaction() as conn:
            conn.execute(
                """UPDATE wa_sessions.worker
                   SET heartbeat_at = clock_timestamp() - make_interval(secs => 30 * %s) WHERE id = %s""",
                (leases_long, self.id),
            )

    def release(self, phone_id: int = PHONE) -> None:
        with errors_of(self._database.target), pinned(self.lock):
            leases.release(self.lock, phone_id, self.id)


@pytest.fixture
def one(database: Database) -> Iterator[Worker]:
    worker = Worker(database, 111)
    yield worker
    worker.lock.close()


@pytest.fixture
def two(database: Database) -> Iterator[Worker]:
    worker = Worker(database, 222)
    yield worker
    worker.lock.close()


def _owner(database: Database) -> leases.WorkerInfo | None:
    with database.transaction() as conn:
        found = leases.owner(conn, PHONE)
        everyone = leases.owners(conn)
        assert {id_: owner.worker_id for id_, owner in everyone.items()} == ({PHONE: found.worker_id} if found else {})
        return found


def _until_unlocked(database: Database) -> None:
    """The server has taken note that the connection with the lock is gone."""
    held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
    for attempt in Retrying(stop=stop_after_delay(10), wait=wait_fixed(0.01), reraise=True):
        with attempt, database.transaction() as conn:
            assert conn.execute(held, (PHONE,)).fetchone() is None


def test_a_second_worker_is_told_who_owns_the_session(database: Database, one: Worker, two: Worker) -> None:
    assert _owner(database) is None
    assert one.take() == 1
    owner = _owner(database)
    assert owner
    assert (owner.worker_id, owner.epoch, owner.host, owner.pid) == (one.id, 1, "host.example", 111)
    with pytest.raises(OwnedByAnother, match=r"run by worker host\.example/111 \(its lease ends at .* UTC") as error:
        two.take()
    assert error.value.exit_code is ExitCode.OWNED


def test_a_released_session_goes_on_with_a_higher_epoch(database: Database, one: Worker, two: Worker) -> None:
    one.take()
    one.release()
    assert _owner(database) is None
    assert one.renew() == frozenset()
    assert two.take() == 2
    two.release()
    assert one.take() == 3


def test_a_free_lock_is_no_proof_that_a_worker_is_gone(database: Database, one: Worker, two: Worker) -> None:
    one.take()
    one.lock.close()
    with pytest.raises(OwnedByAnother, match="111"):
        two.take()
    one.fall_silent(0.7)
    with pytest.raises(OwnedByAnother, match="111"):
        two.take()
    _until_unlocked(database)
    one.fall_silent(0.81)
    assert two.take() == 2


def test_what_is_known_to_be_gone_is_taken_at_once(one: Worker, two: Worker) -> None:
    one.take()
    assert two.take(dead=one.id) == 2
    with pytest.raises(DatabaseError, match="terminating connection"):
        one.take()


def test_of_two_that_see_a_worker_gone_the_later_one_takes_nothing_from_the_earlier(
    database: Database, one: Worker, two: Worker
) -> None:
    one.take()
    two.take(dead=one.id)
    with closing((third := Worker(database, 333)).lock):
        with pytest.raises(OwnedByAnother, match="222"):
            third.take(dead=one.id)
        assert two.take(dead=one.id) == 3, "its connection is not ended"


def test_a_lock_that_leads_nowhere_is_ended_after_a_whole_lease(one: Worker, two: Worker) -> None:
    """As of a machine that vanished: the server will not notice for hours."""
    one.take()
    one.fall_silent(0.9)
    with pytest.raises(OwnedByAnother, match="111"):
        two.take()
    one.fall_silent(1.01)
    assert two.take() == 2
    assert one.renew() is None


def test_a_worker_that_was_silent_for_too_long_is_told(database: Database, one: Worker) -> None:
    one.take()
    assert one.renew() == frozenset({PHONE})
    one.fall_silent(0.7)
    assert one.renew() == frozenset({PHONE})
    one.fall_silent(0.81)
    assert one.renew() is None
    with database.transaction() as conn:
        workers.register(conn, one.id, ProcessIdentity("host.example", 111), "1.0", lease=30)
    assert one.renew() == frozenset({PHONE})


def test_a_lease_of_an_earlier_version_ends_by_itself(database: Database, one: Worker, two: Worker) -> None:
    one.take()
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.lease SET expires_at = clock_timestamp() + interval '1 h'")
        conn.execute("UPDATE wa_sessions.worker SET lease_seconds = NULL WHERE id = %s", (one.id,))
    one.fall_silent(100)
    assert _owner(database)
    with pytest.raises(OwnedByAnother, match="111"):
        two.take()
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.lease SET expires_at = clock_timestamp() - interval '1 s'")
    assert _owner(database) is None
    assert two.take() == 2


def test_late_writers_are_fenced(database: Database, one: Worker, two: Worker) -> None:
    epoch = one.take()
    with database.transaction() as conn:
        leases.fence(conn, PHONE, one.id, epoch)
    two.take(dead=one.id)
    with pytest.raises(LeaseLost, match="has another owner"), database.transaction() as conn:
        leases.fence(conn, PHONE, one.id, epoch)


def test_who_takes_his_own_lease_anew_is_not_fenced_off_for_good(database: Database, one: Worker) -> None:
    epoch = one.take()
    assert one.take() == epoch + 1
    for phone_id in (PHONE, PHONE + 1):
        with pytest.raises(Busy), database.transaction() as conn:
            leases.fence(conn, phone_id, one.id, epoch)


def test_a_lease_does_not_change_hands_while_its_owner_writes(database: Database, one: Worker, two: Worker) -> None:
    epoch = one.take()
    taken: list[int] = []
    thread = threading.Thread(target=lambda: taken.append(two.take(dead=one.id)))
    with database.transaction() as conn:
        leases.fence(conn, PHONE, one.id, epoch)
        thread.start()
        thread.join(0.3)
        assert taken == []
    thread.join(PATIENCE)
    assert taken == [epoch + 1]


def test_of_two_takers_one_wins(database: Database, one: Worker, two: Worker) -> None:
    start = threading.Barrier(2)
    results: list[int | None] = []

    def take(worker: Worker) -> None:
        start.wait(PATIENCE)
        try:
            results.append(worker.take())
        except OwnedByAnother:
            results.append(None)

    threads = [threading.Thread(target=take, args=(worker,)) for worker in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [1, None]


def test_a_worker_outlives_its_own_lost_connection(database: Database, one: Worker) -> None:
    """The server still holds the lock for a connection whose end it has not noticed."""
    one.take()
    lingering, one.lock = one.lock, database.dedicated()
    with closing(lingering):
        assert one.take() == 2
        assert one.renew() == frozenset({PHONE})


def test_a_lost_lock_connection_is_one_line(one: Worker) -> None:
    one.lock.close()
    with pytest.raises(DatabaseError, match="the connection is closed"):
        one.take()
    leases.unlock(one.lock, PHONE)


def test_workers_come_and_go(database: Database, one: Worker, two: Worker) -> None:
    one.take()
    with database.transaction() as conn:
        assert workers.renew(conn, one.id) == frozenset({PHONE})
        assert workers.forget_stale(conn, 60) == 0
        ago = "UPDATE wa_sessions.worker SET heartbeat_at = now() - interval '2 minutes' WHERE id = %s"
        conn.execute(ago, (two.id,))
        assert workers.forget_stale(conn, 60) == 1
        assert workers.renew(conn, two.id) is None
        workers.forget(conn, one.id)
    assert _owner(database) is None
    assert two.take(dead=one.id) == 2


def test_a_lease_is_renewed_and_not_taken_while_its_owner_writes(database: Database) -> None:
    kept_off: list[bool] = []

    def keep_off() -> None:
        with database.transaction() as other:
            leases.block(other, PHONE)
            kept_off.append(True)

    own, thread = ProcessIdentity.own(), threading.Thread(target=keep_off)
    killed = Worker(database, own.pid, identity=replace(own, started=1))
    epoch = killed.take()
    with closing(killed.lock), database.transaction() as conn:
        leases.fence(conn, PHONE, killed.id, epoch)
        assert killed.renew() == frozenset({PHONE})
        thread.start()
        thread.join(0.3)
        assert kept_off == []
    thread.join(PATIENCE)
    assert kept_off == [True]


@pytest.mark.parametrize("again", [NUMBER, "77059999999"])
def test_a_number_is_run_for_one_phone_at_a_time(one: Worker, two: Worker, again: str) -> None:
    """For whichever row, by whichever worker; another number is in nobody's way."""
    one.run(PHONE)
    for worker in (one, two):
        if again == NUMBER:
            with pytest.raises(
                OwnedByAnother, match=rf"{NUMBER} still runs as phone #{PHONE}, by worker host\.example/111"
            ):
                worker.run(NEW)
        else:
            worker.run(NEW, again)
            worker.release(NEW)
    one.release()
    assert two.run(NEW)


def test_two_spellings_of_a_number_are_one(one: Worker, two: Worker) -> None:
    one.run(PHONE, "5511987654321")
    with pytest.raises(OwnedByAnother, match="551187654321 still runs as phone"):
        two.run(NEW, "551187654321")


def test_the_number_of_a_worker_that_vanished_is_free_as_its_phone_is(
    database: Database, one: Worker, two: Worker
) -> None:
    """Its row is gone, so nobody takes that phone: its lease and its connection are ended for the other row."""
    epoch = one.run(PHONE)
    one.fall_silent(0.9)
    with pytest.raises(OwnedByAnother):
        two.run(NEW)
    one.fall_silent(1.01)
    assert two.run(NEW) == 1
    with pytest.raises(DatabaseError, match="terminating connection"):
        one.take()
    with pytest.raises(LeaseLost), database.transaction() as conn:
        leases.fence(conn, PHONE, one.id, epoch)


def test_the_number_of_a_worker_that_is_known_to_be_gone_is_free_at_once(database: Database, two: Worker) -> None:
    own = ProcessIdentity.own()
    with closing((killed := Worker(database, own.pid, identity=replace(own, started=1))).lock):
        killed.run(PHONE)
        assert two.run(NEW) == 1


def test_who_holds_a_free_lock_keeps_no_number(database: Database, one: Worker, two: Worker) -> None:
    """Of a worker that was silent for a while, whose connection is gone."""
    one.run(PHONE)
    one.lock.close()
    _until_unlocked(database)
    with pytest.raises(OwnedByAnother):
        two.run(NEW)
    one.fall_silent(0.81)
    assert two.run(NEW) == 1


def test_of_two_takers_of_two_rows_of_a_number_the_later_one_waits(
    database: Database, one: Worker, two: Worker
) -> None:
    """What the earlier one has written stands only when its transaction does."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(two.run(NEW))
        except OwnedByAnother as error:
            results.append(error)

    thread = threading.Thread(target=run)
    with errors_of(database.target), pinned(one.lock):
        leases.take(one.lock, PHONE, one.id)
        account_leases.claim(one.lock, PHONE, NUMBER)
        thread.start()
        thread.join(0.3)
        assert results == []
    thread.join(10)
    assert isinstance(results[0], OwnedByAnother)
