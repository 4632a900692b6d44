"""What 10,000 phones and 50 workers ask of one Postgres: the real workers, but for their hosts, which are stand-ins.

    .venv/bin/python scripts/bench_scaling.py --sizes 2500x12 5000x25 10000x50

Supervisors with their leases, commands, inbox and handlers, ten in a process, each process another machine to the
others (``scaling_worker.py``); a private embedded Postgres. One worker has a process of its own, which is killed. It is
all on one machine, so the workers' own CPU is beside Postgres's; both are told. Times are those of this machine.

``--looks`` only measures what a worker's regular looks cost Postgres, in CPU time of its backend, so that it hardly
matters how busy the machine is: nobody runs, the rows alone are made.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import psutil
import psycopg
from bench_support import Stage, machine
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from wa_sessions.actions.sessions.restart import restart
from wa_sessions.db import fleet, phones
from wa_sessions.db import workers as worker_rows
from wa_sessions.errors import WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker.fleet_watch import FULL_EVERY
from wa_sessions.worker.lease_times import DEFAULT_LEASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wa_sessions.db.gateway import Connection

FIRST_PHONE = 77_100_000_001
SCRIPTS = Path(__file__).parent
TESTS = SCRIPTS.parent / "tests"
IN_A_PROCESS = 10
REST = 15.0  # seconds before anything is measured
MEASURED = 30.0  # seconds
STEP = 2.0  # seconds between two looks at how phones are divided
HELD = """
    SELECT worker.id::text, count(lease.phone_id) AS held FROM wa_sessions.worker
    LEFT JOIN wa_sessions.lease ON lease.worker_id = worker.id AND lease.expires_at > clock_timestamp()
    WHERE worker.heartbeat_at > clock_timestamp() - 0.8 * worker.lease_seconds * interval '1 second' GROUP BY worker.id
"""
TRANSACTIONS = "SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = current_database()"
LOOKS = 30
DIVIDED = (
    """INSERT INTO wa_sessions.worker (id, host, pid, version, boot_id, lease_seconds, scope)
       SELECT id, 'bench', 1, 'bench', 'bench', 5, 'all' FROM unnest(%(ids)s::uuid[]) AS id""",
    """INSERT INTO wa_sessions.lease (phone_id, worker_id, epoch, expires_at, taken_at)
       SELECT id, (%(ids)s::uuid[])[1 + id %% %(count)s], 1, 'infinity', now() FROM public."OrganizationPhone" """,
    """INSERT INTO wa_sessions.health (phone_id, organization_id)
       SELECT id, 1 FROM public."OrganizationPhone" """,
    "ANALYZE",
    "UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp()",
)
SIZES = """
    SELECT relname, pg_total_relation_size(relid) AS bytes, n_live_tup AS live, n_dead_tup AS dead
    FROM pg_stat_user_tables WHERE schemaname = 'wa_sessions' AND relname IN ('lease', 'worker', 'health', 'inbox')
