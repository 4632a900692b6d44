"""Messages and faults without end: does the worker grow, and does it lose a message?

    .venv/bin/python scripts/soak.py --minutes 30 --phones 50 --per-host 10

A private embedded database, the emulator, one ``wa-sessions run`` and real neonize clients that write to its phones.
Connections, session hosts, handlers and the database are lost meanwhile. What is damaged in every copy may be lost, and
what a killed host had not told the worker or a killed handler had in hand; everything else has to arrive, or the worker
to record it as lost. Exit status 1 if something else was lost, if something of the worker grows, or if it did not end
in good order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from statistics import fmean, linear_regression, median
from typing import TYPE_CHECKING, Any

import host_hook
from bench_support import MB, Line, Peer, Peers, Process, Role, Stage, Worker, look, look_at_children, machine

from wa_sessions.actions.engine.carry_out import make
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.repair import repairs
from wa_sessions.actions.repair.restore import restore
from wa_sessions.actions.sessions.restart import restart
from wa_sessions.actions.sessions.send import send_text
from wa_sessions.emulator import AppStateDamage
from wa_sessions.emulator.errors import NotConnected
from wa_sessions.errors import StoreAway, TryAgain
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker.hosts.host import STARTS_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FIRST_PHONE, FIRST_PEER = 77_051_000_001, 77_052_000_001
SAMPLE_EVERY = 10.0  # seconds
WARM_UP = 1 / 3  # of the run: its samples are not judged
STARTED = 5.0  # seconds after which a host has loaded what it needs
START_LEAK = 0.07 * STARTS_LIMIT  # MB: neonize leaves so much behind with each start, until the host is replaced
MOST_FILES = 100 + 2 * STARTS_LIMIT  # and two files; the rest is what 10 sessions and their connections have
YOUNG = 60.0  # seconds in which a host still warms up
PAUSE = 0.06  # seconds between two messages, for all phones together
HEALED_SHARE = 0.01  # of all messages, those whose first copy is damaged; the worker remembers each for a day
SCENE_EVERY = 1.5  # seconds on average between two scenes, for all phones together
CUT_EVERY = 1.0  # seconds on average between two lost connections, for all phones together
OUTAGE_FIRST, OUTAGE_EVERY, OUTAGE = 60.0, 240.0, 3.0  # seconds: the database's stops
HANDLER_KILL_EVERY = 45.0  # seconds
HOST_KILL_EVERY = 310.0  # seconds; a session that is in two crashes within 600 s shares a smaller host from then on
BACK = 60.0  # seconds in which all phones have to be back after a host was killed
SCENES_AT_ONCE = 2
QUIET = 0.5  # seconds without a stanza after which nobody sends anything again
ARRIVAL = 60.0  # seconds after which a message is lost
DAMAGES = (AppStateDamage.CONTENT_MAC, AppStateDamage.INDEX_MAC, AppStateDamage.LTHASH, AppStateDamage.PATCH_MAC)
UNWANTED = (
    *(
        "fault",
        "faulted",
        "set_aside",
        "lease_lost",
        "service_failed",
        "unknown_frame",
        "internal_error",
        "not_written",
    ),
    *("handler_failed", "handler_slow", "handler_unfinished", "pairing_failed", "raw"),
)
REPAIRS = ("session_quarantined", "sender_key_quarantined", "collection_quarantined")


@dataclass
class Tally:
    """What was sent and what came of it; ``lost`` says which message and when.

    ``with_hosts``: messages that a killed host had not told yet; ``with_handlers``: that a killed handler had in hand;
    ``recorded``: that the worker itself recorded as lost, as all their copies came while the database went away.
    """

    sent: Counter[str] = field(default_factory=Counter)
    arrived: Counter[str] = field(default_factory=Counter)
    scenes: Counter[str] = field(default_factory=Counter)
    lost: dict[str, str] = field(default_factory=dict)
    incidents: list[str] = field(default_factory=list)
    outages: int = 0
    host_kills: int = 0
    handler_kills: int = 0
    with_hosts: int = 0
    with_handlers: int = 0
    recorded: int = 0
    back_after: list[float] = field(default_factory=list)


class Soak:
    """The run: what its threads share. ``told``: the folder where hosts write down what they tell the worker."""

    def __init__(self, stage: Stage, worker: Worker, peers: Peers, told: Path, *, undamaged: bool) -> None:
        self.stage, self.worker, self.peers, self.told = stage, worker, peers, told
        self.undamaged = undamaged
        self.tally = Tally()
        self.stopping = threading.Event()
        self.desk = threading.Semaphore(SCENES_AT_ONCE)  # who needs everything in order; an upheaval takes all places
        self._one_upheaval = threading.Lock()
        self.upheavals = 0  # grows when the database or a host goes or comes
        self.killed_at: list[float] = []
        self.began = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.began

    @contextlib.contextmanager
    def upheaval(self) -> Iterator[None]:
        """Nobody is in the midst of a scene meanwhile; messages go on."""
        with self._one_upheaval:
            for _ in range(SCENES_AT_ONCE):
                self.desk.acquire()
            self.upheavals += 1
            try:
                yield
            finally:
                self.upheavals += 1
                for _ in range(SCENES_AT_ONCE):
                    self.desk.release()

    def outages(self) -> None:
        """Stop the database now and then while everybody writes on."""
        wait = OUTAGE_FIRST
        while not self.stopping.wait(wait):
            with self.upheaval():
                self.stage.server.stop()
                time.sleep(OUTAGE)
                self._start_server()
                self.tally.outages += 1
            wait = OUTAGE_EVERY

    def _start_server(self) -> None:
        """Recovery may take longer than a start's patience on a busy machine."""
        with contextlib.suppress(StoreAway, TryAgain):
            self.stage.server.ensure_running()
            return
        self.stage.server.ensure_running()

    def kill_handlers(self) -> None:
        """Kill a handler's process now and then, whatever it has in hand."""
        while not self.stopping.wait(HANDLER_KILL_EVERY):
            if handlers := self._children(Role.HANDLER):
                self._kill(random.choice(handlers))
                self.tally.handler_kills += 1

    def kill_hosts(self) -> None:
        """Kill the oldest host, each in its turn."""
        while not self.stopping.wait(HOST_KILL_EVERY):
            with self.upheaval():
                while not (hosts := self._children(Role.HOST)):  # an outage may have ended them all
                    time.sleep(0.1)
                oldest = max(hosts, key=lambda process: process.age)
                self.killed_at.append(time.monotonic())
                self._kill(oldest)
                self.tally.host_kills += 1
                self._wait_until_back()

    def _wait_until_back(self) -> None:
        """Until every phone was seen connected again."""
        began, away = time.monotonic(), dict(self.stage.devices)
        time.sleep(0.2)  # the sockets of a dead process
        while away and time.monotonic() - began < BACK:
            time.sleep(0.05)
            away = {number: device for number, device in away.items() if not self.stage.emulator.connected(device)}
        self.tally.back_after.append(round(time.monotonic() - began, 1))
        if away:
            self.incident(f"not back {BACK:.0f} s after a host was killed: {', '.join(away)}")

    def _children(self, role: Role) -> list[Process]:
        return [child for child in look_at_children(self.worker.process.pid) if child.role is role]

    @staticmethod
    def _kill(process: Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)

    def incident(self, what: str) -> None:
        """Something that should not happen, with the worker's last words."""
        self.tally.incidents.append(f"{self.seconds():.1f} s: {what}")
        print(f"{self.seconds():6.1f} s: {what}", file=sys.stderr, flush=True)
        for line in list(self.worker.lines.recent)[-60:]:
            print(f"         {line[:260]}", file=sys.stderr, flush=True)


