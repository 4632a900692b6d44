"""The same actions as functions, and what they are told by a worker that answers, refuses or is silent."""

import asyncio
import threading
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from support.requests import await_request

import wa_sessions
from wa_sessions.actions import ownership
from wa_sessions.db import backend, commands, phones, workers
from wa_sessions.db.gateway import Database
from wa_sessions.errors import DatabaseError, OwnedByAnother, PhoneNotFound, UsageError, WaSessionsError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.process_identity import ProcessIdentity

ALICE = "77051234567"


@pytest.fixture(autouse=True)
def _configured(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", database_url)


@pytest.fixture
def phone_id(database: Database) -> int:
    with database.transaction() as conn:
        return phones.add(conn, backend.detect(conn), ALICE, 1).id


@pytest.fixture
def worker(database: Database, phone_id: int) -> UUID:
    """A worker on another machine, as far as the database knows."""
    worker = uuid4()
    with database.transaction() as conn:
        workers.register(conn, worker, ProcessIdentity("elsewhere", 4242), "0.1.0")
        statement = "INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, clock_timestamp() + interval '1 minute')"
        conn.execute(statement, (phone_id, worker))
    return worker


def answering(database: Database, worker: UUID, **answer: Any) -> threading.Thread:
    """Answer the next request to that worker."""

    def answer_one() -> None:
        with closing(database.dedicated()) as conn:
            commands.listen(conn)
            with database.transaction() as work:
                taken = commands.take(work, worker)
            if not taken:
                await_request(conn, worker, 20)
                with database.transaction() as work:
                    taken = commands.take(work, worker)
            with database.transaction() as work:
                commands.finish(work, taken[0].id, **answer)

    thread = threading.Thread(target=answer_one)
    thread.start()
    return thread


def test_stats(phone_id: int) -> None:
    found = wa_sessions.get_session_error_stats(phone_id)
    assert isinstance(found, wa_sessions.SessionErrorStats)
    assert (found.phone, found.bad_mac_errors, found.is_healthy, found.severity) == (ALICE, 0, None, "unknown")
    seed = found.as_seed_dict()
    names = {"badMacErrors", "badDecryptErrors", "maxBadMacErrors", "maxBadDecryptErrors", "isHealthy"}
    assert names <= seed.keys()
    assert len(seed) == len(found.as_dict())
    assert asyncio.run(wa_sessions.aget_session_error_stats(phone_id)) == found


def test_what_is_raised(phone_id: int) -> None:
    for unknown in (phone_id + 1, -1, 10**30):
        with pytest.raises(PhoneNotFound):
            wa_sessions.get_session_error_stats(unknown)
    with pytest.raises(DatabaseError):
        wa_sessions.get_session_error_stats(phone_id, database_url="postgresql://127.0.0.1:1/x")
    with pytest.raises(WaSessionsError, match="no operation"):
        wa_sessions.restore_operation("op-unknown")


def test_force_close_and_restore(database: Database, phone_id: int) -> None:
    with database.transaction() as conn:
        phones.assign(
            conn, backend.detect(conn), phones.list_phones(conn, backend.detect(conn))[0], ConnectionType.BAILEYS
        )
        conn.execute("""INSERT INTO public."baileys_auth" VALUES (1, %s, 'creds', 'secret', 'base64_json')""", (ALICE,))
    with pytest.raises(UsageError, match="cannot hold"):
        wa_sessions.force_close_session(phone_id, "a\0b", logout=True)
    closed = asyncio.run(wa_sessions.aforce_close_session(phone_id, "maintenance", logout=True))
    assert [(part.status, part.taken.quarantined) for part in closed.phones] == [("logged_out", 1)]
    assert closed.operation
    assert asyncio.run(wa_sessions.arestore_operation(closed.operation)).keys == 1
    assert wa_sessions.force_close_session(phone_id).operation is None


def test_a_worker_that_answers(database: Database, phone_id: int, worker: UUID) -> None:
    taken = {"matched": 0, "by_type": {}, "left": 0}
    thread = answering(database, worker, answer={"operation": None, "taken": taken})
    closed = wa_sessions.force_close_session(phone_id, "maintenance")
    thread.join()
    assert closed.operation is None
    assert [(part.worker_id, part.status) for part in closed.phones] == [(worker, "disconnected")]


def test_the_error_of_a_worker_keeps_its_kind(database: Database, phone_id: int, worker: UUID) -> None:
    for code, kind in ((5, OwnedByAnother), (2, UsageError), (1, WaSessionsError), (99, WaSessionsError)):
        thread = answering(database, worker, error="no, because", exit_code=code)
        with pytest.raises(kind, match="no, because"):
            wa_sessions.force_close_session(phone_id)
        thread.join()


def test_a_worker_that_is_silent(
    database: Database, phone_id: int, worker: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "ANSWER_TIMEOUT", 0.3)
    with pytest.raises(WaSessionsError, match=r"elsewhere/4242.*withdrawn.*its log"):
        wa_sessions.force_close_session(phone_id)
    with database.transaction() as conn:
        assert commands.take(conn, worker) == []
