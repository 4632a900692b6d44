"""What a fleet of sessions costs, beside bare neonize: memory, connections, idling, starts, storms, messages.

    .venv/bin/python scripts/bench_fleet.py --sessions 1 10 25 50 150 300 --per-host 25

The phones are paired first, without the worker; what is measured begins with all keys in the store. ``wa-sessions run``
and bare neonize (one process, ``bare_neonize.py``) take turns, each with the same phones, peers and messages. Both have
the same handler, which does nothing but note when a message has reached it. ``--ways`` may add ``piped``: bare neonize
that hands each message to another process, which inserts and deletes it (``piped_neonize.py``). PSS divides what
processes share among them, so its sum is what the machine needs.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import arrivals
import psutil
import psycopg
from bench_support import MB, Peer, Peers, Process, Program, Role, Stage, look, look_at_children, machine
from fleet_tables import Figures, resources, speeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FIRST_PHONE, FIRST_PEER = 77_051_000_001, 77_052_000_001
SCRIPTS = Path(__file__).parent
WAYS = ("product", "bare", "piped")
RECEIVERS = 25  # sessions at most that messages go to
SENDERS = 10
PACE = 0.25  # seconds between two messages of a sender when latency is measured
REST = 65.0  # seconds without a message: Postgres ends what nobody used for 60
IDLE = 20.0  # seconds of idling that are measured
ARRIVAL = 150.0  # seconds for all messages to arrive
EMULATOR, PEERS = "emulator", "peers"  # the first one with all else of this program
NOT_OURS = (EMULATOR, PEERS)
WATCHING = "watching"  # the application_name of this program's own connection
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name IN ('', 'measured-worker')
"""
TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"


class Watch:
    """Looks at Postgres, each time from a new connection: a server's process writes down late what it has counted."""

    def __init__(self, url: str) -> None:
        self._url = url

    def connections(self) -> int:
        """Those of the sessions and their worker."""
        with self._connect() as conn:
            return _number(conn, CONNECTIONS)

    def transactions(self) -> int:
        """Of everybody since the server's start."""
        with self._connect() as conn:
            return _number(conn, TRANSACTIONS)

    def version(self) -> int:
        """Postgres's main version."""
        with self._connect() as conn:
            return conn.info.server_version // 10000

    @contextmanager
    def most(self, figures: Figures) -> Iterator[None]:
        """Note the most connections that there are in this block."""
        over = threading.Event()

        def watch() -> None:
            with self._connect() as conn:
                while not over.wait(0.1):
                    figures.most_connections = max(figures.most_connections, _number(conn, CONNECTIONS))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self._url, application_name=WATCHING, autocommit=True)


