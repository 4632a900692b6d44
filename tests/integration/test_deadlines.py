"""No statement of a worker waits for ever, and no server holds what a client that vanished has locked."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.clusters import copy_of_made
from support.relay import Relay
from support.waiting import PATIENCE

from wa_sessions.db.dedicated import cut
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target
from wa_sessions.errors import Cancelled, DatabaseError, ReadOnlyDatabase

BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
SHOWN = ("tcp_keepalives_idle", "tcp_keepalives_count", "tcp_keepalives_interval", "tcp_user_timeout")


@pytest.fixture
def relay(server: EmbeddedServer) -> Iterator[Relay]:
    with Relay(server.socket_dir) as opened:
        yield opened


@pytest.fixture
def far(target: Target, relay: Relay) -> Target:
    """The database, behind something that forgets."""
    return _with(target, host="127.0.0.1", hostaddr="127.0.0.1", port=str(relay.port))


@pytest.fixture(scope="module")
def tcp(open_folder: Path) -> Iterator[Target]:
    """A server on an address of loopback that nobody else has."""
    address = f"127.{os.getpid() % 250 + 2}.{os.getpid() // 250 % 250}.7"
    with _listening(open_folder / "tcp", address) as target:
        yield target


@contextlib.contextmanager
def _listening(folder: Path, address: str) -> Iterator[Target]:
    server = copy_of_made(folder.parents[1], folder, {"listen_addresses": address, "fsync": "off"})
    server.ensure_running()
    try:
        with (server.cluster / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.199.0.0/16 trust\n")
        with psycopg.connect(server.conninfo()) as conn:
            conn.execute("SELECT pg_reload_conf()")
        yield _with(Target(server.conninfo(), None, "test"), host=address, hostaddr=address)
    finally:
        server.stop()


def test_a_connection_that_is_forgotten_is_given_up_and_another_one_taken(far: Target, relay: Relay) -> None:
    with Database(far, 1, deadline=0.5) as database:

        def forgotten(conn: Connection) -> None:
            relay.forget()
            conn.execute("SELECT 1")

        with pytest.raises(DatabaseError, match=r"the server did not answer for 0\.5 s"):
            _do(database, forgotten)
        with database.transaction() as conn:
            assert conn.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_what_lay_idle_and_was_forgotten_fails_nobody(far: Target, relay: Relay) -> None:
    """A worker that has nothing to write for an hour: the first connection tells of all of them."""
    with Database(far, 3, deadline=0.5) as database:
        with database.transaction(), database.transaction(), database.transaction():
            pass
        assert len(database._idle) == 3
        relay.forget()
        with database.transaction() as conn:
            assert conn.execute("SELECT 1 AS one").fetchone() == {"one": 1}
            assert not database._idle


def test_a_commit_that_nobody_answers_is_given_up(far: Target, relay: Relay) -> None:
    with Database(far, 1, deadline=0.5) as database, pytest.raises(DatabaseError, match="did not answer"):
        _do(database, lambda _: relay.forget())


def test_a_server_that_lives_ends_a_long_statement_itself(target: Target) -> None:
    """Nothing waits on in the server, and the connection is as good as before."""
    with (
        Database.open(target) as holding,
        holding.transaction() as holder,
        Database(target, 1, deadline=1.0) as database,
    ):
        holder.execute("LOCK TABLE wa_sessions.lease")
        pids = []

        def wait(conn: Connection) -> None:
            pids.append(conn.info.backend_pid)
            conn.execute("LOCK TABLE wa_sessions.lease")

        with pytest.raises(Cancelled, match="statement timeout"):
            _do(database, wait)
        assert holder.execute(BLOCKED).fetchall() == []
        with database.transaction() as conn:
            assert [conn.info.backend_pid] == pids


def test_the_limit_of_a_role_stands(target: Target) -> None:
    own = _with(target, options="-c statement_timeout=7min")
    with Database(own, 1, deadline=1.0) as database, database.transaction() as conn:
        assert _setting(conn, "statement_timeout") == "7min"


def test_an_answer_that_comes_bit_by_bit_is_no_silence(target: Target) -> None:
    patient = _with(target, options="-c statement_timeout=7min")
    with Database(patient, 1, deadline=0.5) as database, database.transaction() as conn:
        rows = conn.execute("SELECT repeat('x', 100000), pg_sleep(0.2) FROM generate_series(1, 5)").fetchall()
        assert len(rows) == 5


def test_a_command_waits_as_long_as_its_operator_does(target: Target) -> None:
    with Database.open(target) as database:
        with database.transaction() as conn:
            assert _setting(conn, "statement_timeout") == "0"
            assert conn.deadline is None
        with database.snapshot() as conn:
            assert conn.deadline is None


def test_a_dedicated_connection_is_cut_by_whoever_owns_it(target: Target) -> None:
    with Database.open(target) as holding, holding.transaction() as holder:
        holder.execute("LOCK TABLE wa_sessions.lease")
        with Database(target, 1) as database, database.dedicated() as dedicated:
            ended: list[Exception] = []

            def wait() -> None:
                try:
                    dedicated.execute("TABLE wa_sessions.lease")
                except psycopg.OperationalError as error:
                    ended.append(error)

            waiting = threading.Thread(target=wait)
            waiting.start()
            while waiting.is_alive() and not holder.execute(BLOCKED).fetchall():
                holder.execute("SELECT pg_stat_clear_snapshot()")
            cut(dedicated)
            waiting.join(PATIENCE)
            assert len(ended) == 1
            cut(dedicated)  # once more does nothing


def test_a_dedicated_connection_does_not_wait_for_ever_either(far: Target, relay: Relay) -> None:
    with Database(far, 1, deadline=0.5) as database, database.dedicated() as dedicated:
        relay.forget()
        with pytest.raises(psycopg.OperationalError, match="did not answer"):
            dedicated.execute("SELECT 1")


@pytest.mark.parametrize(
    ("after", "expected"),
    [(4.0, ("1", "3", "1", "3500")), (12.0, ("3", "3", "3", "10500"))],
)
def test_the_server_asks_whether_the_client_of_a_dedicated_connection_is_there(
    tcp: Target, after: float, expected: tuple[str, ...]
) -> None:
    with Database(tcp, 1) as database, database.dedicated(after) as dedicated, database.transaction() as conn:
        assert tuple(_setting(dedicated, name) for name in SHOWN) == expected
        assert _setting(conn, "tcp_user_timeout") == "0"


@pytest.mark.root
@pytest.mark.program("ip")
def test_a_machine_that_vanishes_keeps_no_lock(open_folder: Path) -> None:
    """Its cable is pulled: it sends no FIN, and nobody answers for it. By Postgres's defaults it would be two hours."""
    with (
        _machine() as (name, address),
        _listening(open_folder / "vanishing", address) as target,
        psycopg.connect(target.conninfo, autocommit=True) as near,
    ):
        holder = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-c", HOLDER, target.conninfo], stdout=subprocess.PIPE
        )
        with holder:
            try:
                assert holder.stdout
                assert holder.stdout.readline() == b"held\n"
                subprocess.run(["ip", "link", "set", f"{name}a", "down"], check=True)
                near.execute("SET statement_timeout = '60s'")
                near.execute("SELECT pg_advisory_lock(1, 1)")
            finally:
                holder.kill()


