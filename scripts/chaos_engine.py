"""Machines with a worker each, peers that write without end, and what is done to them meanwhile; then, what was left.

One object is one run. ``run`` lets things happen by a seed, waits until all is well, ends all workers, and judges.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

import chaos_laws as laws
import host_hook
import psycopg
from cables import Cables
from chaos_handler import NOTES, SECONDS
from chaos_laws import Blow, Text
from chaos_story import Story, schedule
from machines import Kernel, Machine, only_child
from psycopg.rows import dict_row
from stage import Peer, Stage, Worker

from wa_sessions.actions import changes, clean_sessions
from wa_sessions.actions.restart import restart
from wa_sessions.emulator import overlapping
from wa_sessions.emulator.errors import EmulatorError
from wa_sessions.errors import DatabaseError, WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos_story import Happening

FIRST_PHONE, FIRST_PEER = 77_051_000_001, 77_052_000_001
SCRIPTS = Path(__file__).parent
HANDLER_SECONDS = (0.0, 0.05, 0.2)  # of the machines in turn
END = 25.0  # seconds for a worker to end after SIGTERM: it promises ten, on a machine that is not busy
ALL_WELL = 120.0  # seconds until every phone has to be connected, once nothing more is done to anybody
ALL_DONE = 180.0  # seconds until every message has to be handled
FAULTS = ("fault", "faulted", "service_failed", "unknown_frame", "internal_error", "events_dropped")
RECOVERY = 90.0  # seconds for the database to come up again, on a busy machine
TRACEBACK = "Traceback (most recent call last)"
DATABASE_AWAY = 4  # the exit status of a worker that cannot begin, for its manager to start it again
STACKS = """
import sys
if "wa_sessions" in sys.orig_argv and "run" in sys.orig_argv:
    import faulthandler, signal
    faulthandler.register(signal.SIGUSR2)
"""
"""A worker that does not end shows where each of its threads stands."""
RECORD = """
    CREATE TABLE public.accepted (number bigint NOT NULL, text text NOT NULL);
    CREATE FUNCTION public.accept() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.accepted VALUES (NEW.id, NEW.text); RETURN NEW; END $$;
    CREATE TRIGGER accept AFTER INSERT ON wa_sessions.inbox FOR EACH ROW EXECUTE FUNCTION public.accept();
    CREATE TABLE public.deleted (text text NOT NULL, at timestamptz NOT NULL);
    CREATE FUNCTION public.forget() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.deleted VALUES (OLD.text, clock_timestamp()); RETURN OLD; END $$;
    CREATE TRIGGER forget AFTER DELETE ON wa_sessions.inbox FOR EACH ROW EXECUTE FUNCTION public.forget();
"""
"""Whatever stands in the inbox, and be it for a moment, is written down, and when it was deleted."""
STANDING = """
    SELECT 'a lease of phone #' || phone_id AS left_over FROM wa_sessions.lease WHERE expires_at > clock_timestamp()
    UNION ALL SELECT 'the row of a worker on ' || host FROM wa_sessions.worker
    WHERE heartbeat_at > clock_timestamp() - interval '5 seconds'
    UNION ALL SELECT 'the lock of phone #' || objid::text FROM pg_locks WHERE locktype = 'advisory'
"""
CONNECTED = """
    SELECT 'a connection, ' || state || ': ' || left(query, 60) AS left_over FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name IN ('measured-worker', '')
"""
KNOWN = """
    SELECT split_part(split_part("phoneJid", ':', 1), '@', 1) AS number, health.state,
           worker.host || ' ' || worker.pid AS host
    FROM public."OrganizationPhone" AS phone LEFT JOIN wa_sessions.health ON health.phone_id = phone.id
    LEFT JOIN wa_sessions.lease ON lease.phone_id = phone.id AND lease.expires_at > clock_timestamp()
    LEFT JOIN wa_sessions.worker ON worker.id = lease.worker_id
"""
UNDONE = """
    SELECT quarantine.operation_id, quarantine.seq FROM wa_sessions.quarantine
    LEFT JOIN wa_sessions.operation ON operation.id = quarantine.operation_id WHERE operation.id IS NULL
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


