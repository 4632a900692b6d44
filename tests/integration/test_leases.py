"""One owner for each session, seen from two workers."""

import threading
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID, uuid4

import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.db import leases, workers
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.leases import LeaseLost
from wa_sessions.errors import Contended, DatabaseError, ExitCode, OwnedByAnother

PHONE = 7


class Worker:
    def __init__(self, database: Database, pid: int) -> None:
        self.id: UUID = uuid4()
        self.lock: Connection = database.dedicated()
        self._database = database
        with database.transaction() as conn:
            workers.register(conn, self.id, "host.example", pid, "1.0")

    def take(self, ttl: float = 30, *, dead: bool = False) -> int:
        with self._database.transaction() as conn:
            return leases.take(self.lock, conn, PHONE, self.id, ttl, dead=dead)

    def renew(self, ttl: float = 30) -> set[int]:
        with self._database.transaction() as conn:
            return leases.renew(conn, self.id, ttl)

    def release(self) -> None:
        with self._database.transaction() as conn:
            leases.release(self.lock, conn, PHONE, self.id)


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
    assert one.renew() == set()
    assert two.take() == 2
    two.release()
    assert one.take() == 3


def test_a_lease_of_a_worker_without_its_lock_is_respected_until_it_ends(
    database: Database, one: Worker, two: Worker
) -> None:
    one.take(ttl=30)
    one.lock.close()
    with pytest.raises(OwnedByAnother, match="111"):
        two.take()
    _until_unlocked(database)
    assert two.take(dead=True) == 2


def test_a_lease_that_ended_can_be_taken_once_the_lock_is_free(database: Database, one: Worker, two: Worker) -> None:
    one.take(ttl=0)
    assert _owner(database) is None
    with pytest.raises(OwnedByAnother, match="locked by another process"):
        two.take()
    with pytest.raises(OwnedByAnother):
        two.take(dead=True)
    one.lock.close()
    for attempt in Retrying(stop=stop_after_delay(10), wait=wait_fixed(0.01), reraise=True):  # the server takes note
        with attempt:
            assert two.take() == 2


def test_a_lease_is_renewed_while_it_lives(database: Database, one: Worker, two: Worker) -> None:
    one.take(ttl=5)
    before = _owner(database)
    assert one.renew(60) == {PHONE}
    after = _owner(database)
    assert before
    assert after
    assert (after.expires_at - before.expires_at).total_seconds() > 50
    assert two.renew() == set()
    assert one.renew(0) == {PHONE}
    assert one.renew() == set()


def test_late_writers_are_fenced(database: Database, one: Worker, two: Worker) -> None:
    epoch = one.take()
    with database.transaction() as conn:
        leases.fence(conn, PHONE, one.id, epoch)
    one.lock.close()
    _until_unlocked(database)
    two.take(dead=True)
    with pytest.raises(LeaseLost, match="has another owner"), database.transaction() as conn:
        leases.fence(conn, PHONE, one.id, epoch)


def test_who_takes_his_own_lease_anew_is_not_fenced_off_for_good(database: Database, one: Worker) -> None:
    epoch = one.take()
    assert one.take() == epoch + 1
    for phone_id in (PHONE, PHONE + 1):
        with pytest.raises(Contended), database.transaction() as conn:
            leases.fence(conn, phone_id, one.id, epoch)


def test_a_lease_does_not_change_hands_while_its_owner_writes(database: Database, one: Worker, two: Worker) -> None:
    epoch = one.take()
    taken: list[int] = []
    thread = threading.Thread(target=lambda: taken.append(two.take(dead=True)))
    one.lock.close()
    _until_unlocked(database)
    with database.transaction() as conn:
        leases.fence(conn, PHONE, one.id, epoch)
        thread.start()
        thread.join(0.3)
        assert taken == []
    thread.join(10)
    assert taken == [epoch + 1]


def test_of_two_takers_one_wins(database: Database, one: Worker, two: Worker) -> None:
    start, results = threading.Barrier(2), []

    def take(worker: Worker) -> None:
        start.wait(10)
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
        assert one.renew() == {PHONE}


def test_a_lost_lock_connection_is_one_line(one: Worker) -> None:
    one.lock.close()
    with pytest.raises(DatabaseError, match="the connection that holds the locks is lost"):
        one.take()
    one.release()


def test_workers_come_and_go(database: Database, one: Worker, two: Worker) -> None:
    one.take()
    with database.transaction() as conn:
        assert workers.heartbeat(conn, one.id)
        assert workers.forget_stale(conn, 60) == 0
        conn.execute("UPDATE wa_sessions.worker SET heartbeat_at = now() - interval '2 minutes'")
        assert workers.forget_stale(conn, 60) == 1
        assert workers.heartbeat(conn, one.id)
        assert not workers.heartbeat(conn, two.id)
        workers.forget(conn, one.id)
    owner = _owner(database)
    assert owner
    assert (owner.worker_id, owner.host, owner.pid) == (one.id, None, None)


def test_a_lease_is_renewed_and_not_taken_while_its_owner_writes(database: Database, one: Worker) -> None:
    epoch, kept_off = one.take(), []

    def keep_off() -> None:
        with database.transaction() as other:
            leases.keep_off(other, PHONE, dead=True)
            kept_off.append(True)

    thread = threading.Thread(target=keep_off)
    with database.transaction() as conn:
        leases.fence(conn, PHONE, one.id, epoch)
        assert one.renew() == {PHONE}
        thread.start()
        thread.join(0.3)
        assert kept_off == []
    thread.join(10)
    assert kept_off == [True]
