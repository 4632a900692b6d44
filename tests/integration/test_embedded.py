"""The embedded server is a real Postgres: started fast, reused, coming back, and changing nothing that is not ours."""

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from support.clusters import copy_of_made
from support.waiting import PATIENCE

from wa_sessions.db import embedded, server_log, server_user, settings
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.errors import DatabaseError

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def folder(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of the test's own that everybody may enter."""
    made = open_folder / f"t{abs(hash(request.node.name)) % 10**8}"
    made.mkdir()
    made.chmod(0o755)
    yield made
    for cluster in made.rglob("postgres"):
        with suppress(DatabaseError):
            EmbeddedServer(cluster.parent).stop()
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def kept(open_folder: Path) -> Iterator[EmbeddedServer]:
    """A server that several tests use one after another; each leaves it usable."""
    server = copy_of_made(open_folder.parent, open_folder / "kept", {})
    server.ensure_running()
    yield server
    server.stop()


def test_a_server_that_has_no_command_line_yet_has_not_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between fork(2) and exec(2) a process has none; on a busy machine a start looked at it just then."""
    monkeypatch.setattr(embedded, "_command", lambda _pid: [])
    server = EmbeddedServer(folder)
    assert _one(server.ensure_running(), "SELECT 1") == 1
    monkeypatch.undo()


def _one(conninfo: str, query: str) -> object:
    with psycopg.connect(conninfo) as conn:
        row = conn.execute(query).fetchone()
    assert row
    return row[0]


def _run(program: str, **environment: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _can_write(path: Path, uid: int, gid: int) -> bool:
    """Whether a process of that user and group can; to connect to a socket is to write into it."""
    done = subprocess.run(["/usr/bin/test", "-w", path], user=uid, group=gid, extra_groups=[], cwd="/", check=False)
    return done.returncode == 0


def _pid(server: EmbeddedServer) -> int:
    return int((server.cluster / "postmaster.pid").read_text().split()[0])


def test_a_server_is_made_started_reused_and_stopped(folder: Path) -> None:
    server = EmbeddedServer(folder / "data")
    assert not server.exists()
    assert not server.running()
    conninfo = server.ensure_running()
    assert server.exists()
    assert server.running()
    pid = _pid(server)
    assert EmbeddedServer(folder / "data").ensure_running() == conninfo
    assert _pid(server) == pid
    server.stop()
    assert not server.running()
    assert server.exists()
    server.stop()


def test_the_server_listens_on_no_port_and_knows_every_letter(kept: EmbeddedServer) -> None:
    conninfo = kept.ensure_running()
    assert _one(conninfo, "SHOW listen_addresses") == ""
    assert _one(conninfo, "SHOW server_encoding") == "UTF8"
    assert _one(conninfo, "SELECT lower('\u0414')") == "\u0434"


def test_data_and_socket_are_closed_to_others(kept: EmbeddedServer) -> None:
    kept.ensure_running()
    assert stat.S_IMODE(kept.cluster.stat().st_mode) == 0o700
    assert Path(kept.socket_dir) == kept.cluster
    assert stat.S_IMODE((kept.cluster / embedded.SOCKET_NAME).stat().st_mode) == 0o700
    assert stat.S_IMODE(kept.log.path.stat().st_mode) == 0o600


def test_a_killed_server_comes_back_with_all_rows(kept: EmbeddedServer) -> None:
    with psycopg.connect(kept.ensure_running()) as conn:
        conn.execute("CREATE TABLE public.kept AS SELECT generate_series(1, 1000) AS number")
    pid = _pid(kept)
    os.kill(pid, signal.SIGKILL)
    assert embedded._until(lambda: not kept.running(), 5)
    assert _one(kept.ensure_running(), "SELECT count(*) FROM public.kept") == 1000
    assert _pid(kept) != pid


def test_a_server_that_recovers_while_others_knock_is_waited_for(kept: EmbeddedServer) -> None:
    """It answers them "FATAL: the database system is starting up", which is not its own end."""
    conninfo = kept.ensure_running()
    over = threading.Event()

    def knock() -> None:
        while not over.is_set():
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(conninfo, connect_timeout=2).close()

    knocking = [threading.Thread(target=knock) for _ in range(4)]
    for thread in knocking:
        thread.start()
    try:
        for _ in range(3):
            with psycopg.connect(conninfo) as conn:
                conn.execute("CREATE TABLE IF NOT EXISTS public.filled AS SELECT generate_series(1, 200000) AS number")
            os.kill(_pid(kept), signal.SIGKILL)
            assert embedded._until(lambda: not kept.running(), 5)
            assert _one(kept.ensure_running(), "SELECT 1") == 1
    finally:
        over.set()
        for thread in knocking:
            thread.join()
    assert "the database system is" in kept.log.path.read_text()


def test_the_number_of_a_killed_server_may_belong_to_another_process(kept: EmbeddedServer) -> None:
    kept.ensure_running()
    pid_file = kept.cluster / "postmaster.pid"
    remains = pid_file.read_text()
    kept.stop()
    pid_file.write_text(remains.replace(remains.split()[0], str(os.getpid()), 1))
    assert not kept.running()
    assert _one(kept.ensure_running(), "SELECT 1") == 1
    assert _pid(kept) != os.getpid()


def test_a_folder_that_is_moved_while_its_server_runs_is_known_at_its_new_place(folder: Path) -> None:
    """Another server was started on the same files, and the running one ended within a minute."""
    server = EmbeddedServer(folder / "data")
    server.ensure_running()
    pid = _pid(server)
    server.data_dir.rename(folder / "moved")
    moved = EmbeddedServer(folder / "moved")
    assert _one(moved.ensure_running(), "SHOW data_directory") == str(server.cluster)
    assert _pid(moved) == pid
    with_another = EmbeddedServer(folder / "data")
    assert _one(with_another.ensure_running(), "SELECT pg_postmaster_start_time()") != _one(
        moved.conninfo(), "SELECT pg_postmaster_start_time()"
    )
    moved.stop()
    assert not moved.running()
    assert with_another.running()
    assert _one(moved.ensure_running(), "SHOW data_directory") == str(moved.cluster)


def test_a_folder_that_is_moved_after_its_server_was_killed_is_not_known_by_the_socket_that_it_left(
    folder: Path,
) -> None:
    server = EmbeddedServer(folder / "data")
    server.ensure_running()
    os.kill(_pid(server), signal.SIGKILL)
    assert embedded._until(lambda: not server.running(), 5)
    server.data_dir.rename(folder / "it's elsewhere")
    moved = EmbeddedServer(folder / "it's elsewhere")
    assert _one(moved.ensure_running(), "SHOW data_directory") == str(moved.cluster)
    assert Path(moved.socket_dir) != moved.cluster
    moved.stop()


def test_two_starters_make_one_server(folder: Path) -> None:
    servers = [EmbeddedServer(folder / "data") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda server: server.ensure_running(), servers))
    assert len(found) == 1
    assert _one(found.pop(), "SELECT 1") == 1


def test_two_processes_make_one_server_that_outlives_them(folder: Path) -> None:
    program = textwrap.dedent(f"""
        from pathlib import Path
        from wa_sessions.db.embedded import EmbeddedServer
        server = EmbeddedServer(Path({str(folder / "data")!r}))
        server.ensure_running()
        print((server.cluster / "postmaster.pid").read_text().split()[0])
    """)
    starters = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True)
        for _ in range(2)
    ]
    pids = {starter.communicate(timeout=PATIENCE)[0] for starter in starters}
    for starter in starters:
        with suppress(ProcessLookupError):
            os.killpg(starter.pid, signal.SIGKILL)
    assert len(pids) == 1
    assert EmbeddedServer(folder / "data").running()


def test_a_half_made_cluster_is_made_anew(folder: Path) -> None:
    partial = folder / "data" / "postgres.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18")
    (folder / "data").chmod(0o755)
    server = EmbeddedServer(folder / "data")
    assert not server.exists()
    assert _one(server.ensure_running(), "SELECT 1") == 1
    assert not partial.exists()


@pytest.mark.parametrize("name", ["x" * 90, "a b, 'c' \"$HOME`id` \u0434"])
def test_a_path_that_no_socket_takes_gets_a_short_folder(folder: Path, name: str) -> None:
    server = EmbeddedServer(folder / name)
    conninfo = server.ensure_running()
    assert _one(conninfo, "SELECT 1") == 1
    short = Path(server.socket_dir)
    assert short.parent == Path("/tmp")
    assert stat.S_IMODE(short.stat().st_mode) == 0o700
    assert short.stat().st_uid == server.cluster.stat().st_uid
    server.stop()
    assert not short.exists()


def test_a_server_that_cannot_start_says_why(kept: EmbeddedServer) -> None:
    kept.stop()
    server = EmbeddedServer(kept.data_dir, settings={"shared_buffers": "nonsense"})
    with pytest.raises(DatabaseError, match=r'did not start: .*invalid value.*"shared_buffers".*log: ') as error:
        server.ensure_running()
    assert "\n" not in str(error.value)


def test_a_full_log_is_put_aside(kept: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.ensure_running()
    kept.stop()
    monkeypatch.setattr(server_log, "LARGEST", 10)
    kept.ensure_running()
    assert kept.log.path.with_suffix(".log.1").exists()


def test_the_embedded_target_ignores_the_environment(kept: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "10.0.0.1", "PGHOSTADDR": "10.0.0.1", "PGPORT": "1", "PGSSLMODE": "require"}.items():
        monkeypatch.setenv(name, value)
    target = settings.embedded_target(kept)
    assert _one(target.conninfo, "SELECT 1") == 1
    assert target.embedded
    assert target.masked.startswith("postgresql://postgres@/postgres?host=")


def test_a_missing_package_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_user, "PACKAGE", "no_such_package")
    with pytest.raises(DatabaseError, match=r"pip install 'wa-sessions\[embedded\]'"):
        EmbeddedServer(folder / "data").ensure_running()


@pytest.mark.root
def test_root_runs_the_server_as_a_user_that_runs_nothing_else(kept: EmbeddedServer) -> None:
    kept.ensure_running()
    owner = kept.cluster.stat().st_uid
    if "wa-sessions" not in {entry.pw_name for entry in pwd.getpwall()}:
        assert owner in server_user.OWN_NUMBERS
        assert owner not in {entry.pw_uid for entry in pwd.getpwall()}
    assert {path.stat().st_uid for path in kept.cluster.rglob("*")} == {owner}
    assert Path(f"/proc/{_pid(kept)}").stat().st_uid == owner
    assert kept.data_dir.stat().st_uid == 0
    assert not (kept.data_dir / "postgres.partial").exists()


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not there")
def test_root_of_a_container_sees_and_stops_the_server(kept: EmbeddedServer) -> None:
    """There root lacks CAP_SYS_PTRACE, and cannot read everything of a process of another user."""
    kept.ensure_running()
    stopping = f"from wa_sessions.db.embedded import *; EmbeddedServer(Path({str(kept.data_dir)!r})).stop()"
    subprocess.run(["setpriv", "--bounding-set", "-sys_ptrace", sys.executable, "-c", stopping], check=True)
    assert not kept.running()
    kept.ensure_running()


@pytest.mark.root
def test_no_process_of_nobody_reaches_the_server(kept: EmbeddedServer) -> None:
    kept.ensure_running()
    address, owner = kept.cluster / embedded.SOCKET_NAME, kept.cluster.stat()
    assert not _can_write(address, NOBODY.pw_uid, NOBODY.pw_gid)
    assert _can_write(address, owner.st_uid, owner.st_gid)


@pytest.mark.root
def test_what_is_being_made_is_closed_to_nobody_else(folder: Path) -> None:
    """``initdb`` runs as a user with a name, whom others may run as; its group and its folder are its alone."""
    user = server_user.server_user(folder / "data" / "postgres")
    assert user.maker_options["group"] == user.gid
    outer, inner = folder / "outer", folder / "outer" / "inner"
    outer.mkdir(mode=0o700)
    user.shut(outer)
    inner.mkdir(mode=0o700)
    user.lend(inner)
    assert not _can_write(inner, NOBODY.pw_uid, NOBODY.pw_gid)
    assert _can_write(inner, user.maker_options["user"], user.gid)
    user.take(inner)
    assert inner.stat().st_uid == user.uid


@pytest.mark.root
def test_a_database_that_belonged_to_nobody_is_taken_from_it(kept: EmbeddedServer) -> None:
    kept.stop()
    for path in (kept.cluster, *kept.cluster.rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
    server = EmbeddedServer(kept.data_dir)
    assert _one(server.ensure_running(), "SELECT 1") == 1
    owners = {path.stat().st_uid for path in (kept.cluster, *kept.cluster.rglob("*"), Path(f"/proc/{_pid(server)}"))}
    assert len(owners) == 1
    assert NOBODY.pw_uid not in owners


@pytest.mark.root
def test_a_number_that_is_in_use_is_not_taken(folder: Path) -> None:
    cluster = folder / "data" / "postgres"
    first = server_user.server_user(cluster).uid
    assert server_user.server_user(cluster).uid == first
    with subprocess.Popen(["sleep", "60"], user=first) as busy:
        try:
            assert server_user.server_user(cluster).uid != first or first not in server_user.OWN_NUMBERS
        finally:
            busy.kill()


@pytest.mark.root
def test_a_closed_ancestor_is_said_and_left_as_it_is(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    before = {path: path.stat() for path in (closed, *closed.parents)}
    with pytest.raises(DatabaseError, match=f"{closed} is closed to that user: set WA_SESSIONS_DATA_DIR=") as error:
        EmbeddedServer(closed / "data").ensure_running()
    assert "\n" not in str(error.value)
    assert not (closed / "data").exists()
    for path, status in before.items():
        now = path.stat()
        assert (now.st_mode, now.st_uid, now.st_gid) == (status.st_mode, status.st_uid, status.st_gid), path


@pytest.mark.root
def test_folders_that_stood_there_keep_their_modes(folder: Path) -> None:
    data = folder / "theirs" / "data"
    data.mkdir(parents=True)
    data.chmod(0o751)
    data.parent.chmod(0o711)
    EmbeddedServer(data).ensure_running()
    assert stat.S_IMODE(data.stat().st_mode) == 0o751
    assert stat.S_IMODE(data.parent.stat().st_mode) == 0o711


@pytest.mark.root
def test_root_runs_a_users_cluster_as_that_user(kept: EmbeddedServer) -> None:
    kept.stop()
    user = pwd.getpwnam("daemon")
    for path in (kept.cluster, *kept.cluster.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    server = EmbeddedServer(kept.data_dir)
    assert _one(server.ensure_running(), "SELECT 1") == 1
    assert Path(f"/proc/{_pid(server)}").stat().st_uid == user.pw_uid


@pytest.mark.root
def test_programs_in_a_closed_folder_are_copied(folder: Path) -> None:
    package = server_user.programs(server_user.server_user(folder / "none")).parents[1]
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    for part in (
        package,
        package.with_name(f"{package.name}.libs"),
        *package.parent.glob(f"{package.name}-*.dist-info"),
    ):
        shutil.copytree(part, closed / part.name, symlinks=True, ignore=shutil.ignore_patterns("include", "pginstall"))
    program = f"""
        from pathlib import Path
        from wa_sessions.db import server_user
        from wa_sessions.db.embedded import EmbeddedServer
        server_user.SYSTEM_DIR = Path({str(folder / "system")!r})
        for name in "one", "two":
            EmbeddedServer(Path({str(folder)!r}) / name).ensure_running()
    """
    _run(program, PYTHONPATH=str(closed))
    copies = list((folder / "system" / "server").iterdir())
    assert len(copies) == 1
    for server in (EmbeddedServer(folder / "one"), EmbeddedServer(folder / "two")):
        assert _one(server.conninfo(), "SELECT 1") == 1
        assert Path(f"/proc/{_pid(server)}/exe").readlink().is_relative_to(copies[0])
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.ordinary_user
def test_a_folder_that_we_may_not_write_is_said(folder: Path) -> None:
    folder.chmod(0o555)
    try:
        with pytest.raises(DatabaseError, match="Permission denied"):
            EmbeddedServer(folder / "data").ensure_running()
    finally:
        folder.chmod(0o755)


def test_where_the_data_stand_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    expected = Path("/var/lib/wa-sessions") if os.geteuid() == 0 else tmp_path / ".local/share/wa-sessions"
    assert embedded.default_data_dir() == expected
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", "~/elsewhere")
    assert embedded.default_data_dir() == tmp_path / "elsewhere"
