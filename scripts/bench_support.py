"""What the scripts of this folder share: a private installation, clients that write to it, and a look into /proc.

A private embedded database, the emulator, ``wa-sessions run`` as a process, and peers: unmodified neonize clients in a
process of their own (``tests/standin.py``).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import psutil
import psycopg

from wa_sessions.actions.connection import Opened, open_target
from wa_sessions.actions.sessions.add import add_phone
from wa_sessions.db import phones, whatsmeow
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.settings import embedded_target, store_url
from wa_sessions.emulator import Device, Emulator, Phone
from wa_sessions.errors import WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Line = dict[str, Any]
STANDIN = Path(__file__).parents[1] / "tests" / "standin.py"
HANDLER = "wa_sessions.actions.setup.demo.handler:tell"
WORKER = "measured-worker"  # the application_name of the worker's own connections; its session hosts have none
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name IN (%s, '')
"""
PATIENCE = 60.0  # seconds for anything to happen
PAIRERS = 3  # processes that pair phones side by side, each of them one phone after another
MB = 1 << 20


class Expectation:
    """A line that somebody waits for, from the moment this was made."""

    def __init__(self, matches: Callable[[Line], bool], what: str) -> None:
        self.matches = matches
        self.line: Line | None = None
        self._come = threading.Event()
        self._what = what

    def met(self, line: Line) -> None:
        self.line = line
        self._come.set()

    def wait(self, timeout: float = PATIENCE) -> Line:
        """The line. Raises TimeoutError if it does not come."""
        if not self._come.wait(timeout) or self.line is None:
            raise TimeoutError(f"{self._what} did not come within {timeout:g} s")
        return self.line


class Lines:
    """JSON lines of a process: counted, shown to whoever expects them, and forgotten."""

    def __init__(self, stream: IO[str], also: Callable[[Line], None] = lambda _line: None) -> None:
        self.recent: deque[str] = deque(maxlen=400)
        self._stream = stream
        self._also = also
        self._lock = threading.Lock()
        self._expected: set[Expectation] = set()
        self._listening: set[Callable[[Line], None]] = set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @contextmanager
    def expecting(self, matches: Callable[[Line], bool], what: str) -> Iterator[Expectation]:
        """Wait in this block for a line that comes after its beginning."""
        expectation = Expectation(matches, what)
        with self._lock:
            self._expected.add(expectation)
        try:
            yield expectation
        finally:
            with self._lock:
                self._expected.discard(expectation)

    def close(self) -> None:
        """Read what is left of a process that has ended."""
        self._reader.join(5)
        self._stream.close()

    @contextmanager
    def listening(self, hear: Callable[[Line], None]) -> Iterator[None]:
        """Hear every line that comes within this block."""
        with self._lock:
            self._listening.add(hear)
        try:
            yield
        finally:
            with self._lock:
                self._listening.discard(hear)

    def _read(self) -> None:
        for text in self._stream:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"event": "raw", "message": text.rstrip()}
            self.recent.append(text.rstrip()[:400])
            self._also(line)
            with self._lock:
                met = [one for one in self._expected if one.matches(line)]
                self._expected.difference_update(met)
                listening = tuple(self._listening)
            for one in met:
                one.met(line)
            for hear in listening:
                hear(line)


class Program:
    """A process that runs sessions; what it says on stderr are JSON lines in the form of the worker's log.

    ``launcher``: words of a command that runs another one, elsewhere, as its only child.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str], launcher: Sequence[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.process = subprocess.Popen(
            [*launcher, sys.executable, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        self.lines = Lines(self.process.stderr, self._count)

    def expecting(self, event: str, phone: str, containing: str = "") -> contextlib.AbstractContextManager[Expectation]:
        """Wait for an event of a phone."""
        return self.lines.expecting(
            lambda line: (
                line.get("event") == event and line.get("phone") == phone and containing in str(line["message"])
            ),
            f"{event} of {phone}",
        )

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.lines.close()

    def _count(self, line: Line) -> None:
        self.counts[str(line.get("event", "raw"))] += 1


class Worker(Program):
    """``wa-sessions run``."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        handler: str = HANDLER,
        launcher: Sequence[str] = (),
    ) -> None:
        self.handled: Counter[str] = Counter()
        self.recorded_lost: set[str] = set()
        command = ["-m", "wa_sessions", "run", *arguments, "--log-format", "json", "--on-message", handler]
        super().__init__(command, environment, launcher)

    def receiving(self, phone: str, text: str) -> contextlib.AbstractContextManager[Expectation]:
        """Wait for a text in the message handler."""
        return self.lines.expecting(
            lambda line: (
                line.get("event") == "output" and line.get("phone") == phone and line["message"] == f"received: {text}"
            ),
            f"{text!r} for {phone}",
        )

    def _count(self, line: Line) -> None:
        super()._count(line)
        if line.get("event") == "output" and str(line["message"]).startswith("received: "):
            self.handled[f"{line['phone']}: {line['message'].removeprefix('received: ')}"] += 1
        elif line.get("event") == "message_lost":
            self.recorded_lost.add(str(line["message_id"]))


