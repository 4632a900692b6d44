"""An operator asks, a worker answers, through the database."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from support.requests import await_request
from support.waiting import PATIENCE

from wa_sessions.db import commands
from wa_sessions.db.commands import NotAnswered
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.errors import DatabaseError, ExitCode

WORKER = UUID(int=7)


@pytest.fixture
def waiting(database: Database) -> Iterator[Connection]:
    with database.dedicated() as conn:
        yield conn


def _ask(database: Database, verb: str = "stop", worker: UUID = WORKER) -> int:
    with database.transaction() as conn:
        return commands.ask(conn, 1, worker, verb, {"reason": "test"}, "me@here")


def _work(database: Database, verbs: int, **answer: Any) -> threading.Thread:
    """A worker on a thread of its own that answers so many requests."""
    ready = threading.Event()

    def serve() -> None:
        answered = 0
        with database.dedicated() as dedicated:
            commands.listen(dedicated)
            ready.set()
            while answered < verbs:
                with database.transaction() as conn:
                    taken = commands.take(conn, WORKER)
                for command in taken:
                    with database.transaction() as conn:
                        commands.finish(conn, command.id, **answer)
                    answered += 1
                if not taken:
                    await_request(dedicated, WORKER, 60)

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(PATIENCE)
    return thread


def test_a_request_is_answered_without_delay(database: Database, waiting: Connection) -> None:
    worker = _work(database, 3, answer={"closed": True})
    for _ in range(3):
        started = time.monotonic()
        answer = commands.wait(waiting, _ask(database), 60)
        assert (answer.answer, answer.error, answer.exit_code) == ({"closed": True}, None, ExitCode.DONE)
        assert time.monotonic() - started < 30
    worker.join(PATIENCE)


def test_an_error_comes_with_its_exit_code(database: Database, waiting: Connection) -> None:
    worker = _work(database, 1, error="no", exit_code=ExitCode.OWNED)
    answer = commands.wait(waiting, _ask(database), 10)
    assert (answer.answer, answer.error, answer.exit_code) == (None, "no", ExitCode.OWNED)
    worker.join(PATIENCE)


def test_a_request_that_nobody_takes_is_withdrawn(database: Database, waiting: Connection) -> None:
    request = _ask(database)
    with pytest.raises(NotAnswered, match=r"within 0\.1 s; it was withdrawn") as silence:
        commands.wait(waiting, request, 0.1)
    assert not silence.value.taken
    with database.transaction() as conn:
        assert commands.take(conn, WORKER) == []


def test_a_request_that_is_not_finished_is_said(database: Database, waiting: Connection) -> None:
    request = _ask(database)
    with database.transaction() as conn:
        assert [command.id for command in commands.take(conn, WORKER)] == [request]
    with pytest.raises(NotAnswered, match="did not finish") as silence:
        commands.wait(waiting, request, 0.1)
    assert silence.value.taken


def test_requests_are_taken_in_order_once_and_by_their_worker(database: Database) -> None:
    asked = [_ask(database, verb) for verb in ("one", "two", "three")]
    _ask(database, "other", uuid4())
    with database.transaction() as first, database.transaction() as second:
        taken = commands.take(first, WORKER)
        assert commands.take(second, WORKER) == []
    assert [(command.id, command.verb) for command in taken] == list(zip(asked, ("one", "two", "three"), strict=True))
    assert taken[0].arguments == {"reason": "test"}
    assert (taken[0].phone_id, taken[0].actor) == (1, "me@here")


def test_an_answer_stands_once_it_is_given(database: Database, waiting: Connection) -> None:
    request = _ask(database)
    for answer in ({"first": True}, {"second": True}):
        with database.transaction() as conn:
            commands.finish(conn, request, answer=answer)
    assert commands.wait(waiting, request, 1).answer == {"first": True}


def test_a_worker_hears_its_own_requests_alone(database: Database, waiting: Connection) -> None:
    commands.listen(waiting)
    _ask(database, worker=uuid4())
    assert not await_request(waiting, WORKER, 0.1)
    _ask(database)
    assert await_request(waiting, WORKER, 5)


def test_a_lost_connection_is_one_line(database: Database, waiting: Connection) -> None:
    request = _ask(database)

    def cut() -> None:
        time.sleep(0.2)
        with database.transaction() as conn:
            conn.execute("SELECT pg_terminate_backend(%s)", (waiting.info.backend_pid,))

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(DatabaseError, match="the database was lost while waiting") as error:
        commands.wait(waiting, request, 10)
    thread.join()
    assert "\n" not in str(error.value)
    with pytest.raises(DatabaseError, match="while listening"):
        commands.listen(waiting)
