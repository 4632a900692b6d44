"""What a run of chaos has: the installation, machines with a worker each, peers, and what is known of them."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import host_hook
import psycopg
from bench_support import WORKER, Worker
from cables import Cables
from chaos_computer import END, Computer
from chaos_handler import NOTES, SECONDS
from chaos_laws import Came
from chaos_story import Story
from machines import Machine
from psycopg.rows import dict_row
from stage_of_two import StageOfTwo

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos_laws import Blow
    from machines import Kernel

FIRST_PHONE, FIRST_PEER = 77_051_000_001, 77_052_000_001
SCRIPTS = Path(__file__).parent
HANDLER_SECONDS = (0.0, 0.05, 0.2)  # of the machines in turn
DATABASE_AWAY = 4  # the exit status of a worker that cannot begin, for its manager to start it again
STACKS = """
import sys
if "wa_sessions" in sys.orig_argv and "run" in sys.orig_argv:
    import faulthandler, signal
    faulthandler.register(signal.SIGUSR2)
"""
"""A worker that does not end shows where each of its threads stands."""
RECORD = """
    CREATE TABLE public.accepted (
        number bigint NOT NULL, text text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),
        writer text NOT NULL DEFAULT current_setting('application_name')
    );
    CREATE FUNCTION public.accept() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.accepted VALUES (NEW.id, NEW.text); RETURN NEW; END $$;
    CREATE TRIGGER accept AFTER INSERT ON wa_sessions.inbox FOR EACH ROW EXECUTE FUNCTION public.accept();
    CREATE TABLE public.deleted (text text NOT NULL, at timestamptz NOT NULL);
    CREATE FUNCTION public.forget() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.deleted VALUES (OLD.text, clock_timestamp()); RETURN OLD; END $$;
    CREATE TRIGGER forget AFTER DELETE ON wa_sessions.inbox FOR EACH ROW EXECUTE FUNCTION public.forget();
"""
"""Whatever stands in the inbox, and be it for a moment, is written down, with its times and the machine it is from."""
ACCEPTED = """
    SELECT text, writer, extract(epoch FROM clock_timestamp() - at)::float8 AS ago FROM public.accepted ORDER BY number