HOLDER = """
import signal, sys
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target
holding = Database(Target(sys.argv[1], None, "test"), 1).dedicated()
holding.execute("SELECT pg_advisory_lock(1, 1)")
print("held", flush=True)
signal.pause()
"""


@contextlib.contextmanager
def _machine() -> Iterator[tuple[str, str]]:
    """A machine with a cable to this one: its name, and our end's address. The cable is the link ``<name>a``."""
    number = os.getpid() % 250
    name, ours, theirs = f"wa{os.getpid()}", f"10.199.{number}.1", f"10.199.{number}.2"
    cabled = [
        ["link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name],
        ["addr", "add", f"{ours}/24", "dev", f"{name}a"],
        ["link", "set", f"{name}a", "up"],
        ["-n", name, "addr", "add", f"{theirs}/24", "dev", f"{name}b"],
        ["-n", name, "link", "set", f"{name}b", "up"],
    ]
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")
    try:
        for command in cabled:
            if subprocess.run(["ip", *command], capture_output=True).returncode:
                pytest.skip("a network namespace has no cable here")
        yield name, ours
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], capture_output=True)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_a_dedicated_connection_wants_a_server_that_can_be_written_to(target: Target) -> None:
    standby = _with(target, options="-c default_transaction_read_only=on")
    with Database(standby, 1) as database, pytest.raises(ReadOnlyDatabase):
        database.dedicated()


def test_a_connection_to_a_read_only_server_is_not_used_again(target: Target) -> None:
    """A primary of old, or a standby behind a name that leads elsewhere by now."""
    standby = _with(target, options="-c default_transaction_read_only=on")
    with Database(standby, 1, deadline=1.0) as database:
        with pytest.raises(ReadOnlyDatabase):
            _do(database, lambda conn: conn.execute("CREATE TABLE public.never (n int)"))
        assert not database._idle


def _with(target: Target, **changed: str) -> Target:
    return Target(make_conninfo(target.conninfo, **changed), None, "test")


def _setting(conn: Connection, name: str) -> str:
    row = conn.execute("SELECT current_setting(%s) AS value", (name,)).fetchone()
    assert row
    return str(row["value"])


def _do(database: Database, act: Callable[[Connection], object]) -> None:
    with database.transaction() as conn:
        act(conn)