"""


@dataclass
class Load:
    """Of one phase, a second: transactions, queries by their beginning; CPU of Postgres and of workers in cores."""

    transactions: float = 0.0
    queries: float = 0.0
    postgres: float = 0.0
    workers: float = 0.0
    most: list[tuple[str, float, float]] = field(default_factory=list)


@dataclass
class Figures:
    """One size. Seconds. ``None``: not within the time."""

    phones: int
    workers: int
    all_running: float | None = None
    balanced: float | None = None
    spread: tuple[int, int] = (0, 0)
    rest: Load = field(default_factory=Load)
    busy: Load = field(default_factory=Load)
    messages: int = 0
    left_in_inbox: int = 0
    restart_ms: float | None = None
    taken_phones: int = 0
    taken_first: float | None = None
    taken_last: float | None = None
    joined_first: float | None = None
    joined_share: float | None = None
    joined_has: int = 0
    connections: int = 0
    tables: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    age: float = 0.0
    failed: list[str] = field(default_factory=list)


class Machine:
    """A process with some workers, and what it has told."""

    def __init__(
        self, name: str, environment: dict[str, str], conninfo: str, log: Path, hear: Callable[..., None]
    ) -> None:
        self.name = name
        self._log = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / "scaling_worker.py"), name, conninfo],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.counts: dict[str, Any] | None = None
        self.over = threading.Event()
        self._counted = threading.Event()
        self._hear = hear
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def do(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def queries(self) -> dict[str, Any]:
        """How many there were so far, and their seconds, by their beginning."""
        self._counted.clear()
        self.do("counts")
        if not self._counted.wait(30) or self.counts is None:
            raise TimeoutError(f"{self.name} does not answer")
        return self.counts

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.do("stop")
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        for stream in (self.process.stdin, self.process.stdout, self._log):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def _read(self) -> None:
        assert self.process.stdout
        for text in self.process.stdout:
            line = json.loads(text)
            if line["what"] == "counts":
                self.counts = line
                self._counted.set()
            else:
                self._hear(line)


class Bench:
    """One size on one stage."""

    def __init__(self, stage: Stage, figures: Figures, lease: float) -> None:
        self.stage, self.figures, self.lease = stage, figures, lease
        self.machines: list[Machine] = []
        self.connected: dict[int, tuple[float, str]] = {}
        self.ids: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.machines:
            with contextlib.suppress(OSError, ValueError):
                one.do("stop")
        self._stack.close()

    def hear(self, line: dict[str, Any]) -> None:
        with self._lock:
            match line["what"]:
                case "connected":
                    self.connected[line["phone"]] = (line["at"], line["worker"])
                case "closed":
                    self.connected.pop(line["phone"], None)
                case "started":
                    self.ids[line["worker"]] = line["id"]
                case "sent":
                    self.figures.messages += line["count"]
                case "ended" if line["error"] != "None":
                    self.figures.failed.append(f"{line['worker']}: {line['error']}")

    def add_machine(self, name: str, workers: int) -> Machine:
        path = os.pathsep.join([str(SCRIPTS), str(TESTS)])
        environment = {**os.environ, "PYTHONPATH": path, "SCALING_WORKERS": str(workers)}
        environment["SCALING_LEASE"] = str(self.lease)
        conninfo = self.stage.server.conninfo()
        one = Machine(name, environment, conninfo, self.stage.folder / f"{name}.log", self.hear)
        self._stack.callback(one.close)
        one.do(f"start {workers}")
        self.machines.append(one)
        return one

    def rows(self, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.stage.url, application_name="bench", row_factory=dict_row) as conn:
            return conn.execute(query).fetchall()

    def held(self) -> dict[str, int]:
        return {row["id"]: row["held"] for row in self.rows(HELD)}

    def until(self, is_so: Callable[[], bool], seconds: float, what: str, every: float = 0.1) -> float | None:
        """Seconds until it is so; None if it does not come about."""
        began = shown = time.monotonic()
        while not is_so():
            if time.monotonic() - began > seconds:
                say(f"not {what} within {seconds:g} s")
                return None
            if time.monotonic() - shown > 15:
                shown = time.monotonic()
                held = sorted(self.held().values())
                say(f"not {what} yet: {len(self.connected)} connected, held {held[:3]} … {held[-3:]}")
            time.sleep(every)
        return time.monotonic() - began

    # ---------------------------------------------------------------------------------------------- the phases

    def begin(self, limit: float) -> Machine:
        """All workers at once; the first balance. Gives the machine that has one worker alone."""
        figures = self.figures
        began = time.monotonic()
        for number in range(0, figures.workers - 1, IN_A_PROCESS):
            self.add_machine(f"machine-{number // IN_A_PROCESS}", min(IN_A_PROCESS, figures.workers - 1 - number))
        alone = self.add_machine("machine-alone", 1)
        self.until(lambda: len(self.connected) >= figures.phones, 600, "all running")
        if len(self.connected) >= figures.phones:
            figures.all_running = max(at for at, _ in self.connected.values()) - began
        say(f"all running after {figures.all_running}: {Counter(sorted(self.held().values())).most_common(8)}")
        if self.until(self._balanced, limit, "balanced", STEP) is not None:
            figures.balanced = time.monotonic() - began
        held = self.held().values()
        figures.spread = (min(held, default=0), max(held, default=0))
        return alone

    def _balanced(self) -> bool:
        held = self.held()
        values = held.values()
        return len(held) >= self.figures.workers and max(values) - min(values) <= 1

    def measure(self, seconds: float) -> Load:
        """What the workers do to Postgres in these seconds."""
        before, began = self._counts(), time.monotonic()
        time.sleep(seconds)
        after, took = self._counts(), time.monotonic() - began
        names = after["queries"].keys()
        counts = {name: (after["queries"][name] - before["queries"].get(name, 0)) / took for name in names}
        spent = {name: (after["seconds"][name] - before["seconds"].get(name, 0)) / took for name in names}
        most = sorted(names, key=lambda name: -spent[name])[:8]
        return Load(
            (after["transactions"] - before["transactions"]) / took,
            sum(counts.values()),
            (after["postgres"] - before["postgres"]) / took,
            (after["workers"] - before["workers"]) / took,
            [(name, round(counts[name], 1), round(spent[name], 3)) for name in most],
        )

    def _counts(self) -> dict[str, Any]:
        queries: Counter[str] = Counter()
        seconds: dict[str, float] = {}
        cpu = 0.0
        for one in self.machines:
            if one.process.poll() is None:
                told = one.queries()
                queries.update(told["counts"])
                for name, value in told["seconds"].items():
                    seconds[name] = seconds.get(name, 0.0) + value
                times = psutil.Process(one.process.pid).cpu_times()
                cpu += times.user + times.system
        transactions = int(self.rows(TRANSACTIONS)[0]["n"])
        return {
            "queries": queries,
            "seconds": seconds,
            "transactions": transactions,
            "postgres": self.stage.postgres_cpu(),
            "workers": cpu,
        }

    def messages(self, rate: float) -> None:
        """Written into the inbox and handled, of all workers."""
        living = [one for one in self.machines if one.process.poll() is None]
        for one in living:
            one.do(f"messages {rate / len(living)} {MEASURED}")
        self.figures.busy = self.measure(MEASURED)
        time.sleep(5)
        self.figures.left_in_inbox = self.rows("SELECT count(*) AS n FROM wa_sessions.inbox")[0]["n"]

    def commands(self, numbers: Sequence[str]) -> None:
        """How long an operator waits for a restart."""
        times = []
        for number in numbers:
            began = time.monotonic()
            try:
                restart(self.stage.opened, PhoneRef(number))
            except WaSessionsError as error:
                self.figures.failed.append(f"restart: {error}")
            else:
                times.append((time.monotonic() - began) * 1000)
        self.figures.restart_ms = median(times) if times else None

    def take_over(self, alone: Machine) -> None:
        """SIGKILL; from the last renewal to each of its phones on another worker."""
        name = f"{alone.name}/1"
        with self._lock:
            lost = {phone for phone, (_, worker) in self.connected.items() if worker == name}
        last = self._last_renewal(self.ids[name])
        alone.process.kill()
        self.figures.taken_phones = len(lost)

        def elsewhere() -> list[float]:
            with self._lock:
                return [at for phone, (at, worker) in self.connected.items() if phone in lost and worker != name]

        self.until(lambda: len(elsewhere()) == len(lost), 120, "taken over")
        if times := elsewhere():
            self.figures.taken_first = min(times) - last
            self.figures.taken_last = max(times) - last if len(times) == len(lost) else None

    def _last_renewal(self, worker_id: str) -> float:
        """On the monotonic clock, right after one."""
        ago = "extract(epoch FROM clock_timestamp() - heartbeat_at)::float8"
        query = f"SELECT {ago} AS ago FROM wa_sessions.worker WHERE id = '{worker_id}'"
        while (since := float(self.rows(query)[0]["ago"])) > 0.1:
            time.sleep(0.02)
        return time.monotonic() - since

    def join(self, limit: float) -> None:
        """One more worker: until it has the first phone, and its share."""
        figures = self.figures
        began = time.monotonic()
        self.add_machine("machine-new", 1)
        share = figures.phones // figures.workers  # the killed one's place
        self.until(lambda: "machine-new/1" in self.ids, 30, "begun")

        def has() -> int:
            with self._lock:
                return sum(worker == "machine-new/1" for _, worker in self.connected.values())

        figures.joined_first = self.until(lambda: has() > 0, limit, "first phone of the new worker")
        if self.until(lambda: has() >= share, limit, "share of the new worker", 0.5) is not None:
            figures.joined_share = time.monotonic() - began
        figures.joined_has = has()

    def look_at_tables(self, began: float) -> None:
        figures = self.figures
        figures.tables = {row["relname"]: (row["bytes"], row["live"], row["dead"]) for row in self.rows(SIZES)}
        figures.age = time.monotonic() - began
        query = "SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend'"
        figures.connections = self.rows(query)[0]["n"]


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {os.getloadavg()[0]:.1f} load  {what}", file=sys.stderr, flush=True)


def make_phones(stage: Stage, count: int) -> list[str]:
    """Phones with keys in the store, as many as wanted."""
    from support.store import make_store

    numbers = [str(FIRST_PHONE + n) for n in range(count)]
    with stage.opened.database.transaction() as conn:
        make_store(conn)
        for number in numbers:
            phones.add(conn, stage.opened.backend, number, 1)
        columns = conn.execute(
            """SELECT column_name AS name, data_type AS type FROM information_schema.columns
               WHERE table_schema = 'whatsmeow' AND table_name = 'whatsmeow_device' AND is_nullable = 'NO'"""
        ).fetchall()
        made: dict[str, Any] = {"integer": 1, "bigint": 1, "text": "x", "boolean": False}
        values = {row["name"]: made.get(row["type"], b"\1" * _length(row["name"])) for row in columns} | {"jid": None}
        names = SQL(", ").join(map(Identifier, values))
        query = SQL("INSERT INTO whatsmeow.whatsmeow_device ({}) VALUES ({})").format(
            names, SQL(", ").join([SQL("%s")] * len(values))
        )
        with conn.cursor() as cursor:
            cursor.executemany(
                query, [[*({**values, "jid": f"{number}:1@s.whatsapp.net"}.values())] for number in numbers]
            )
    return numbers


def _length(column: str) -> int:
    return 64 if column.endswith("_sig") else 32


def run(count: int, workers: int, options: argparse.Namespace) -> Figures:
    figures = Figures(count, workers)
    settings = {
        "max_connections": str(100 + 12 * workers),
        "max_locks_per_transaction": "256",
        "shared_buffers": "256MB",
        "fsync": "off",
    }
    with Stage(**settings) as stage:
        say(f"{count} phones, {workers} workers")
        numbers = make_phones(stage, count)
        began = time.monotonic()
        with Bench(stage, figures, options.lease) as bench:
            alone = bench.begin(options.limit)
            say(f"balanced after {figures.balanced}: {figures.spread}")
            time.sleep(REST)
            figures.rest = bench.measure(MEASURED)
            say(f"at rest: {figures.rest}")
            bench.messages(options.rate)
            say(f"{figures.messages} messages: {figures.busy}")
            bench.commands(numbers[:: max(1, count // 20)][:20])
            bench.take_over(alone)
            say(f"taken over: {figures.taken_phones}, {figures.taken_first} to {figures.taken_last}")
            bench.join(options.limit)
            say(f"joined: {figures.joined_first}, {figures.joined_share}")
            while (left := options.age - (time.monotonic() - began)) > 0:
                time.sleep(min(left, 15))
            bench.look_at_tables(began)
    return figures


@dataclass(frozen=True)
class Looks:
    """What one worker's looks cost, in ms of the backend's CPU; ``cores``: all workers', at rest."""

    phones: int
    workers: int
    renew: float
    at_workers: float
    at_phones: float

    @property
    def cores(self) -> float:
        every_second = self.renew + self.at_workers + self.at_phones / FULL_EVERY
        return self.workers * every_second / 1000


