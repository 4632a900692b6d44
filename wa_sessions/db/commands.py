"""Asking a worker to do something, through the database, and waiting for its answer."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from wa_sessions.db import leases
from wa_sessions.db.dedicated import pinned
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import DatabaseAway, ExitCode, WaSessionsError

LOOK_EVERY = 1.0  # seconds between looks whether the worker is still there

_SQL = queries("commands")


@dataclass(frozen=True, slots=True)
class Command:
    """A request as its worker sees it."""

    id: int
    phone_id: int
    verb: str
    arguments: dict[str, Any]
    actor: str
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker said: an object, or an error with the exit code that it means."""

    id: int
    answer: dict[str, Any] | None
    error: str | None
    exit_code: int


class NotAnswered(WaSessionsError):
    """A worker did not answer in time; ``taken`` tells whether it had begun. If not, the request was withdrawn."""

    def __init__(self, message: str, *, taken: bool) -> None:
        super().__init__(message)
        self.taken = taken


def ask(conn: Connection, phone_id: int, worker_id: UUID, verb: str, arguments: Mapping[str, Any], actor: str) -> int:
    """Put a request before a worker; it sees it when the transaction commits. Returns the request's id."""
    values = {"phone_id": phone_id, "worker_id": worker_id, "verb": verb, "actor": actor}
    row = conn.execute(_SQL.ask, values | {"arguments": Jsonb(dict(arguments))}).fetchone()
    conn.execute(_SQL.notify_request, {"payload": str(worker_id)})
    return int(row["id"]) if row else 0


def take(conn: Connection, worker_id: UUID) -> list[Command]:
    """All open requests to a worker, in order; nobody else gets them again."""
    rows = conn.execute(_SQL.take, {"worker_id": worker_id}).fetchall()
    return sorted((Command(**row) for row in rows), key=lambda command: command.id)


def unanswered(conn: Connection, worker_id: UUID) -> list[Command]:
    """All requests that a worker has taken and not answered, in order."""
    return [Command(**row) for row in conn.execute(_SQL.unanswered, {"worker_id": worker_id})]


def finish(
    conn: Connection,
    command_id: int,
    *,
    answer: Mapping[str, Any] | None = None,
    error: str | None = None,
    exit_code: int = ExitCode.DONE,
) -> None:
    """Answer a request; who waits sees it when the transaction commits."""
    body = Jsonb(dict(answer)) if answer is not None else None
    values = {"id": command_id, "answer": body, "error": error, "exit_code": int(exit_code)}
    if conn.execute(_SQL.finish, values).fetchone():
        conn.execute(_SQL.notify_answer, {"payload": str(command_id)})


def finished(conn: Connection, command_ids: list[int]) -> set[int]:
    """Which of these requests are answered already."""
    return {row["id"] for row in conn.execute(_SQL.finished, {"ids": command_ids})}


def wait(dedicated: Connection, command_id: int, timeout: float, *, gone: Callable[[], bool] = lambda: False) -> Answer:
    """Block until a request is answered.

    Raises NotAnswered after ``timeout`` seconds, or as soon as the worker is seen to be ``gone``, DatabaseError on a
    lost link.
    """
    began = time.monotonic()
    deadline = began + timeout
    with _link("waiting"):
        dedicated.execute(_SQL.listen_answers)
        while True:
            if answer := _answer(dedicated, command_id):
                return answer
            heard = _notified(dedicated, str(command_id), min(deadline, time.monotonic() + LOOK_EVERY))
            if not heard and (time.monotonic() >= deadline or gone()):
                return _last_look(dedicated, command_id, round(time.monotonic() - began, 1))


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker's connection was notified of: a request to it, and a change in which phones are whose."""

    request: bool
    fleet: bool


def listen(dedicated: Connection) -> None:
    """Let a worker's dedicated connection hear of requests and of the fleet; raises DatabaseError on a lost link."""
    with _link("listening"):
        dedicated.execute(_SQL.listen_requests)
        leases.listen(dedicated)


def heard(dedicated: Connection, worker_id: UUID) -> Heard:
    """What has come, as soon as the connection can be read; raises DatabaseError on a lost link."""
    request = changed = False
    with _link("listening"):
        dedicated.pgconn.consume_input()
        while note := dedicated.pgconn.notifies():
            if note.relname.decode() == leases.CHANNEL:
                changed = True
            else:
                request = request or note.extra.decode(errors="replace") == str(worker_id)
    return Heard(request, changed)


@contextmanager
def _link(doing: str) -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        reason = next(iter(str(error).splitlines()), "no reason given")
        raise DatabaseAway(f"the database was lost while {doing}: {reason}") from None


def _notified(dedicated: Connection, payload: str, deadline: float) -> bool:
    while (left := deadline - time.monotonic()) > 0:
        for note in dedicated.notifies(timeout=left, stop_after=1):
            if note.payload == payload:
                return True
    return False


def _answer(dedicated: Connection, command_id: int) -> Answer | None:
    with pinned(dedicated):
        row = dedicated.execute(_SQL.answer, {"id": command_id}).fetchone()
    if row is None:
        raise WaSessionsError(f"request {command_id} is gone")
    if row["finished_at"] is None:
        return None
    code = row["exit_code"] if row["exit_code"] is not None else int(ExitCode.FAILED)
    return Answer(row["id"], row["answer"], row["error"], code)


def _last_look(dedicated: Connection, command_id: int, timeout: float) -> Answer:
    with pinned(dedicated):
        withdrawn = dedicated.execute(_SQL.withdraw, {"id": command_id}).fetchone()
    if withdrawn:
        raise NotAnswered(f"the worker did not take the request within {timeout:g} s; it was withdrawn", taken=False)
    if answer := _answer(dedicated, command_id):
        return answer
    raise NotAnswered(f"the worker began, but did not finish within {timeout:g} s", taken=True)