class Life:
    """One of our phones and the peer that writes to it, one message after another.

    Each waits until the last has arrived: whatsmeow itself loses messages of a sender that sends one and sends another
    one again at the same time.
    """

    def __init__(self, soak: Soak, number: str, peer: Peer, seed: int, *, steady: bool, phones: int) -> None:
        self._soak, self._number, self._peer, self._phones = soak, number, peer, phones
        self._random = random.Random(seed)
        self._numbers = 0
        self._closes = seed % 2
        self._has_app_state_key = False
        self._upheavals = 0
        scenes = [self._reply, self._app_state]
        scenes += [] if soak.undamaged else [self._lost_message]
        scenes += [] if steady else [self._replaced, self._force_close, self._restart]
        scenes += [] if steady or soak.undamaged else [self._close]
        self._scenes = scenes

    def run(self) -> None:
        soak, chance = self._soak, self._random
        scene_every, cut_every, pause = SCENE_EVERY * self._phones, CUT_EVERY * self._phones, PAUSE * self._phones
        next_scene, next_cut = chance.uniform(3, 3 + scene_every), chance.uniform(3, 3 + cut_every)
        while not soak.stopping.wait(pause):
            try:
                if soak.seconds() >= next_scene and soak.desk.acquire(blocking=False):
                    next_scene = soak.seconds() + chance.expovariate(1 / scene_every)
                    try:
                        self._scene(chance.choice(self._scenes))
                    finally:
                        soak.desk.release()
                elif soak.seconds() >= next_cut:
                    next_cut = soak.seconds() + chance.expovariate(1 / cut_every)
                    self._cut()
                elif not soak.undamaged and chance.random() < HEALED_SHARE:
                    self._healed_message()
                else:
                    self._message("plain")
            except Exception as error:  # noqa: BLE001  # the run goes on and tells
                where = traceback.extract_tb(error.__traceback__)[-1]
                soak.incident(f"{self._number}: {type(error).__name__} in line {where.lineno}: {error}")
                self._rescue()

    def _rescue(self) -> None:
        """Bring the phone back for the rest of the run, if something has gone wrong with it."""
        with contextlib.suppress(Exception), self._soak.desk:
            if not self._soak.stage.emulator.connected(self._device):
                self._restart()
            self._settle()

    # ---------------------------------------------------------------------------------------- messages

    def _text(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind} {self._numbers} of {self._number}"

    def _send(self, kind: str) -> str:
        text = self._text(kind)
        self._soak.peers.send(self._peer, self._number, text)
        self._soak.tally.sent[kind] += 1
        return text

    def _message(self, kind: str, after_sending: Callable[[], object] = lambda: None) -> None:
        """One message that has to arrive."""
        soak, text, started = self._soak, self._text(kind), time.monotonic()
        with soak.worker.lines.expecting(lambda line: self._ends(line, text), text) as ending:
            message_id = soak.peers.send(self._peer, self._number, text)
            soak.tally.sent[kind] += 1
            after_sending()
            try:
                self._count(kind, ending.wait(ARRIVAL))
            except TimeoutError:
                if message_id in soak.worker.recorded_lost:
                    soak.tally.recorded += 1
                else:
                    self._missing(text, started)
        if time.monotonic() - started > QUIET or self._upheavals != soak.upheavals:
            self._upheavals = soak.upheavals
            self._settle()

    def _ends(self, line: Line, text: str) -> bool:
        """Whether a message is done with: handled, or in the hands of a handler that was killed."""
        if line.get("phone") != self._number:
            return False
        return line.get("event") == "handler_ended" or line.get("message") == f"received: {text}"

    def _count(self, kind: str, line: Line) -> None:
        if line["event"] == "handler_ended":
            self._soak.tally.with_handlers += 1
        else:
            self._soak.tally.arrived[kind] += 1

    def _missing(self, text: str, started: float) -> None:
        """It may be missing if it was in a host that was killed, and had not been told."""
        soak = self._soak
        if any(at > started - 1 for at in soak.killed_at) and text not in set(host_hook.told(soak.told)):
            soak.tally.with_hosts += 1
            return
        soak.tally.lost[text] = f"{soak.seconds():.1f} s: {text!r} ({self._seen_of(text)})"
        raise TimeoutError(f"{text!r} did not arrive within {ARRIVAL:.0f} s: {soak.tally.lost[text]}")

    def _seen_of(self, text: str) -> str:
        """How far a message came that is missing."""
        soak, emulator = self._soak, self._soak.stage.emulator
        address = str(self._device.jid)
        last = max((login.began for login in emulator.logins if login.device == address), default=0.0)
        seen = [
            f"{emulator.queued(self._device)} wait at WhatsApp",
            f"logged in {time.monotonic() - last:.1f} s ago" if emulator.connected(self._device) else "not connected",
            "told by its host" if text in set(host_hook.told(soak.told)) else "not told by a host",
        ]
        with contextlib.suppress(StoreAway, TryAgain), soak.stage.opened.database.transaction() as conn:
            query = "SELECT attempts, next_at, dead_at, error FROM wa_sessions.inbox WHERE text = %s"
            seen += [f"in the inbox: {row}" for row in conn.execute(query, (text,))] or ["not in the inbox"]
        return ", ".join(seen)

    def _healed_message(self) -> None:
        fault = self._soak.stage.emulator.damage_messages(
            self._phone, sender=self._peer.phone, count=1, first_copies=True
        )
        try:
            self._message("first copy damaged")
        finally:
            fault.heal()

    def _settle(self) -> None:
        """Until neither side has anything to send again."""
        emulator = self._soak.stage.emulator
        for _ in range(2):
            emulator.wait_delivered(self._device, ARRIVAL)
            emulator.wait_delivered(self._peer.device, ARRIVAL)
            time.sleep(QUIET)

    @property
    def _phone(self) -> Any:
        return self._soak.stage.phones[self._number]

    @property
    def _device(self) -> Any:
        return self._soak.stage.devices[self._number]

    @property
    def _ref(self) -> PhoneRef:
        return PhoneRef(self._number)

    # ------------------------------------------------------------------------------------- connections

    def _cut(self) -> None:
        """The connection is lost before or after a message is sent."""
        emulator, was_there = self._soak.stage.emulator, True
        cut = self._random.choice((emulator.drop, emulator.unavailable, emulator.close))

        def cut_it() -> None:
            nonlocal was_there
            try:
                cut(self._device)
            except NotConnected:  # it was away already
                was_there = False

        with self._soak.worker.expecting("connected", self._number) as back:
            if self._random.random() < 0.5:
                cut_it()
                self._message("plain")
            else:
                self._message("plain", cut_it)
            if not was_there:
                return
            back.wait(ARRIVAL)
        self._soak.tally.scenes[f"connection lost: {cut.__name__}"] += 1

    # ------------------------------------------------------------------------------------------ scenes

    def _scene(self, scene: Callable[[], None]) -> None:
        self._message("plain")
        self._settle()
        scene()
        self._settle()
        self._message("plain")
        self._soak.tally.scenes[scene.__name__.strip("_")] += 1

    def _reply(self) -> None:
        soak, text = self._soak, self._text("reply")
        with soak.peers.receiving(self._peer, text) as arriving:
            send_text(soak.stage.opened, self._ref, None, self._peer.phone.number, text)
            soak.tally.sent["reply"] += 1
            arriving.wait(ARRIVAL)
        soak.tally.arrived["reply"] += 1

    def _lost_message(self) -> None:
        """Every copy is damaged: one counted error, and the peer's session is repaired."""
        worker = self._soak.worker
        fault = self._soak.stage.emulator.damage_messages(self._phone, sender=self._peer.phone)
        try:
            with (
                worker.expecting("message_lost", self._number) as lost,
                worker.expecting("error_counted", self._number) as counted,
            ):
                self._send("every copy damaged")
                counted.wait()
                lost.wait()
        finally:
            fault.heal()

    def _app_state(self) -> None:
        emulator, worker, phone = self._soak.stage.emulator, self._soak.worker, self._phone
        if not self._has_app_state_key:
            emulator.share_app_state_key(self._device)
            self._message("plain")
            emulator.mute(phone, "77050000000")
            emulator.notify_app_state(self._device, "regular_high")
            self._settle()
            self._has_app_state_key = True
        fault = emulator.damage_app_state(phone, "regular_high", self._random.choice(DAMAGES))
        try:
            with worker.expecting("collection_quarantined", self._number) as repaired:
                emulator.mute(phone, f"7705000{self._random.randrange(1000):04}")
                emulator.notify_app_state(self._device, "regular_high")
                repaired.wait()
        finally:
            fault.heal()
        with worker.expecting("counter_reset", self._number) as reset:
            emulator.notify_app_state(self._device, "regular_high")
            reset.wait()

    def _close(self) -> None:
        """Three lost messages; then in turn keys are restored, or a new QR is scanned and the old device unlinked."""
        worker = self._soak.worker
        fault = self._soak.stage.emulator.damage_messages(self._phone, sender=self._peer.phone)
        with worker.expecting("session_closed", self._number) as closed, worker.expecting("qr", self._number) as code:
            try:
                for _ in range(2):
                    with worker.expecting("message_lost", self._number) as lost:
                        self._send("every copy damaged")
                        lost.wait()
                self._send("every copy damaged")
                operation = str(closed.wait()["operation"])
            finally:
                fault.heal()
            self._closes += 1
            with worker.expecting("connected", self._number) as connected:
                if self._closes % 2:
                    restore(self._soak.stage.opened, operation)
                else:
                    code.wait()
                    self._scan()
                connected.wait()

    def _scan(self) -> None:
        emulator, old = self._soak.stage.emulator, self._device
        self._soak.stage.scan(self._number)
        self._has_app_state_key = False
        emulator.remove_device(old)
        emulator.wait_delivered(self._peer.device, ARRIVAL)

    def _replaced(self) -> None:
        worker = self._soak.worker
        with worker.expecting("replaced", self._number) as replaced:
            self._soak.stage.emulator.replace(self._device)
            replaced.wait()
        self._restart()

    def _force_close(self) -> None:
        make(self._soak.stage.opened, repairs.force_close(reason="soak"), Scope(self._ref))
        self._soak.stage.emulator.wait_disconnected(self._device)
        self._restart()

    def _restart(self) -> None:
        with self._soak.worker.expecting("connected", self._number) as connected:
            restart(self._soak.stage.opened, self._ref)
            connected.wait()