def look(count: int, workers: int) -> Looks:
    """Rows of so many, evenly divided and renewed just now."""
    with Stage(shared_buffers="256MB") as stage:
        make_phones(stage, count)
        ids = [uuid4() for _ in range(workers)]
        with stage.opened.database.transaction() as conn:
            for statement in DIVIDED:
                conn.execute(statement, {"ids": ids, "count": workers})

        def cost(look_once: Callable[[Connection], object]) -> float:
            with stage.opened.database.transaction() as conn:
                look_once(conn)
                before = _cpu_of(conn.info.backend_pid)
                for _ in range(LOOKS):
                    look_once(conn)
                return (_cpu_of(conn.info.backend_pid) - before) / LOOKS

        backend = stage.opened.backend
        return Looks(
            count,
            workers,
            cost(lambda conn: worker_rows.renew(conn, ids[0])),
            cost(worker_rows.roster),
            cost(lambda conn: fleet.phones(conn, backend, ids[0], ids, None, None)),
        )


def _cpu_of(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def looks_table(found: Sequence[Looks]) -> str:
    titles = "phones | workers | renewal, ms | look at workers, ms | look at phones, ms | all workers at rest, cores"
    lines = [f"| {titles} |", f"|{' ---: |' * (titles.count('|') + 1)}"]
    lines += [
        f"| {one.phones:,} | {one.workers} | {one.renew:.2f} | {one.at_workers:.2f} | {one.at_phones:.2f} "
        f"| {one.cores:.2f} |"
        for one in found
    ]
    return "\n".join(lines)


def cells(found: Sequence[Figures]) -> Iterator[list[str]]:
    def each(of: Callable[[Figures], float | int | str | None], form: str = "") -> list[str]:
        return ["not within the time" if (value := of(one)) is None else format(value, form) for one in found]

    yield ["phones", *each(lambda f: f.phones, ",")]
    yield ["workers", *each(lambda f: f.workers)]
    yield ["all started at once: every phone runs after, s", *each(lambda f: f.all_running, ".1f")]
    yield ["balanced to one phone after, s", *each(lambda f: f.balanced, ".0f")]
    yield ["then fewest / most phones of a worker", *each(lambda f: f"{f.spread[0]} / {f.spread[1]}")]
    yield ["at rest: transactions/s", *each(lambda f: f.rest.transactions, ".0f")]
    yield ["at rest: queries/s", *each(lambda f: f.rest.queries, ".0f")]
    yield ["at rest: CPU of Postgres, cores", *each(lambda f: f.rest.postgres, ".2f")]
    yield ["at rest: CPU of all workers, cores", *each(lambda f: f.rest.workers, ".2f")]
    yield ["messages/s through the inbox", *each(lambda f: f.messages / MEASURED, ".0f")]
    yield ["meanwhile: transactions/s", *each(lambda f: f.busy.transactions, ".0f")]
    yield ["meanwhile: CPU of Postgres, cores", *each(lambda f: f.busy.postgres, ".2f")]
    yield ["left in the inbox 5 s later", *each(lambda f: f.left_in_inbox)]
    yield ["restart by an operator, ms (median of 20)", *each(lambda f: f.restart_ms, ".0f")]
    yield ["killed worker: its phones", *each(lambda f: f.taken_phones)]
    yield ["last renewal to the first elsewhere, s", *each(lambda f: f.taken_first, ".1f")]
    yield ["last renewal to the last elsewhere, s", *each(lambda f: f.taken_last, ".1f")]
    yield ["new worker: first phone after, s", *each(lambda f: f.joined_first, ".0f")]
    yield ["new worker: its share after, s", *each(lambda f: f.joined_share, ".0f")]
    yield ["Postgres connections", *each(lambda f: f.connections)]
    for name in ("lease", "worker", "health", "inbox"):
        yield [f"`{name}` at the end: kB / live / dead rows", *each(partial(_size, name))]
    yield ["the end was after, s", *each(lambda f: f.age, ".0f")]


def _size(table: str, figures: Figures) -> str:
    bytes_, live, dead = figures.tables.get(table, (0, 0, 0))
    return f"{bytes_ // 1024} / {live} / {dead}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["10000x50"], metavar="PHONESxWORKERS")
    parser.add_argument("--limit", type=float, default=300, help="seconds that a balance may take")
    parser.add_argument("--age", type=float, default=600, help="seconds after which the tables are looked at")
    parser.add_argument("--lease", type=float, default=DEFAULT_LEASE, help="seconds")
    parser.add_argument("--rate", type=float, default=100, help="messages a second")
    parser.add_argument("--looks", action="store_true", help="only what the regular looks cost Postgres")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    options = parser.parse_args()
    sizes = [(int(count), int(workers)) for count, _, workers in (size.partition("x") for size in options.sizes)]
    if options.looks:
        print(looks_table([look(count, workers) for count, workers in sizes]))
        return 0
    found = []
    for count, workers in sizes:
        found.append(run(count, workers, options))
        if options.json:
            options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    print(f"{machine()}\n\n| |{' |' * len(found)}\n| --- |{' ---: |' * len(found)}")
    for row in cells(found):
        print(f"| {' | '.join(row)} |")
    for one in found:
        print(f"\nAt rest with {one.phones:,} phones, what is waited for longest (queries/s, seconds a second):\n")
        for name, often, seconds in one.rest.most:
            print(f"- {often}/s, {seconds} s: `{name}`")
        for what in one.failed[:10]:
            print(f"- FAILED: {what}")
    return 1 if any(one.failed for one in found) else 0


if __name__ == "__main__":
    sys.path.append(str(TESTS))
    sys.exit(main())