"""


@dataclass(frozen=True)
class Plan:
    """A run. ``seconds`` in which things happen, one every ``every``; ``rate``: messages a second, of all peers.

    ``shared``: workers share the phones; else each is given its own by name.
    """

    seed: int = 1
    sessions: int = 12
    seconds: float = 25.0
    every: float = 2.0
    longest: float = 20.0
    rate: float = 8.0
    peers: int = 3
    machines: int = 3
    shared: bool = True


@dataclass
class Result:
    """How it went. ``violations``: what has to be so and is not."""

    violations: list[str] = field(default_factory=list)
    happened: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    accepted: int = 0
    handled: int = 0
    twice: int = 0
    late: int = 0
    lost_before_inbox: int = 0
    all_well_after: float = 0.0
    logins: int = 0
    quarantined: int = 0


class Scene:
    """See the module. ``stood``: what was in the inbox before a failover."""

    def __init__(self, plan: Plan, abilities: Kernel, hear: Callable[[str], None]) -> None:
        self.plan, self._abilities = plan, abilities
        self.story = Story(hear)
        self.result = Result()
        self.blows: list[Blow] = []
        self.numbers = tuple(str(FIRST_PHONE + n) for n in range(plan.sessions))
        self.sent: dict[str, float] = {}
        self.replaced = 0
        self.stood: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            connections = str(100 + 8 * self.plan.sessions)  # those that were forgotten stand for a minute
            self.stage = stack.enter_context(StageOfTwo(max_connections=connections, fsync="off"))
            if self.stage.why_not:
                self.story.tell(f"no failover: {self.stage.why_not}")
            self.stage.pair(*self.numbers)
            with self.connected() as conn:
                conn.execute(RECORD)
            self.notes = self.stage.folder / "notes"
            self.notes.touch()
            self._hook = host_hook.install(self.stage.folder / "stacks", STACKS)
            cables = stack.enter_context(Cables())
            self.computers: list[Computer] = []
            for n in range(self.plan.machines):
                name, emulator, paths = f"machine-{n + 1}", self.stage.emulator, self.stage.socket_paths
                machine = stack.enter_context(Machine(name, emulator, paths, cables, self._abilities))
                self.computers.append(Computer(machine, self._start))
                stack.callback(self.computers[-1].close)
            self.peers = self.stage.peers()
            self.everyone = [self.peers.link(f"peer{n}", str(FIRST_PEER + n)) for n in range(self.plan.peers)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, machine: Machine) -> Worker:
        place = int(machine.name.rpartition("-")[2]) - 1
        environment = machine.environment(self.stage.environment(self._hook, SCRIPTS)) | {
            NOTES: str(self.notes),
            SECONDS: str(HANDLER_SECONDS[place % len(HANDLER_SECONDS)]),
        }
        environment["WA_SESSIONS_DATABASE_URL"] = environment["WA_SESSIONS_DATABASE_URL"].replace(WORKER, machine.name)
        per_host = ("--sessions-per-host", str(max(2, self.plan.sessions // 6)))
        phones = () if self.plan.shared else self.numbers[place :: self.plan.machines]
        return Worker([*phones, *per_host], environment, "chaos_handler:handle", machine.launcher)

    def violated(self, *what: str) -> None:
        """Write down what has to be so and is not."""
        for one in what:
            self.result.violations.append(one)
            self.story.tell(f"VIOLATED: {one}")

    def count(self, kind: str) -> None:
        """Something of that kind happens."""
        self.result.happened[kind] = self.result.happened.get(kind, 0) + 1

    def look_after_all(self, seconds: float) -> None:
        """What a service manager does: start again what has ended by itself."""
        time.sleep(seconds)
        for computer in self.computers:
            if computer.worker.process.poll() is None or not computer.busy.acquire(blocking=False):
                continue
            try:
                self._ended_by_itself(computer)
            finally:
                computer.busy.release()

    def _ended_by_itself(self, computer: Computer) -> None:
        status = computer.worker.process.poll()
        if status is None:
            return
        last = f"{status}: {' | '.join(list(computer.worker.lines.recent)[-3:])}"
        if status == DATABASE_AWAY and not computer.worker.counts["connected"]:
            self.story.tell(f"the worker on {computer.name} could not begin, and is started again: {last}")
        else:
            self.violated(f"the worker on {computer.name} ended by itself with {last}")
        computer.start()

    def terminate(self, computer: Computer) -> None:
        """SIGTERM, which a worker has to obey within its time and with status 0."""
        began = time.monotonic()
        computer.signal(signal.SIGTERM)
        status = computer.wait()
        if status is None:
            last = "\n    ".join(list(computer.worker.lines.recent)[-12:])
            self.violated(f"the worker on {computer.name} did not end within {END:g} s of SIGTERM: {last}")
            computer.signal(signal.SIGUSR2)
            time.sleep(1)
            for line in [line for line in computer.worker.lines.recent if not line.startswith("{")][-150:]:
                self.story.tell(f"    {line}")
            computer.signal(signal.SIGKILL)
            computer.wait()
        elif status == -signal.SIGTERM and not computer.worker.counts:
            self.story.tell(f"the worker on {computer.name} had hardly begun")
        elif status != 0:
            last = " | ".join(list(computer.worker.lines.recent)[-3:])
            self.violated(f"the worker on {computer.name} ended with {status} after SIGTERM: {last}")
        self.story.tell(f"the worker on {computer.name} ended {time.monotonic() - began:.1f} s after SIGTERM")

    def accepted(self) -> dict[str, Came]:
        """The texts that have stood in the inbox, in the order in which they first came there."""
        found: dict[str, Came] = {}
        for row in self.rows(ACCEPTED):
            found.setdefault(row["text"], Came(row["writer"], time.monotonic() - row["ago"]))
        return found

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the database answers."""
        with self.connected() as conn:
            return conn.execute(query.encode()).fetchall()

    def rows_of_all(self, query: str) -> list[dict[str, Any]]:
        """What the database answers, and what its standby does."""
        standby = [self.stage.servers.standby.conninfo()] if self.stage.servers else []
        found = self.rows(query)
        for conninfo in standby:
            with psycopg.connect(conninfo, application_name="chaos", row_factory=dict_row) as conn:
                found += conn.execute(query.encode()).fetchall()
        return found

    def connected(self) -> psycopg.Connection[dict[str, Any]]:
        return psycopg.connect(self.stage.url, application_name="chaos", autocommit=True, row_factory=dict_row)