# ----------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Sample:
    """The worker at one moment; None is what could not be seen because the database was away."""

    seconds: float
    supervisor: Process
    hosts: list[Process]
    handlers: list[Process]
    zombies: int
    connections: int | None
    sent: int
    arrived: int
    errors: int
    repairs: int
    closes: int


def take_sample(soak: Soak) -> Sample | None:
    pid, counts, tally = soak.worker.process.pid, soak.worker.counts, soak.tally
    supervisor = look(pid)
    if supervisor is None:
        return None
    children = look_at_children(pid)
    return Sample(
        round(soak.seconds(), 1),
        supervisor,
        [child for child in children if child.role is Role.HOST and not child.zombie],
        [child for child in children if child.role is Role.HANDLER and not child.zombie],
        sum(child.zombie for child in children),
        soak.stage.connections(),
        sum(tally.sent.values()),
        sum(tally.arrived.values()),
        counts["error_counted"],
        sum(counts[repair] for repair in REPAIRS),
        counts["session_closed"],
    )


@dataclass(frozen=True)
class Figure:
    """What must not grow. ``room``: how much its fitted line may rise over the run, for noise and caches."""

    name: str
    room: float
    of: Callable[[Sample], float | None]


def _mean(of: Callable[[Process], float]) -> Callable[[Sample], float | None]:
    """Over the hosts that are not just starting."""

    def mean(sample: Sample) -> float | None:
        started = [of(process) for process in sample.hosts if process.age > STARTED]
        return fmean(started) if started else None

    return mean