def _number(conn: psycopg.Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row
    return int(row[0])


class Arrivals:
    """The file in which the handler notes what reaches it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "arrivals"
        self.begin()

    def begin(self) -> None:
        """Forget what arrived."""
        self.path.write_text("")
        self.path.chmod(0o666)

    def wait(self, texts: Sequence[str]) -> dict[str, float]:
        """When each of these arrived (monotonic clock). Raises TimeoutError."""
        end = time.monotonic() + ARRIVAL
        while time.monotonic() < end:
            if self.path.read_bytes().count(b"\n") >= len(texts):
                lines = [line.split("\t") for line in self.path.read_text().splitlines()]
                at = {text: float(when) for text, when in lines}
                assert set(texts) == at.keys(), "other messages than were sent"
                assert len(lines) == len(texts), "a message arrived twice"
                return at
            time.sleep(0.02)
        raise TimeoutError(f"{len(texts)} messages did not all arrive")


class Senders:
    """Peers that write side by side, each of them to its own share of our phones."""

    def __init__(self, peers: Peers, everyone: list[Peer], arrivals: Arrivals, numbers: Sequence[str]) -> None:
        self._peers, self._arrivals = peers, arrivals
        chosen = numbers[:: max(1, len(numbers) // RECEIVERS)][:RECEIVERS]  # of all hosts
        count = max(len(everyone), len(chosen))
        self.pairs = [(everyone[n % len(everyone)], chosen[n % len(chosen)]) for n in range(count)]
        self.receivers = sorted(set(chosen))
        self._everyone = everyone

    def write(self, what: str, messages: int, pace: float = 0.0) -> dict[str, float]:
        """Each its next message when WhatsApp has taken the last; when each was begun to be sent, by its text."""
        with ThreadPoolExecutor(len(self._everyone)) as pool:
            share = messages // len(self._everyone)
            parts = pool.map(lambda peer: self._write(peer, what, share, pace), self._everyone)
            return {text: at for part in parts for text, at in part.items()}

    def _write(self, peer: Peer, what: str, messages: int, pace: float) -> dict[str, float]:
        to = [number for sender, number in self.pairs if sender is peer]
        at = {}
        for n in range(max(messages, len(to))):
            text = f"{what} {peer.name} {n}"
            at[text] = time.monotonic()
            self._peers.send(peer, to[n % len(to)], text)
            if pace:
                time.sleep(max(0.0, at[text] + pace - time.monotonic()))
        return at


def _busy(before: Any, after: Any) -> float:
    """Percent of all cores that somebody had, between two looks at the kernel's times."""
    spent = [b - a for a, b in zip(before, after, strict=True)]
    total, idle = sum(spent), after.idle - before.idle + after.iowait - before.iowait
    return float(100 * (1 - idle / total))


class Bench:
    """One stage with all phones; runs take turns on it."""

    def __init__(self, stage: Stage, options: argparse.Namespace) -> None:
        self.stage, self.options = stage, options
        self.numbers = [str(FIRST_PHONE + n) for n in range(max(options.sessions))]
        stage.pair(*self.numbers)
        self.peers = stage.peers()
        self.everyone = [self.peers.link(f"peer{n}", str(FIRST_PEER + n)) for n in range(SENDERS)]
        self.arrivals = Arrivals(stage.folder)
        os.environ[arrivals.VARIABLE] = str(self.arrivals.path)
        self.watch = Watch(stage.url)

    def run(self, way: str, sessions: int, *, at_rest: bool) -> Figures:
        figures, numbers = Figures(way, sessions), tuple(self.numbers[:sessions])
        with self.watch.most(figures):
            began = time.monotonic()
            program = self._start(way, numbers)
            with self.stage.all_connected(program, numbers) as until_connected:
                until_connected()
            figures.connected = time.monotonic() - began
            time.sleep(2)
            figures.storm = self._storm(program, numbers)
            time.sleep(2)
            self._messages(program, numbers, figures)
        if at_rest:
            self._rest(program, figures)
        seen = self._processes(program)
        figures.pss = _by_role((process.role, process.pss / MB) for process in seen)
        figures.processes = len(seen)
        program.stop()
        for number in numbers:
            self.stage.emulator.wait_disconnected(self.stage.devices[number])
        return figures

    def _start(self, way: str, numbers: tuple[str, ...]) -> Program:
        if way == "product":
            more = ("--sessions-per-host", str(self.options.per_host), "--inbox", self.options.inbox)
            return self.stage.run(*numbers, *more, handler="arrivals:note", python_path=(SCRIPTS,))
        devices = [str(self.stage.devices[number].jid) for number in numbers]
        own = () if way == "bare" else (self.stage.url,)
        return self.stage.bare([str(SCRIPTS / f"{way}_neonize.py"), *own, self.stage.store, *devices])

    def _storm(self, program: Program, numbers: tuple[str, ...]) -> float:
        """WhatsApp cuts every connection at once; seconds until all are back."""
        with self.stage.all_connected(program, numbers) as until_connected:
            began = time.monotonic()
            self.stage.emulator.drop_all([self.stage.devices[number] for number in numbers])
            until_connected()
            return time.monotonic() - began

    def _messages(self, program: Program, numbers: tuple[str, ...], figures: Figures) -> None:
        senders, count = Senders(self.peers, self.everyone, self.arrivals, numbers), self.options.messages
        self._arriving(lambda: senders.write("hello", 0))  # asks for keys
        figures.burst = self._burst(program, senders, count, figures)
        self._live(program, senders, count // 2, figures)
        sent, arrived, _ = self._arriving(lambda: senders.write("paced", count // 4, PACE))
        delays = [(arrived[text] - at) * 1000 for text, at in sent.items()]
        figures.median_ms, figures.p99_ms = median(delays), quantiles(delays, n=100)[-1]

    def _burst(self, program: Program, senders: Senders, count: int, figures: Figures) -> float:
        """All messages wait at WhatsApp and are let go at once, so that peers cost nothing meanwhile."""
        emulator, phones = self.stage.emulator, [self.stage.phones[number] for number in senders.receivers]
        self.arrivals.begin()
        for phone in phones:
            emulator.withhold(phone)
        began = time.monotonic()
        texts = list(senders.write("burst", count))
        figures.unheard = len(texts) / (time.monotonic() - began)
        before, began = self._cpu(program), time.monotonic()
        for phone in phones:
            emulator.hear(phone)
        last = max(self.arrivals.wait(texts).values())
        figures.cpu = self._cpu_a_message(program, senders, before, len(texts))
        return len(texts) / (last - began)

    def _live(self, program: Program, senders: Senders, count: int, figures: Figures) -> None:
        before, machine_before = self._cpu(program), psutil.cpu_times()
        sent, arrived, began = self._arriving(lambda: senders.write("live", count))
        figures.busy = _busy(machine_before, psutil.cpu_times())
        figures.live = len(sent) / (max(arrived.values()) - began)
        figures.live_cpu = self._cpu_a_message(program, senders, before, len(sent))

    def _cpu_a_message(
        self, program: Program, senders: Senders, before: dict[str, float], messages: int
    ) -> dict[str, float]:
        """Milliseconds by role since ``before``, when all receipts have come too."""
        for number in senders.receivers:
            self.stage.emulator.wait_delivered(self.stage.devices[number])
        time.sleep(1)
        return {role: (after - before.get(role, 0)) * 1000 / messages for role, after in self._cpu(program).items()}

    def _arriving(self, write: Callable[[], dict[str, float]]) -> tuple[dict[str, float], dict[str, float], float]:
        self.arrivals.begin()
        began = time.monotonic()
        sent = write()
        return sent, self.arrivals.wait(list(sent)), began

    def _rest(self, program: Program, figures: Figures) -> None:
        time.sleep(REST)
        figures.connections_at_rest = self.watch.connections()
        before, transactions, began = self._cpu(program), self.watch.transactions(), time.monotonic()
        time.sleep(IDLE)
        seconds = time.monotonic() - began
        spent = {role: after - before.get(role, 0) for role, after in self._cpu(program).items()}
        figures.idle_cpu = sum(spent[role] for role in spent if role not in NOT_OURS) / seconds * 100
        figures.idle_queries = (self.watch.transactions() - transactions) / seconds

    def _processes(self, program: Program) -> list[Process]:
        seen = look(program.process.pid)
        assert seen
        return [seen, *look_at_children(program.process.pid)]

    def _cpu(self, program: Program) -> dict[str, float]:
        """Seconds of CPU so far, by role."""
        spent = _by_role((process.role, process.cpu) for process in self._processes(program))
        theirs = {Role.POSTGRES.value: self.stage.postgres_cpu(), PEERS: self.peers.cpu()}
        return {**spent, **theirs, EMULATOR: time.process_time()}


def _by_role(values: Iterator[tuple[Role, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for role, value in values:
        found[role.value] = found.get(role.value, 0.0) + value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10, 25, 50, 150, 300])
    parser.add_argument("--per-host", type=int, default=25)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS[:2])
    parser.add_argument("--inbox", choices=("database", "memory"), default="database", help="of wa-sessions run")
    parser.add_argument("--rounds", type=int, default=1, help="how often each way has its turn")
    parser.add_argument("--messages", type=int, default=1000, help="in a burst; half of it live, a quarter timed")
    parser.add_argument("--no-rest", action="store_true", help="leave out what needs a minute of rest for each size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    options = parser.parse_args()
    found: dict[tuple[int, str], list[Figures]] = {}
    settings = {"max_connections": str(2 * max(options.sessions) + 100), "autovacuum": "off"}  # whose queries count too
    with Stage(**settings) as stage:
        bench = Bench(stage, options)
        for sessions in options.sessions:
            for number in range(options.rounds):
                for way in options.ways:
                    at_rest = way == "product" and number == 0 and not options.no_rest
                    figures = bench.run(way, sessions, at_rest=at_rest)
                    found.setdefault((sessions, way), []).append(figures)
                    print(f"{os.getloadavg()[0]:.1f} load: {asdict(figures)}", flush=True)
        version = bench.watch.version()
    print(f"\n{machine()}, Postgres {version}; {options.per_host} sessions a host, inbox: {options.inbox};", end=" ")
    print("handler: notes the arrival, no more")
    print(f"\n{resources(list(found.values()))}\n\n{speeds(list(found.values()))}")
    if options.json:
        everything = [asdict(one) for runs in found.values() for one in runs]
        options.json.write_text(json.dumps({"machine": machine(), "runs": everything}, indent=1) + "\n")


if __name__ == "__main__":
    main()
