"""A real Postgres of our own: made on demand, reached through a unix socket only, running on after its starter ends."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wa_sessions import config, process_identity
from wa_sessions.config.table import DATA_DIR
from wa_sessions.db import server_user
from wa_sessions.db.server_log import ServerLog, last_line
from wa_sessions.db.server_user import ServerUser
from wa_sessions.errors import DatabaseError

PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
LONGEST_SOCKET_PATH = 100
START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0

INITDB_OPTIONS = (
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--wal-segsize=4",
    "--no-instructions",
)

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",
    "jit": "off",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",  # no statement and no row: they may hold keys
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}


def default_data_dir() -> Path:
    """The folder that is configured, else the user's data folder, as root ``/var/lib/wa-sessions``."""
    if configured := config.value(DATA_DIR):
        return Path(configured).expanduser()
    if os.geteuid() == 0:
        return server_user.SYSTEM_DIR
    from platformdirs import user_data_path

    return user_data_path("wa-sessions")


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What Postgres writes into ``postmaster.pid``."""

    pid: int
    socket_dir: str
    ready: bool


class EmbeddedServer:
    """The server of one data folder; ``settings`` are added to (or replace) those it is started with."""

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self._settings = {**SETTINGS, **(settings or {})}

    @property
    def cluster(self) -> Path:
        """Postgres's own folder."""
        return self.data_dir / "postgres"

    @property
    def log(self) -> ServerLog:
        """Where the server writes what went wrong."""
        return ServerLog(self.cluster / "server.log")

    def exists(self) -> bool:
        """Whether a database was ever made here."""
        try:
            return (self.cluster / "PG_VERSION").is_file()
        except OSError:
            return False

    def running(self) -> bool:
        """Whether the server takes connections right now."""
        postmaster = self._postmaster()
        return postmaster is not None and postmaster.ready and _answers(postmaster.socket_dir)

    def ensure_running(self) -> str:
        """Make and start the server where needed; returns the conninfo. Raises DatabaseError."""
        if not self.running():
            try:
                with self._alone():
                    if not self.running():
                        self._start()
            except OSError as error:
                raise DatabaseError(
                    f"the embedded server in {self.data_dir} cannot start: {error.strerror or error}; "
                    "set WA_SESSIONS_DATA_DIR to a folder of your own, or give --database-url"
                ) from None
        return self.conninfo()

    @property
    def socket_dir(self) -> str:
        """The folder of the running server's socket; raises DatabaseError where none runs."""
        postmaster = self._postmaster()
        if postmaster is None:
            raise DatabaseError(f"the embedded server in {self.data_dir} is not running")
        return postmaster.socket_dir

    def conninfo(self) -> str:
        """How to reach the running server, whatever PG* variables the environment has; raises DatabaseError."""
        return f"host={self.socket_dir} hostaddr='' port={PORT} user=postgres dbname=postgres sslmode=disable"

    def stop(self) -> None:
        """End the server, its connections too; no error where it does not run."""
        postmaster = self._postmaster()
        if postmaster is None or not self._is_ours(postmaster.pid):
            return
        for ending in (signal.SIGINT, signal.SIGQUIT):
            with contextlib.suppress(ProcessLookupError):
                os.kill(postmaster.pid, ending)
            if _until(lambda: not self._is_ours(postmaster.pid), STOP_TIMEOUT):
                self._forget_short_folder(postmaster.socket_dir)
                return
        raise DatabaseError(f"the embedded server in {self.data_dir} (process {postmaster.pid}) does not stop")

    @cached_property
    def _user(self) -> ServerUser:
        return server_user.server_user(self.cluster)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock, so that two starters do not meet."""
        server_user.require_open_ancestors(self.data_dir, self._user)
        server_user.make_folder(self.data_dir, 0o755 if self._user.switch else 0o700)
        server_user.require_open_ancestors(self.data_dir, self._user)
        folder = os.open(self.data_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _start(self) -> None:
        programs = server_user.programs(self._user)
        if not self.exists():
            self._initialise(programs)
        if pid := self._starting():
            self._await_ready(programs, pid, self.log.size())
        else:
            self._user.take(self.cluster)
            self._clear_remains()
            offset = self.log.keep_small()
            self._await_ready(programs, self._launch(programs), offset)

    def _initialise(self, programs: Path) -> None:
        """Make the cluster beside its place and move it there whole, so that a killed start leaves no half of one."""
        partial = self.data_dir / "postgres.partial"
        shutil.rmtree(partial, ignore_errors=True)
        made = partial / "cluster"
        partial.mkdir(mode=0o700)
        self._user.shut(partial)
        made.mkdir(mode=0o700)
        self._user.lend(made)
        command: list[str | Path] = [programs / "initdb", "-D", made, *INITDB_OPTIONS]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=_environment(),
            **self._user.maker_options,
        )
        if done.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise DatabaseError(f"cannot make the embedded database in {self.data_dir}: {last_line(done.stderr)}")
        self._user.take(made)
        made.rename(self.cluster)
        partial.rmdir()

    def _launch(self, programs: Path) -> int:
        """Start the postmaster in a session of its own, return its pid; a shell between makes it nobody's child."""
        settings = ["-p", str(PORT)] + [
            word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")
        ]
        command: list[str | Path] = [programs / "postgres", "-D", self.cluster, "-k", self._socket_dir(), *settings]
        started = subprocess.run(
            ["/bin/sh", "-c", '"$@" </dev/null >>"$WA_SESSIONS_SERVER_LOG" 2>&1 & echo $!', "sh", *command],
            check=True,
            stdout=subprocess.PIPE,
            cwd="/",
            env=_environment() | {"WA_SESSIONS_SERVER_LOG": str(self.log.path)},
            start_new_session=True,
            umask=0o077,
            **self._user.process_options,
        )
        return int(started.stdout)

    def _await_ready(self, programs: Path, pid: int, offset: int) -> None:
        """Wait for the postmaster ``pid``; where it ends, its log from ``offset`` on tells why."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and not self.running():
            if not process_identity.runs(pid):
                if "shared memory block" not in self.log.complaint(offset):
                    break
                time.sleep(0.2)  # the last processes of a killed server are still ending
                offset = self.log.size()
                pid = self._launch(programs)
            time.sleep(0.01)
        if not self.running():
            silent = (
                f"no answer within {START_TIMEOUT:.0f} s" if process_identity.runs(pid) else "it ended without a word"
            )
            reason = self.log.complaint(offset) or silent
            raise DatabaseError(
                f"the embedded server in {self.data_dir} did not start: {reason} (log: {self.log.path})"
            )

    def _postmaster(self) -> _Postmaster | None:
        """What is written there; the socket is where it was then, or here if the folder was moved with it."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            moved = (self.cluster / SOCKET_NAME).is_socket()
            socket_dir = str(self.cluster) if moved else lines[4]
            return _Postmaster(int(lines[0]), socket_dir, len(lines) > 7 and lines[7].strip() == "ready")
        except (OSError, IndexError, ValueError):
            return None

    def _starting(self) -> int | None:
        """The pid of a postmaster that does not take connections yet."""
        postmaster = self._postmaster()
        return postmaster.pid if postmaster is not None and self._is_ours(postmaster.pid) else None

    def _is_ours(self, pid: int) -> bool:
        """Whether that process is this cluster's postmaster: a number in a file may be another process by now.

        Its working folder tells, also where that was moved since. Where root lacks CAP_SYS_PTRACE, as in a container,
        its command line does.
        """
        program, *options = _command(pid) or [""]
        if Path(program).name != "postgres":
            return False
        with contextlib.suppress(OSError):
            return self.cluster.samefile(f"/proc/{pid}/cwd")
        folder = options[options.index("-D") + 1] if "-D" in options[:-1] else ""
        return Path(folder).resolve() == self.cluster.resolve()

    def _clear_remains(self) -> None:
        """Remove the pid file of a server that was killed: its number may belong to another process by now."""
        postmaster = self._postmaster()
        if postmaster is not None:
            self._forget_short_folder(postmaster.socket_dir)
        for name in ("postmaster.pid", SOCKET_NAME, f"{SOCKET_NAME}.lock"):
            (self.cluster / name).unlink(missing_ok=True)

    def _socket_dir(self) -> Path:
        """The cluster's folder, or a short one where its path does not fit into a socket's address."""
        plain = re.fullmatch(r"[A-Za-z0-9_./-]+", str(self.cluster))
        if plain and len(os.fsencode(self.cluster / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            return self.cluster
        folder = Path(tempfile.mkdtemp(prefix=self._short_prefix(), dir="/tmp"))  # mode 0700, random name
        self._user.own(folder)
        return folder

    def _short_prefix(self) -> str:
        return f"wa-sessions-{hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:8]}-"

    def _forget_short_folder(self, socket_dir: str) -> None:
        if Path(socket_dir).name.startswith(self._short_prefix()):
            shutil.rmtree(socket_dir, ignore_errors=True)


def _command(pid: int) -> list[str]:
    """The command line of a process; nothing where it has ended."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1]
    except OSError:
        return []


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def _answers(socket_dir: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(os.fsencode(Path(socket_dir) / SOCKET_NAME))
        except OSError:
            return False
    return True


def _until(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