def _all_of_one_host(sample: Sample) -> float | None:
    """Worker, handlers and one average host: how many hosts there are depends on who is pairing at the moment."""
    host = _mean(lambda process: process.pss / MB)(sample)
    return host and host + sum(process.pss for process in (sample.supervisor, *sample.handlers)) / MB


FIGURES = (
    Figure("worker: RSS, MB", 3, lambda s: s.supervisor.rss / MB),
    Figure("worker: threads, but one for each host", 2, lambda s: s.supervisor.threads - len(s.hosts)),
    Figure("worker: open files, but three for each host", 4, lambda s: s.supervisor.files - 3 * len(s.hosts)),
    Figure("host: RSS, MB (mean)", 5, _mean(lambda p: p.rss / MB)),
    Figure("host: threads (mean)", 4, _mean(lambda p: p.threads)),
    Figure("hosts (told, not judged: phones that started as a host was killed go alone)", inf, lambda s: len(s.hosts)),
    Figure("handlers: RSS, MB", 1, lambda s: sum(process.rss for process in s.handlers) / MB),
    Figure("worker, handlers and one host: PSS, MB", 8, _all_of_one_host),
    Figure("zombies", 0.5, lambda s: s.zombies),
    Figure("Postgres connections", 20, lambda s: s.connections),
)


