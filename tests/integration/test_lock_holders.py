"""Whom a statement waits for: the first of the queue, told by name and without a word of its query."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from wa_sessions.db.gateway import Database
from wa_sessions.db.lock_holders import Holder, busy
from wa_sessions.db.settings import Target
from wa_sessions.errors import Busy

LOCK = "LOCK TABLE wa_sessions.lease"
PATIENCE = 1.5


@contextmanager
def session(target: Target, application: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(target.conninfo, application_name=application) as conn:
        yield conn
        conn.rollback()


def waiting(database: Database) -> str:
    """Ask for the lock; what is told of who holds it."""
    with pytest.raises(Busy) as raised, database.transaction() as conn:
        conn.execute(LOCK)
    return str(raised.value)


def test_of_a_queue_the_first_is_named(target: Target) -> None:
    """The others wait themselves; to end them would be of no use."""
    with ExitStack() as stack:
        first = stack.enter_context(session(target, "first"))
        first.execute(LOCK)
        second = stack.enter_context(session(target, "second"))
        thread = threading.Thread(target=lambda: second.execute(LOCK))
        thread.start()
        stack.callback(thread.join)
        stack.callback(first.rollback)
        while first.execute("SELECT 1 WHERE pg_blocking_pids(%s) = '{}'", (second.info.backend_pid,)).fetchone():
            pass
        pid = first.info.backend_pid
        told = waiting(stack.enter_context(Database(target, 1, lock_timeout=PATIENCE)))
    assert told == (
        f"busy: first (process {pid} of the server, role postgres) holds a lock that this needs: run it again"
    )


def test_a_lock_that_the_role_waits_for_itself_is_left_to_it(target: Target) -> None:
    """Its own timeout stands: there was no time to ask."""
    hasty = Target(make_conninfo(target.conninfo, options="-c lock_timeout=50ms"), None, "test")
    with session(target, "holder") as holder, Database(hasty, 1, lock_timeout=PATIENCE) as database:
        holder.execute(LOCK)
        assert waiting(database) == "busy: somebody holds a lock that this needs: run it again"


def test_after_one_lock_others_are_hardly_waited_for(target: Target) -> None:
    """Whoever has locked one phone may have locked a thousand."""
    with session(target, "holder") as holder, Database(target, 1, lock_timeout=PATIENCE) as database:
        holder.execute(LOCK)
        waiting(database)
        with database.transaction() as conn:
            shown = conn.execute("SELECT current_setting('lock_timeout') AS timeout").fetchone()
    assert shown == {"timeout": "1s"}


def test_connections_of_a_worker_wait_as_long_as_their_statements(target: Target) -> None:
    with Database(target, 1, deadline=15.0) as database, database.transaction() as conn:
        assert conn.execute("SELECT current_setting('lock_timeout') AS timeout").fetchone() == {"timeout": "0"}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], "somebody holds"),
        ([Holder(0, None, None, None, None)], "a prepared transaction holds"),
        ([Holder(7, "", None, None, "autovacuum worker")], "autovacuum worker (process 7 of the server) holds"),
        ([Holder(7, None, "shop", "10.0.0.5", None)], "process 7 of the server, role shop, at 10.0.0.5 holds"),
        ([Holder(7, "wa-sessions worker msg1/9", "shop", None, "client backend")], "worker msg1/9 holds"),
        (
            [Holder(7, f"wa-sessions worker msg1/{n}", None, None, None) for n in range(5)],
            "worker msg1/0, worker msg1/1, worker msg1/2 and 2 more hold",
        ),
    ],
)
def test_holders_in_words(found: list[Holder], told: str) -> None:
    assert busy(found) == f"busy: {told} a lock that this needs: run it again"


def test_a_name_cannot_steer_a_terminal() -> None:
    assert "\x1b" not in busy([Holder(7, "\x1b[2Jpsql\nroot", None, None, None)])
