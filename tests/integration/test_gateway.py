"""Connections, transactions, and errors in one line."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo
from support.clusters import copy_of_made
from support.relay import Relay
from support.waiting import PATIENCE

from wa_sessions.db import backend, gateway, health, phones
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target, resolve
from wa_sessions.errors import (
    Busy,
    Conflict,
    DatabaseError,
    ExitCode,
    PermissionMissing,
    ReadOnlyDatabase,
    SchemaMissing,
    TryAgain,
    UsageError,
)
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.phone_ref import PhoneRef

PASSWORD = "geheim-genug"


@pytest.fixture
def relay(server: EmbeddedServer) -> Iterator[Relay]:
    with Relay(server.socket_dir) as opened:
        yield opened


@pytest.fixture
def away(open_folder: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, to be stopped."""
    embedded = copy_of_made(open_folder.parent, open_folder / "away")
    embedded.ensure_running()
    yield embedded
    embedded.stop()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql://app:{PASSWORD}@127.0.0.1:1/x", "port 1 failed: Connection refused"),
        (f"postgresql://app:{PASSWORD}@localhost:1/x", "Connection refused"),
        (f"postgresql://app:{PASSWORD}@/x?host=/nowhere", "No such file or directory"),
        (f"postgresql://app:{PASSWORD}@no-such-host.invalid/x", "no-such-host.invalid"),
        (f"postgresql://app:{PASSWORD}@127.0.0.1:1/x?sslmode=nonsense", "sslmode"),
        (f"postgresql://app:{PASSWORD}@127.0.0.1:99999/x", "99999"),
    ],
)
def test_an_unreachable_database_is_one_line(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said) as error:
        Database.open(resolve(url))
    message = str(error.value)
    assert error.value.exit_code is ExitCode.NO_DATABASE
    assert "\n" not in message
    assert PASSWORD not in message
    assert ":***@" in message
    assert "--database-url" in message


def test_a_server_that_says_no_is_one_line(server: EmbeddedServer) -> None:
    target = resolve(f"postgresql://nobody-known:{PASSWORD}@/postgres?host={server.socket_dir}")
    with pytest.raises(DatabaseError, match='role "nobody-known" does not exist') as error:
        Database.open(target)
    assert PASSWORD not in str(error.value)
    with pytest.raises(DatabaseError, match='database "nothing" does not exist'):
        Database.open(resolve(f"postgresql://postgres@/nothing?host={server.socket_dir}"))


def test_a_transaction_is_whole_or_nothing(database: Database) -> None:
    with database.transaction() as conn:
        conn.execute("CREATE TABLE public.kept (n int)")

    def fail(conn: Connection) -> None:
        conn.execute("INSERT INTO public.kept VALUES (1)")
        raise LookupError

    with pytest.raises(LookupError), database.transaction() as conn:
        fail(conn)
    with database.transaction() as conn:
        assert conn.execute("SELECT * FROM public.kept").fetchall() == []
        conn.execute("INSERT INTO public.kept VALUES (2)")
    with database.transaction() as conn:
        assert conn.execute("SELECT * FROM public.kept").fetchall() == [{"n": 2}]


def test_times_are_utc_and_the_name_is_ours(conn: Connection) -> None:
    row = conn.execute("SELECT now() AS now, current_setting('application_name') AS name").fetchone()
    assert row
    assert row["now"].utcoffset().total_seconds() == 0
    assert row["name"] == "wa-sessions"


def test_a_role_without_rights_is_told_which(database: Database, database_url: str) -> None:
    with database.transaction() as conn:
        conn.execute("CREATE ROLE reader LOGIN")
        conn.execute('GRANT SELECT ON public."OrganizationPhone", public.baileys_auth TO reader')
        phones.add(conn, backend.detect(conn), "77051234567", 1)
    target = resolve(database_url.replace("postgres@", "reader@"))
    with Database.open(target) as reading:
        with reading.transaction() as conn:
            found = backend.detect(conn)
            assert phones.find(conn, found, PhoneRef("77051234567")).organization_id == 1
        with pytest.raises(PermissionMissing, match="role reader lacks a right: permission denied for table"):
            _with(reading, lambda conn: phones.set_status(conn, found, 1, Status.CONNECTED))
        with pytest.raises(PermissionMissing, match="permission denied for schema wa_sessions"):
            _with(reading, lambda conn: health.load(conn, 1))
    with database.transaction() as conn:
        conn.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_a_missing_schema_says_what_to_run(empty_target: Target) -> None:
    with Database.open(empty_target) as empty:
        with pytest.raises(SchemaMissing, match="run wa-sessions db upgrade"):
            _with(empty, lambda conn: health.load(conn, 1))
        with pytest.raises(DatabaseError, match='no table "OrganizationPhone"'):
            _with(empty, lambda conn: phones.list_phones(conn, backend.detect(conn)))


@pytest.mark.parametrize("value", ["a\0b", "\udcff"])
def test_a_value_that_no_database_holds_is_a_mistake_of_usage(database: Database, value: str) -> None:
    with pytest.raises(UsageError, match="cannot hold"):
        _with(database, lambda conn: conn.execute("SELECT %s", (value,)))