class Computer:
    """A machine and the worker that runs on it; ``busy``: something is being done to it."""

    def __init__(self, machine: Machine, start: Callable[[Machine], Worker]) -> None:
        self.machine, self._start = machine, start
        self.busy = threading.Lock()
        self.workers: list[Worker] = []
        self.start()

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def worker(self) -> Worker:
        return self.workers[-1]

    @property
    def inner_pid(self) -> int:
        """The worker's number on its own machine."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("NSpid:")[2].splitlines()[0].split()[-1])

    def start(self) -> None:
        self.workers.append(self._start(self.machine))
        self.pid = only_child(self.worker.process.pid)

    def signal(self, number: int) -> None:
        for pid in (self.pid, *([self.worker.process.pid] if number == signal.SIGCONT else [])):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, seconds: float = END) -> int | None:
        """The exit status, once it has ended; None if it does not."""
        try:
            return self.worker.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End the worker, whatever it is at."""
        if self.worker.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.worker.process.wait()
        for worker in self.workers:
            worker.lines.close()

    def children(self, what: str) -> list[int]:
        """Processes here of which the command line has this in it."""
        return [pid for pid in self.machine.processes() if what in _command_line(pid)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


class Chaos:
    """See the module."""

    def __init__(self, plan: Plan, abilities: Kernel, hear: Callable[[str], None] = lambda _line: None) -> None:
        self.plan, self._abilities = plan, abilities
        self.story = Story(hear)
        self.result = Result()
        self.blows: list[Blow] = []
        self.numbers = tuple(str(FIRST_PHONE + n) for n in range(plan.sessions))
        self._seen = laws.Seen()
        self._replaced = 0
        self._sent: dict[str, float] = {}
        self._quiet = threading.Event()
        self._one_server = threading.Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            connections = str(60 + 6 * self.plan.sessions)
            self.stage = stack.enter_context(Stage(max_connections=connections, fsync="off"))
            self.stage.pair(*self.numbers)
            self._socket = self.stage.socket_path
            with self._connected() as conn:
                conn.execute(RECORD)
            self.notes = self.stage.folder / "notes"
            self.notes.touch()
            self._hook = host_hook.install(self.stage.folder / "stacks", STACKS)
            cables = stack.enter_context(Cables())
            self.computers: list[Computer] = []
            for n in range(self.plan.machines):
                machine = Machine(f"machine-{n + 1}", self.stage.emulator, self._socket, cables, self._abilities)
                stack.enter_context(machine)
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
        per_host = ("--sessions-per-host", str(max(2, self.plan.sessions // 6)))
        phones = () if self.plan.shared else self.numbers[place :: self.plan.machines]
        return Worker([*phones, *per_host], environment, "chaos_handler:handle", machine.launcher)

    # ------------------------------------------------------------------------------------------------ the run

    def run(self) -> Result:
        self._wait_until_well("in the beginning")
        happenings = schedule(self.plan.seed, self.plan.seconds, self.plan.machines, self.plan.every, self.plan.longest)
        self.story.tell(f"seed {self.plan.seed}: {len(happenings)} things happen in {self.plan.seconds:g} s")
        writers = [threading.Thread(target=self._write, args=(n, peer)) for n, peer in enumerate(self.everyone)]
        for writer in writers:
            writer.start()
        try:
            began = time.monotonic()
            with ThreadPoolExecutor(len(happenings) or 1) as pool:
                doing = []
                for happening in happenings:
                    while (left := began + happening.at - time.monotonic()) > 0:
                        self._look_after_all(min(left, 0.25))
                    doing.append(pool.submit(self._let_happen, happening))
                while not all(one.done() for one in doing):
                    self._look_after_all(0.25)
            for one in doing:
                one.result()
        finally:
            self._quiet.set()
            for writer in writers:
                writer.join(90)
        self._settle()
        self._judge()
        self._end()
        return self.result

    def violated(self, *what: str) -> None:
        for one in what:
            self.result.violations.append(one)
            self.story.tell(f"VIOLATED: {one}")

    def _write(self, place: int, peer: Peer) -> None:
        """A peer that writes to all phones in turn, each time the next message of that chat."""
        places = dict.fromkeys(self.numbers, 0)
        pause = self.plan.peers / self.plan.rate
        turns = itertools.islice(itertools.cycle(self.numbers), place, None)
        for number in turns:
            if self._quiet.wait(pause):
                return
            text = str(Text(peer.name, number, places[number]))
            try:
                self.peers.send(peer, number, text)
            except (WaSessionsError, TimeoutError) as error:
                self.story.tell(f"{peer.name} could not send: {error}")
                continue
            places[number] += 1
            self._sent[text] = time.monotonic()

    def _look_after_all(self, seconds: float) -> None:
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

    # ------------------------------------------------------------------------------------------ what happens

    def _let_happen(self, happening: Happening) -> None:
        random = Random(happening.choice)
        do = {
            "kill worker": self._kill_worker,
            "stop worker": self._stop_worker,
            "kill host": self._kill_host,
            "stop host": self._stop_host,
            "kill handlers": self._kill_handlers,
            "deploy": self._deploy,
            "sever the database": self._sever,
            "swallow the database": self._swallow,
            "half-open the database": self._half_open,
            "pull the cable": self._pull,
            "cut WhatsApp": self._cut_whatsapp,
        }.get(happening.kind)
        try:
            if do is None:
                self._of_no_machine(happening.kind, random)
            elif computer := self._free(happening.machine):
                try:
                    self._count(happening.kind)
                    do(computer, happening, random)
                finally:
                    computer.busy.release()
            else:
                self.story.tell(f"left out, as all are busy: {happening.kind}")
        except Exception as error:  # noqa: BLE001  # a run goes on, and tells
            self.violated(f"{happening.kind}: the program itself failed: {type(error).__name__}: {error}")

    def _free(self, place: int) -> Computer | None:
        """The machine of that place, or the next one, to which nothing is being done; it is busy from now on."""
        in_turn = [*self.computers[place:], *self.computers[:place]]
        return next((one for one in in_turn if one.busy.acquire(blocking=False)), None)

    def _of_no_machine(self, kind: str, random: Random) -> None:
        match kind:
            case "rolling deploy":
                self._rolling_deploy()
            case "restart Postgres, fast" | "restart Postgres, immediate":
                self._restart_postgres(kind, immediate=kind.endswith("immediate"))
            case "WhatsApp ends connections":
                self._end_connections(random)
            case "replaced":
                self._replace(random)
            case "operator cleans":
                self._clean(random)
            case _:
                raise ValueError(kind)

    def _count(self, kind: str) -> None:
        self.result.happened[kind] = self.result.happened.get(kind, 0) + 1

    @contextlib.contextmanager
    def _blow(self, kind: str, computer: Computer | None, *, kills: bool = False, more: str = "") -> Iterator[None]:
        name = computer.name if computer else None
        self.story.tell(f"{kind} {name or ''} {more}".rstrip())
        began = time.monotonic()
        try:
            yield
        finally:
            self.blows.append(Blow(kind, name, began, time.monotonic(), kills))
            if time.monotonic() - began > 0.1:
                self.story.tell(f"over: {kind} {name or ''}".rstrip())

    def _kill_worker(self, computer: Computer, happening: Happening, _: Random) -> None:
        with self._blow("kill worker", computer, kills=True, more=f"and start it after {happening.seconds:.1f} s"):
            computer.signal(signal.SIGKILL)
            computer.wait()
            time.sleep(happening.seconds)
            computer.start()

    def _stop_worker(self, computer: Computer, happening: Happening, _: Random) -> None:
        with self._blow("stop worker", computer, kills=True, more=f"for {happening.seconds:.1f} s"):
            computer.signal(signal.SIGSTOP)
            time.sleep(happening.seconds)
            computer.signal(signal.SIGCONT)

    def _kill_host(self, computer: Computer, _: Happening, random: Random) -> None:
        if hosts := computer.children("worker.hosts.main"):
            with self._blow("kill host", computer, kills=True), contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(hosts), signal.SIGKILL)

    def _stop_host(self, computer: Computer, happening: Happening, random: Random) -> None:
        if hosts := computer.children("worker.hosts.main"):
            host = random.choice(hosts)
            with self._blow("stop host", computer, kills=True, more=f"for {happening.seconds:.1f} s"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(host, signal.SIGSTOP)
                time.sleep(happening.seconds)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(host, signal.SIGCONT)

    def _kill_handlers(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("kill handlers", computer):
            for pid in computer.children("worker.delivery."):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _deploy(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("deploy", computer):
            self._terminate(computer)
            computer.start()

    def _rolling_deploy(self) -> None:
        self._count("rolling deploy")
        for computer in self.computers:
            with computer.busy, self._blow("rolling deploy", computer):
                self._terminate(computer)
                computer.start()

    def _terminate(self, computer: Computer) -> None:
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

    def _sever(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("sever the database", computer):
            computer.machine.database.sever()

    def _swallow(self, computer: Computer, happening: Happening, _: Random) -> None:
        """Hosts end by themselves when it takes longer than their deadline, whatever they have in hand."""
        with self._blow("swallow the database", computer, kills=True, more=f"for {happening.seconds:.1f} s"):
            computer.machine.database.swallow()
            time.sleep(happening.seconds)
            computer.machine.database.pass_on()

    def _half_open(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("half-open the database", computer):
            computer.machine.database.half_open()

    def _pull(self, computer: Computer, happening: Happening, _: Random) -> None:
        with self._blow("pull the cable", computer, kills=True, more=f"for {happening.seconds:.1f} s"):
            computer.machine.pull_cable()
            time.sleep(happening.seconds)
            computer.machine.plug_in()

    def _cut_whatsapp(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("cut WhatsApp", computer):
            computer.machine.whatsapp.sever()

    def _end_connections(self, random: Random) -> None:
        emulator = self.stage.emulator
        with self._blow("WhatsApp ends connections", None):
            self._count("WhatsApp ends connections")
            for number in random.sample(self.numbers, max(1, len(self.numbers) // 4)):
                end = random.choice((emulator.drop, emulator.unavailable, emulator.close))
                with contextlib.suppress(EmulatorError, TimeoutError):
                    end(self.stage.devices[number])

    def _replace(self, random: Random) -> None:
        number = random.choice(self.numbers)
        with self._blow("replaced", None, more=number), contextlib.suppress(EmulatorError, TimeoutError):
            self._replaced += 1
            self.stage.emulator.replace(self.stage.devices[number])
            self._count("replaced")

    def _clean(self, random: Random) -> None:
        """Take a peer's session away; what it writes next does not decrypt until it is sent again."""
        number, peer = random.choice(self.numbers), random.choice(self.everyone)
        with self._blow("operator cleans", None, more=f"{number} of {peer.name}"):
            try:
                change = clean_sessions.change(peer=peer.phone.number)
                changes.make(self.stage.opened, change, PhoneRef(number))
                self._count("operator cleans")
            except (WaSessionsError, TimeoutError) as error:
                self.story.tell(f"not cleaned: {error}")

    def _restart_postgres(self, kind: str, *, immediate: bool) -> None:
        with self._one_server, self._blow(kind, None):
            self._count(kind)
            if immediate:
                pid = int((self.stage.server.cluster / "postmaster.pid").read_text().split()[0])
                os.kill(pid, signal.SIGQUIT)
                while Path(f"/proc/{pid}").exists():
                    time.sleep(0.01)
            else:
                self.stage.server.stop()
            deadline = time.monotonic() + RECOVERY
            while True:  # which may take longer than a start's patience
                try:
                    self.stage.server.ensure_running()
                    return
                except DatabaseError:
                    if time.monotonic() > deadline:
                        raise

    # --------------------------------------------------------------------------------------------- afterwards

    def _settle(self) -> None:
        self.story.tell("nothing more happens")
        for computer in self.computers:
            computer.signal(signal.SIGCONT)
        began = time.monotonic()
        self._wait_until_well("in the end")
        self.result.all_well_after = time.monotonic() - began
        self.story.tell(f"all phones are connected {self.result.all_well_after:.1f} s later")
        self._wait(
            ALL_DONE,
            "delivered",
            lambda: [n for n in self.numbers if self.stage.emulator.queued(self.stage.devices[n])],
        )
        self._wait(ALL_DONE, "handled", lambda: self._look().unhandled())

    def _look(self) -> laws.Seen:
        """What stood in the inbox first, then what handlers noted: what comes in between is no loss."""
        dead = "SELECT text FROM wa_sessions.inbox WHERE dead_at IS NOT NULL"
        accepted = [row["text"] for row in self._rows("SELECT text FROM public.accepted ORDER BY number")]
        set_aside = [row["text"] for row in self._rows(dead)]
        self._seen = laws.Seen(accepted, laws.notes(self.notes.read_text().splitlines()), set_aside)
        return self._seen

    def _wait(self, seconds: float, what: str, left: Callable[[], list[Any]]) -> None:
        deadline = time.monotonic() + seconds
        while (rest := left()) and time.monotonic() < deadline:
            self._look_after_all(0.1)
        if rest:
            self.violated(f"not {what} within {seconds:g} s: {len(rest)}, {rest[:5]}")

    def _wait_until_well(self, when: str) -> None:
        """Until every phone is connected, all at the same time; an operator restarts those that were replaced."""
        deadline, asked = time.monotonic() + ALL_WELL, 0.0
        while away := [n for n in self.numbers if not self.stage.emulator.connected(self.stage.devices[n])]:
            if time.monotonic() > deadline:
                self.violated(f"not connected {when}, within {ALL_WELL:g} s: {', '.join(away)}")
                return
            self._look_after_all(0.1)
            if time.monotonic() - asked > 3:
                asked = time.monotonic()
                self.story.tell(f"not connected yet: {', '.join(self._states(away))}")
                self._restart_replaced()

    def _states(self, numbers: list[str]) -> list[str]:
        """What is known of phones: state, and which worker has them."""
        rows = {row["number"]: row for row in self._rows(KNOWN)}
        return [f"{number} ({rows[number]['state']}, {rows[number]['host']})" for number in numbers if number in rows]

    def _restart_replaced(self) -> None:
        for row in self._rows(KNOWN):
            number = row["number"]
            if row["state"] != "replaced":
                continue
            try:
                restart(self.stage.opened, PhoneRef(number))
                self.story.tell(f"an operator restarted {number}")
            except (WaSessionsError, TimeoutError) as error:
                self.story.tell(f"{number} was not restarted: {error}")

    def _judge(self) -> None:
        result, logins = self.result, self.stage.emulator.logins
        accepted, noted = self._seen.accepted, self._seen.noted
        result.sent, result.accepted, result.logins = len(self._sent), len({*accepted}), len(logins)
        result.handled = len({note.text for note in noted if note.what == "done"})
        result.twice, sent_again = laws.twice(noted), self._sent_again()
        result.late = laws.late(noted, sent_again)
        result.lost_before_inbox = len({*self._sent} - {*accepted})
        result.quarantined = int(self._rows("SELECT count(*) AS n FROM wa_sessions.quarantine")[0]["n"])
        self.violated(
            *laws.two_sockets(overlapping(logins)),
            *(f"{text} {how} {self._past_of(text, noted)}" for text, how in self._seen.unhandled()),
            *laws.never_accepted(self._sent, accepted, self.blows),
            *laws.handled_twice(noted, self.blows),
            *laws.out_of_order(noted, accepted, sent_again),
            *(f"a quarantined key has no operation: {row}" for row in self._rows(UNDONE)),
        )
        replaced = self._rows("SELECT count(*) AS n FROM wa_sessions.event WHERE kind = 'replaced'")[0]["n"]
        if replaced > self._replaced:
            self.violated(f"{replaced} sessions were replaced, {self._replaced} by WhatsApp")
        for computer in self.computers:
            for worker in computer.workers:
                found = {kind: worker.counts[kind] for kind in FAULTS if worker.counts[kind]}
                told = [line for line in worker.lines.recent if any(f'"{kind}"' in line for kind in found)]
                if found:
                    self.violated(f"a worker on {computer.name} told of {found}: {told[-2:]}")
                if any(line.startswith(TRACEBACK) for line in worker.lines.recent):
                    self.violated(f"a worker on {computer.name} failed: {list(worker.lines.recent)[-5:]}")

    def _past_of(self, text: str, noted: list[laws.Note]) -> str:
        """What is known of a message: where a handler had it, when it was deleted."""
        had = [f"{note.what} on {note.machine} at {note.at:.2f}" for note in noted if note.text == text]
        query = "SELECT extract(epoch FROM clock_timestamp() - at)::float8 AS ago FROM public.deleted WHERE text = "
        gone = [f"deleted at {time.monotonic() - row['ago']:.2f}" for row in self._rows(f"{query}'{text}'")]
        return f"({', '.join([*had, *gone]) or 'nothing is known of it'}; sent at {self._sent.get(text, 0.0):.2f})"

    def _sent_again(self) -> set[str]:
        """The messages of which a phone has asked for another copy."""
        devices = [self.stage.devices[number] for number in self.numbers]
        return {asked for device in devices for asked, _ in self.stage.emulator.retry_receipts(device)}

    def _end(self) -> None:
        """SIGTERM for all, at once; then nothing may be left."""
        self.story.tell("SIGTERM for all")
        with ThreadPoolExecutor(len(self.computers)) as pool:
            for _ in pool.map(self._terminate, self.computers):
                pass
        self._wait_for_none(lambda: [row["left_over"] for row in self._rows(STANDING)])
        self._wait_for_none(
            lambda: [f"{c.name}: {_command_line(pid)[:80]}" for c in self.computers for pid in c.machine.processes()]
        )
        for computer in self.computers:
            computer.machine.database.sever()  # what was swallowed, whose end no server hears of
        self._wait_for_none(lambda: [row["left_over"] for row in self._rows(CONNECTED)])

    def _wait_for_none(self, left: Callable[[], list[str]]) -> None:
        deadline = time.monotonic() + 10
        while (rest := left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.violated(*(f"left over: {one}" for one in rest))

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        return psycopg.connect(self.stage.url, application_name="chaos", autocommit=True, row_factory=dict_row)

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with self._connected() as conn:
            return conn.execute(query.encode()).fetchall()