@dataclass(frozen=True)
class Peer:
    """A client that writes to our phones."""

    name: str
    phone: Phone
    device: Device


class Peers:
    """Any number of clients in one process: peers, or phones that are paired into a store."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._emulator, self._folder = emulator, folder
        self._numbers = itertools.count(1)
        self._writing = threading.Lock()
        with (folder / "peers.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(STANDIN)],
                env=keep | emulator.client_env(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                text=True,
            )
        assert self._process.stdout
        self.lines = Lines(self._process.stdout)

    def link(self, name: str, number: str, *, phone: Phone | None = None, store: str | None = None) -> Peer:
        """A new client, linked to a phone, with its keys in a store; new ones where none is given."""
        phone = phone or self._emulator.add_phone(number, name)
        with self._event(name, "Connected") as connected:
            with self._event(name, "QR") as qr:
                self._do("add", name, store=store or str(self._folder / f"{name}.db"))
                code = qr.wait()["code"]
            device = self._emulator.scan(code, phone)
            connected.wait()
        return Peer(name, phone, device)

    def send(self, peer: Peer, to: str, text: str) -> str:
        """Until WhatsApp has taken the message; its id. Raises WaSessionsError if it does not."""
        return str(self._do("send", peer.name, to=to, text=text))

    def receiving(self, peer: Peer, text: str) -> contextlib.AbstractContextManager[Expectation]:
        """Wait for a text that one of our phones sends."""
        return self.lines.expecting(
            lambda line: (line.get("client"), line.get("event"), line.get("text")) == (peer.name, "Message", text),
            f"{text!r} for {peer.name}",
        )

    def cpu(self) -> float:
        """Seconds of CPU that the process has had."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdin
        self._process.stdin.close()
        self.lines.close()

    def _event(self, name: str, event: str) -> contextlib.AbstractContextManager[Expectation]:
        return self.lines.expecting(
            lambda line: (line.get("client"), line.get("event")) == (name, event), f"{event} of {name}"
        )

    def _do(self, do: str, client: str, **more: Any) -> Any:
        number = next(self._numbers)
        assert self._process.stdin
        with self.lines.expecting(lambda line: line.get("n") == number, f"the answer to {do}") as answer:
            with self._writing:
                self._process.stdin.write(json.dumps({"do": do, "client": client, "n": number, **more}) + "\n")
                self._process.stdin.flush()
            line = answer.wait()
        if "error" in line:
            raise WaSessionsError(str(line["error"]))
        return line["result"]