@dataclass(frozen=True)
class Row:
    """A figure from the end of the warm-up to the end of the run."""

    name: str
    start: float
    end: float
    per_hour: float
    growing: bool


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope by least squares, and its standard error."""
    xs, ys = zip(*points, strict=True)
    line = linear_regression(xs, ys)
    middle = fmean(xs)
    rest = sum((y - line.intercept - line.slope * x) ** 2 for x, y in points)
    spread = sum((x - middle) ** 2 for x in xs)
    return line.slope, (rest / max(len(points) - 2, 1) / spread) ** 0.5


def row_of(figure: Figure, samples: Sequence[Sample]) -> Row:
    points = [(sample.seconds, float(value)) for sample in samples if (value := figure.of(sample)) is not None]
    slope, error = fit(points)
    rise = slope * (points[-1][0] - points[0][0])
    few = min(3, len(points))
    start, end = fmean(y for _, y in points[:few]), fmean(y for _, y in points[-few:])
    return Row(figure.name, start, end, slope * 3600, rise > figure.room and slope > 2 * error)


def row_within(samples: Sequence[Sample]) -> Row | None:
    """Resident memory within each host that is past its youth: every process has a level of its own."""
    by_pid: dict[int, list[tuple[float, float]]] = {}
    for sample in samples:
        for process in sample.hosts:
            if process.age > YOUNG:
                by_pid.setdefault(process.pid, []).append((process.age, process.rss / MB))
    runs = [run for run in by_pid.values() if len(run) >= 3]
    if not runs:
        return None
    points = []
    for run in runs:
        age, rss = fmean(x for x, _ in run), fmean(y for _, y in run)
        points += [(x - age, y - rss) for x, y in run]
    slope, error = fit(points)
    longest = max(run[-1][0] - run[0][0] for run in runs)
    name = f"within one host older than {YOUNG:.0f} s: RSS, MB"
    start, end = fmean(run[0][1] for run in runs), fmean(run[-1][1] for run in runs)
    return Row(name, start, end, slope * 3600, slope * longest > START_LEAK and slope > 2 * error)


def row_of_files(samples: Sequence[Sample]) -> Row:
    """The host with the most open files: they grow with its starts until it is replaced, so the most is judged."""
    most = Figure("host: open files (most)", 0, lambda s: max((process.files for process in s.hosts), default=0))
    return replace(row_of(most, samples), growing=any((most.of(sample) or 0) > MOST_FILES for sample in samples))


def judged(samples: Sequence[Sample]) -> list[Row]:
    """The table; what comes before the end of the warm-up is left out."""
    warm = [sample for sample in samples if sample.seconds >= samples[-1].seconds * WARM_UP]
    rows = [*(row_of(figure, warm) for figure in FIGURES), row_of_files(warm)]
    within = row_within(warm)
    return [*rows, within] if within else rows


def printed(rows: Sequence[Row]) -> str:
    lines = ["| | start | end | slope per hour | |", "| --- | ---: | ---: | ---: | --- |"]
    for row in rows:
        verdict = "growing" if row.growing else "flat"
        lines.append(f"| {row.name} | {row.start:.1f} | {row.end:.1f} | {row.per_hour:+.1f} | {verdict} |")
    return "\n".join(lines)


def show(sample: Sample) -> None:
    rss, files = [host.rss // MB for host in sample.hosts], [host.files for host in sample.hosts]
    print(
        f"{sample.seconds:6.0f} s  worker {sample.supervisor.rss / MB:.1f} MB {sample.supervisor.threads} threads "
        f"{sample.supervisor.files} files  hosts {rss} MB {files} files  connections {sample.connections}  "
        f"sent {sample.sent} arrived {sample.arrived}  errors {sample.errors} repairs {sample.repairs} "
        f"closes {sample.closes}",
        flush=True,
    )


# ------------------------------------------------------------------------------------------------- the run


@dataclass(frozen=True)
class Ending:
    """How the worker ended."""

    status: int
    processes: int
    connections: int | None


def run(stage: Stage, options: argparse.Namespace) -> tuple[Soak, list[Sample], Ending]:
    numbers = [str(FIRST_PHONE + n) for n in range(options.phones)]
    stage.pair(*numbers)
    told = host_hook.install(stage.folder / "told")
    worker = stage.run(*numbers, "--sessions-per-host", str(options.per_host), python_path=(told,))
    with stage.all_connected(worker, tuple(numbers)) as until_connected:
        until_connected()
    peers = stage.peers()
    soak = Soak(stage, worker, peers, told, undamaged=options.undamaged)
    linked = [peers.link(f"peer {n}", str(FIRST_PEER + n)) for n in range(options.phones)]
    lives = [
        Life(soak, number, peer, options.seed + n, steady=n == 0, phones=options.phones)
        for n, (number, peer) in enumerate(zip(numbers, linked, strict=True))
    ]
    soak.began = time.monotonic()
    upheavals = (soak.outages, soak.kill_hosts, soak.kill_handlers)
    threads = [threading.Thread(target=work, daemon=True) for work in (*upheavals, *(life.run for life in lives))]
    for thread in threads:
        thread.start()
    samples: list[Sample] = []
    while soak.seconds() < options.minutes * 60 and worker.process.poll() is None:
        time.sleep(max(0, (len(samples) + 1) * SAMPLE_EVERY - soak.seconds()))
        if sample := take_sample(soak):
            samples.append(sample)
            show(sample)
    soak.stopping.set()
    for thread in threads:
        thread.join(2 * ARRIVAL)
    children = [process.pid for process in look_at_children(worker.process.pid)]
    status = worker.stop()
    ending = Ending(status, sum(look(pid) is not None for pid in children), stage.connections())
    return soak, samples, ending


def twice(worker: Worker) -> list[str]:
    """The messages that the handler got more than once."""
    return [text for text, count in worker.handled.items() if count > 1]


def came_late(soak: Soak) -> list[str]:
    """What was given up, and handled all the same."""
    handled = {key.partition(": ")[2] for key in soak.worker.handled}
    return [text for text in soak.tally.lost if text in handled]


def as_json(soak: Soak, samples: list[Sample], rows: list[Row], ending: Ending, *, ok: bool) -> dict[str, Any]:
    return {
        "ok": ok,
        "machine": machine(),
        "table": [asdict(row) for row in rows],
        **vars(soak.tally),
        "handled_twice": twice(soak.worker),
        "events": dict(soak.worker.counts),
        "ending": asdict(ending),
        "samples": [asdict(sample) for sample in samples],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--phones", type=int, default=50)
    parser.add_argument("--per-host", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--undamaged", action="store_true", help="damage no message (the worker remembers those for a day)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, each sample too, as JSON")
    options = parser.parse_args()
    with Stage(max_connections=str(4 * options.phones + 50)) as stage:
        soak, samples, ending = run(stage, options)
        rows = judged(samples)
    tally, counts = soak.tally, soak.worker.counts
    unwanted = {event: counts[event] for event in UNWANTED if counts[event]}
    orderly = ending.status == 0 and not ending.processes and not ending.connections
    growing = [row.name for row in rows if row.growing]
    ok = not (tally.lost or tally.incidents or unwanted or growing) and orderly
    print(f"\n{printed(rows)}\n")
    print("| messages | sent | arrived |\n| --- | ---: | ---: |")
    for kind in tally.sent:
        print(f"| {kind} | {tally.sent[kind]} | {tally.arrived[kind] or '-'} |")
    print(f"\ndatabase stops: {tally.outages}; scenes: {dict(tally.scenes)}")
    print(
        f"hosts killed: {tally.host_kills}, all back after {median(tally.back_after or [0])} s (median), "
        f"{max(tally.back_after, default=0)} s (most), messages that had not been told: {tally.with_hosts}"
    )
    print(f"handlers killed: {tally.handler_kills}, messages that they had in hand: {tally.with_handlers}")
    print(f"recorded as lost by the worker, though not damaged in every copy: {tally.recorded}")
    print(f"handled twice: {twice(soak.worker) or 'none'}")
    print(f"events: {dict(counts)}")
    print(f"end: exit status {ending.status}, {ending.processes} processes and {ending.connections} connections left")
    print(f"unwanted events: {unwanted or 'none'}; incidents: {tally.incidents or 'none'}")
    print(f"lost, though not damaged in every copy: {list(tally.lost.values()) or 'none'}")
    print(f"of these came later: {came_late(soak) or 'none'}")
    print(f"verdict: {'growing: ' + ', '.join(growing) if growing else 'flat'}")
    if options.json:
        options.json.write_text(json.dumps(as_json(soak, samples, rows, ending, ok=ok), indent=1) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