def test_a_refused_row_is_not_repeated(database: Database, server: EmbeddedServer) -> None:
    secret = b"not-thirty-two-bytes"
    statement = "INSERT INTO whatsmeow.whatsmeow_nct_salt VALUES ('stranger', %s)"
    with pytest.raises(Conflict, match=r"the database refuses a row: .*violates foreign key constraint") as error:
        _with(database, lambda conn: conn.execute(statement, (secret,)))
    with pytest.raises(Conflict, match="violates check constraint") as other:
        _with(
            database,
            lambda conn: conn.execute(
                "INSERT INTO whatsmeow.whatsmeow_identity_keys VALUES ('stranger', 'them', %s)", (secret,)
            ),
        )
    for told in (str(error.value), str(other.value), server.log.path.read_text()):
        assert secret.hex() not in told
        assert "stranger" not in told


def test_a_read_only_server_is_said(target: Target) -> None:
    replica = Target(make_conninfo(target.conninfo, options="-c default_transaction_read_only=on"), None, "test")
    with Database.open(replica) as reading, pytest.raises(ReadOnlyDatabase):
        _with(reading, lambda conn: conn.execute("CREATE TABLE public.never (n int)"))


def test_connections_are_used_again_and_shared_by_threads(target: Target) -> None:
    with Database.open(target, size=3) as database:
        start, pids = threading.Barrier(3), []

        def work() -> None:
            with database.transaction() as conn:
                start.wait(PATIENCE)
                pids.append(conn.info.backend_pid)

        for _ in range(3):
            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(pids) == 9
        assert len(set(pids)) == 3


def test_too_many_at_once_wait_and_then_fail(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "WAIT_FOR_CONNECTION", 0.1)
    busy = pytest.raises(Busy, match=r"all connections to .* are busy")
    with Database.open(target, size=1) as database, database.transaction(), busy, database.transaction():
        pass
    with Database.open(target, size=1) as database:
        for _ in range(3):
            with database.transaction():
                pass


def test_a_server_that_comes_back_is_used_again_at_once(away: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "WAIT_FOR_CONNECTION", PATIENCE)
    target = Target(away.ensure_running(), None, "test")
    with Database.open(target) as database:
        for _ in range(2):
            with database.transaction() as conn:
                assert conn.execute("SELECT 1 AS one").fetchone() == {"one": 1}
            away.stop()
            started = time.monotonic()
            with pytest.raises(DatabaseError, match=r"No such file or directory|Connection refused"):
                _with(database, lambda conn: None)
            assert time.monotonic() - started < PATIENCE
            away.ensure_running()
    with contextlib.suppress(DatabaseError):
        away.stop()


def test_a_connection_cut_in_the_middle_is_one_line(target: Target, relay: Relay) -> None:
    conninfo = make_conninfo(target.conninfo, host="127.0.0.1", hostaddr="127.0.0.1", port=relay.port)
    with Database.open(Target(conninfo, None, "test")) as database:

        def cut(conn: Connection) -> None:
            relay.hang_up()
            conn.execute("SELECT 1")

        with pytest.raises(DatabaseError) as error:
            _with(database, cut)
        assert "\n" not in str(error.value)
        with database.transaction() as conn:
            assert conn.execute("SELECT 1 AS one").fetchone() == {"one": 1}


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_a_lock_that_takes_too_long_is_no_lost_database(target: Target, limit: str) -> None:
    """As a role may have it set: the server answers, so no socket has to be closed for it."""
    with Database.open(target) as database, database.transaction() as holder:
        holder.execute("LOCK TABLE wa_sessions.lease")

        def wait(conn: Connection) -> None:
            conn.execute("SELECT set_config(%s, '50', true)", (limit,))
            conn.execute("LOCK TABLE wa_sessions.lease")

        with pytest.raises(TryAgain, match=r"timeout|busy"):
            _with(database, wait)


def test_whoever_waits_for_the_server_goes_on_when_connections_are_cut(target: Target) -> None:
    with Database.open(target) as holding, holding.transaction() as holder:
        holder.execute("LOCK TABLE wa_sessions.lease")
        pids = [row["pid"] for row in holder.execute("SELECT pg_backend_pid() AS pid")]
        database, ended = Database(target, 1), []

        def wait() -> None:
            try:
                _with(database, lambda conn: conn.execute("LOCK TABLE wa_sessions.lease"))
            except DatabaseError as error:
                ended.append(error)

        waiting = [threading.Thread(target=wait) for _ in range(2)]  # one for the lock, one for the connection
        for thread in waiting:
            thread.start()
        blocked = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        while not holder.execute(blocked, pids).fetchall():
            holder.execute("SELECT pg_stat_clear_snapshot()")
        database.cut()
        for thread in waiting:
            thread.join(PATIENCE)
        assert len(ended) == 2
        with pytest.raises(DatabaseError, match="given up"):
            database.dedicated()


def test_a_dedicated_connection_stands_outside(target: Target) -> None:
    with Database.open(target, size=1) as database, database.dedicated() as dedicated:
        assert dedicated.autocommit
        with database.transaction() as conn:
            assert conn.info.backend_pid != dedicated.info.backend_pid
            assert dedicated.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def _with(database: Database, act: Callable[[Connection], object]) -> None:
    with database.transaction() as conn:
        act(conn)