class Stage:
    """A whole installation in a temporary folder; ``settings`` are Postgres's."""

    def __init__(self, **settings: str) -> None:
        self._stack = ExitStack()
        self._settings = settings
        self.phones: dict[str, Phone] = {}
        self.devices: dict[str, Device] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="wa-sessions-measure-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.folder.chmod(0o755)
            self.server = EmbeddedServer(self.folder / "data", settings=self._settings)
            stack.callback(self.server.stop)
            self.opened: Opened = stack.enter_context(open_target(embedded_target(self.server)))
            self.emulator = stack.enter_context(Emulator())
            self.url = f"postgresql://postgres@/postgres?host={self.server.socket_dir}&port=5432"
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def socket_path(self) -> str:
        """Where the database listens."""
        return f"{self.server.socket_dir}/.s.PGSQL.5432"

    def environment(self, *python_path: Path) -> dict[str, str]:
        """For ``wa-sessions`` as a process; ``python_path`` is looked into after the emulator's own folder."""
        url, client = f"{self.url}&application_name={WORKER}", self.emulator.client_env()
        client["PYTHONPATH"] = os.pathsep.join([client["PYTHONPATH"], *map(str, python_path)])
        return {**os.environ, **client, "WA_SESSIONS_DATABASE_URL": url}

    def add(self, number: str) -> None:
        """Make a phone known to the database and to WhatsApp."""
        add_phone(self.opened, number, 1)
        self.phones[number] = self.emulator.add_phone(number, f"phone {number}")

    @property
    def store(self) -> str:
        """The URL of the key store as the worker derives it."""
        with self.opened.database.transaction() as conn:
            whatsmeow.ensure_schema(conn)
            return store_url(conn, self.opened.database.target)

    def pair(self, *numbers: str) -> None:
        """New phones with their keys in the store, which run nowhere: without the worker it takes 0.2 s each."""
        for number in numbers:
            self.add(number)
        shares = [share for n in range(PAIRERS) if (share := numbers[n::PAIRERS])]
        self._pair(numbers[:1])  # alone: its process makes the tables
        with ThreadPoolExecutor(PAIRERS) as pool:
            for _ in pool.map(self._pair, [[number for number in share if number != numbers[0]] for share in shares]):
                pass
        for number in numbers:
            self.emulator.wait_disconnected(self.devices[number])

    def _pair(self, numbers: Sequence[str]) -> None:
        if not numbers:
            return
        clients, store = Peers(self.emulator, self.folder), self.store
        try:
            for number in numbers:
                self.devices[number] = clients.link(number, number, phone=self.phones[number], store=store).device
        finally:
            time.sleep(1.0)  # killed amid its first login, a device may lack keys
            clients.kill()

    def run(self, *arguments: str, handler: str = HANDLER, python_path: tuple[Path, ...] = ()) -> Worker:
        """Start a worker, which ends with the stage at the latest."""
        worker = Worker([*arguments], self.environment(*python_path), handler)
        self._stack.callback(worker.stop)
        return worker

    def bare(self, arguments: list[str]) -> Program:
        """Start a program of Python's that is not ``wa-sessions``, which ends with the stage at the latest."""
        program = Program(arguments, self.environment())
        self._stack.callback(program.stop)
        return program

    def paired(self, *numbers: str, arguments: tuple[str, ...] = ()) -> Worker:
        """New phones, and a worker that has them all connected."""
        for number in numbers:
            self.add(number)
        worker = self.run(*numbers, *arguments)
        with self.all_connected(worker, numbers) as until_connected, ExitStack() as waiting:
            codes = [(number, waiting.enter_context(worker.expecting("qr", number))) for number in numbers]
            for number, code in codes:
                code.wait()
                self.scan(number)
            until_connected()
        return worker

    @contextmanager
    def all_connected(self, worker: Program, numbers: tuple[str, ...]) -> Iterator[Callable[[], None]]:
        """Gives what waits until all of these have connected."""
        with ExitStack() as waiting:
            all_of = [waiting.enter_context(worker.expecting("connected", number)) for number in numbers]

            def until_connected() -> None:
                for one in all_of:
                    one.wait()

            yield until_connected

    def scan(self, number: str) -> Device:
        """Hold the phone before the QR that the worker shows."""
        with self.opened.database.transaction() as conn:
            code = phones.find(conn, self.opened.backend, PhoneRef(number)).qr_code
        if code is None:
            raise WaSessionsError(f'"OrganizationPhone"."qrCode" of {number} is empty')
        self.devices[number] = self.emulator.scan(code, self.phones[number])
        return self.devices[number]

    def peers(self) -> Peers:
        """A process for clients that write to our phones."""
        peers = Peers(self.emulator, self.folder)
        self._stack.callback(peers.kill)
        return peers

    def postgres_cpu(self) -> float:
        """Seconds of CPU that the server has had with all its processes."""
        pid = int((self.server.cluster / "postmaster.pid").read_text().split()[0])
        return cpu_of_server(pid, [child.pid for child in psutil.Process(pid).children()])

    def connections(self) -> int | None:
        """How many Postgres connections the worker has with its session processes; None while the database is away."""
        try:
            with psycopg.connect(self.url, application_name="measuring", connect_timeout=5) as conn:
                row = conn.execute(CONNECTIONS, (WORKER,)).fetchone()
                return int(row[0]) if row else None
        except psycopg.OperationalError:
            return None


class Role(StrEnum):
    """What a process is there for."""

    WORKER = "worker"
    HOST = "host"
    HANDLER = "handler"
    BARE = "bare neonize"
    PIPED = "piped neonize"
    INSERTING = "its other process"
    POSTGRES = "Postgres"
    OTHER = "other"


_ROLES = {
    "worker.hosts.main": Role.HOST,
    "worker.delivery": Role.HANDLER,
    "wa_sessions run": Role.WORKER,
    "bare_": Role.BARE,
    "--inserting": Role.INSERTING,
    "piped_": Role.PIPED,
}


@dataclass(frozen=True)
class Process:
    """What the kernel knows of one process. Memory is in bytes, CPU in seconds; ``role``: what it does for a worker."""

    pid: int
    role: Role
    cpu: float
    age: float
    rss: int
    pss: int
    uss: int
    threads: int
    files: int
    zombie: bool


def look(pid: int) -> Process | None:
    """One process, or None if it is gone."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            memory, times = process.memory_full_info(), process.cpu_times()
            age, zombie = time.time() - process.create_time(), process.status() == psutil.STATUS_ZOMBIE
            threads, files = (0, 0) if zombie else (process.num_threads(), process.num_fds())
            role, cpu = _role(process), times.user + times.system
        return Process(pid, role, cpu, age, memory.rss, memory.pss, memory.uss, threads, files, zombie)
    except (psutil.Error, OSError):
        return None


def _role(process: psutil.Process) -> Role:
    words = " ".join(process.cmdline())
    return next((role for part, role in _ROLES.items() if part in words), Role.OTHER)


def cpu_of_server(first: int, others: list[int]) -> float:
    """Seconds of CPU of processes with one thread each, and of those that ended before and were the first one's.

    In nanoseconds: many processes with a millisecond each would have nothing in the kernel's ticks.
    """
    spent = 0.0
    for pid in (first, *others):
        with contextlib.suppress(OSError):
            spent += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    times = psutil.Process(first).cpu_times()
    return spent + times.children_user + times.children_system


def look_at_children(pid: int) -> list[Process]:
    """All processes below one."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return [seen for child in children if (seen := look(child.pid))]


def machine() -> str:
    """What the figures were taken on."""
    return f"{os.cpu_count()} cores, Python {sys.version_info.major}.{sys.version_info.minor}"
