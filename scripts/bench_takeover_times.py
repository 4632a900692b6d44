"""How long a session is without its worker, by what became of that worker.

    .venv/bin/python scripts/bench_takeover_times.py --rounds 20

Two machines (namespaces, see ``machines.py``), a worker on each that shares the phones with the other, a private
embedded database, and the emulator, whose own record is measured: the end of the old socket, and the new login.
Something becomes of a worker that has sessions; once all are connected again, and that worker is back, it is the next
one's turn. On a busy machine the figures are those of that machine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Self

import psycopg
from bench_support import Stage, Worker, machine
from cables import Cables
from chaos_computer import Computer
from machines import Kernel, Machine, kernel

from wa_sessions.emulator import overlapping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wa_sessions.emulator import Login

FIRST_PHONE = 77_051_000_001
PATIENCE = 60.0  # seconds for anything to come about
SETTLED = 1.5  # seconds of rest before a round
FROZEN = 12.0  # seconds that a stopped worker stays so
OWNERS = """
    SELECT split_part(split_part("phoneJid", ':', 1), '@', 1) AS number, worker.host, worker.pid
    FROM wa_sessions.lease JOIN wa_sessions.worker ON worker.id = lease.worker_id
    JOIN public."OrganizationPhone" AS phone ON phone.id = lease.phone_id
    WHERE lease.expires_at > clock_timestamp() AND worker.heartbeat_at > clock_timestamp() - interval '3 seconds'
"""
WORKERS = "SELECT count(*) FROM wa_sessions.worker WHERE heartbeat_at > clock_timestamp() - interval '3 seconds'"


@dataclass(frozen=True)
class Taken:
    """One session in one round. Seconds: from the event to the next login, and from the old socket's end to it."""

    what: str
    after_event: float
    without_socket: float
    overlapped: bool


@dataclass(frozen=True)
class What:
    """Something that becomes of a worker. ``same``: both workers are on one machine."""

    name: str
    do: Callable[[Computer], None]
    undo: Callable[[Computer], None]
    same: bool = False


def _kill(computer: Computer) -> None:
    computer.signal(signal.SIGKILL)


def _terminate(computer: Computer) -> None:
    computer.signal(signal.SIGTERM)


def _start_again(computer: Computer) -> None:
    if computer.wait(PATIENCE) is None:
        raise TimeoutError(f"the worker on {computer.name} does not end")
    computer.start()


def _pull(computer: Computer) -> None:
    computer.machine.pull_cable()


def _plug_in(computer: Computer) -> None:
    """It may have ended meanwhile, or be still there."""
    computer.machine.plug_in()


def _freeze(computer: Computer) -> None:
    computer.signal(signal.SIGSTOP)


def _thaw(computer: Computer) -> None:
    computer.signal(signal.SIGCONT)


WHATS = (
    What("SIGTERM, another machine takes over", _terminate, _start_again),
    What("SIGKILL, another machine takes over", _kill, _start_again),
    What("SIGKILL, another worker of the same machine takes over", _kill, _start_again, same=True),
    What("cable to the database pulled, no FIN", _pull, _plug_in),
    What("SIGSTOP", _freeze, _thaw),
)


class Bench:
    """Two workers; ``same``: on one machine."""

    def __init__(self, stage: Stage, numbers: Sequence[str], abilities: Kernel, *, same: bool) -> None:
        self.stage, self.numbers, self._abilities, self._same = stage, numbers, abilities, same
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            cables = stack.enter_context(Cables())
            names = ("machine-1",) if self._same else ("machine-1", "machine-2")
            emulator, paths = self.stage.emulator, (self.stage.socket_path,)
            there = [stack.enter_context(Machine(name, emulator, paths, cables, self._abilities)) for name in names]
            self.computers = []
            for one in (there * 2)[:2]:
                self.computers.append(Computer(one, self._start))
                stack.callback(self.computers[-1].close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for computer in self.computers:
            computer.signal(signal.SIGTERM)
        for computer in self.computers:
            computer.wait()
        self._stack.close()

    def _start(self, there: Machine) -> Worker:
        return Worker([], there.environment(self.stage.environment()), launcher=there.launcher)

    def round(self, what: What) -> list[Taken]:
        """Once. Raises TimeoutError."""
        self.until_all_is_well()
        time.sleep(SETTLED)
        victim, numbers = self._victim()
        before = self._last_logins()
        began = time.monotonic()
        what.do(victim)
        try:
            taken = [self._taken(what, number, before[number], began) for number in numbers]
            if what.do is _freeze:
                time.sleep(max(0.0, began + FROZEN - time.monotonic()))
        finally:
            what.undo(victim)
        return taken

    def until_all_is_well(self) -> None:
        """Until both workers are there and all phones connected."""
        deadline = time.monotonic() + PATIENCE
        while not self._well():
            for computer in self.computers:
                if computer.worker.process.poll() is not None:
                    computer.start()
            if time.monotonic() > deadline:
                last = [list(computer.worker.lines.recent)[-3:] for computer in self.computers]
                raise TimeoutError(f"not all is well after {PATIENCE:g} s: {last}")
            time.sleep(0.1)

    def _well(self) -> bool:
        emulator, devices = self.stage.emulator, self.stage.devices
        if not all(emulator.connected(devices[number]) for number in self.numbers):
            return False
        seen = [computer.worker.counts for computer in self.computers]
        if not all(counts["standing_by"] or counts["taken"] for counts in seen):
            return False  # it has begun, and not looked at the others yet
        with psycopg.connect(self.stage.url) as conn:
            row = conn.execute(WORKERS).fetchone()
            owned = {number for number, *_ in conn.execute(OWNERS)}
        return row is not None and row[0] == 2 and owned == {*self.numbers}

    def _victim(self) -> tuple[Computer, list[str]]:
        """A worker with sessions, and their numbers."""
        with psycopg.connect(self.stage.url) as conn:
            owners = conn.execute(OWNERS).fetchall()
        for computer in self.computers:
            if numbers := [number for number, *owner in owners if owner == [computer.name, computer.inner_pid]]:
                return computer, numbers
        raise TimeoutError("nobody has a session")

    def _last_logins(self) -> dict[str, Login]:
        devices = {str(self.stage.devices[number].jid): number for number in self.numbers}
        return {devices[login.device]: login for login in self.stage.emulator.logins if login.device in devices}

    def _taken(self, what: What, number: str, before: Login, began: float) -> Taken:
        deadline = began + PATIENCE
        device = self.stage.devices[number]
        while (last := self._last_logins()[number]).began <= before.began:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{number} was not taken over within {PATIENCE:g} s of {what.name}")
            time.sleep(0.02)
        self.stage.emulator.wait_connected(device, PATIENCE)
        logins = [login for login in self.stage.emulator.logins if login.device == before.device]
        (first,) = [login for login in logins if login.began == before.began]
        ended = first.ended if first.ended is not None else last.began
        overlapped = any(one.began == first.began for one, _ in overlapping(logins))
        return Taken(what.name, last.began - began, last.began - min(ended, last.began), overlapped)


def table(taken: Sequence[Taken]) -> str:
    """Median and worst."""
    lines = [
        "| what | sessions | next login after it, s: median / worst | of that without a socket, s: median / worst |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(one.what for one in taken):
        mine = [one for one in taken if one.what == name]
        cells = [
            f"{median(values):.1f} / {max(values):.1f}"
            for values in ([one.after_event for one in mine], [one.without_socket for one in mine])
        ]
        lines.append(f"| {name} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--phones", type=int, default=3)
    parser.add_argument("--only", help="only what has this in its name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every takeover as JSON")
    options = parser.parse_args()
    abilities = kernel()
    if abilities.why_not:
        print(abilities.why_not, file=sys.stderr)
        return 2
    numbers = [str(FIRST_PHONE + n) for n in range(options.phones)]
    taken: list[Taken] = []
    failed: list[str] = []
    with Stage(max_connections="200") as stage:
        stage.pair(*numbers)
        for same in (False, True):
            whats = [one for one in WHATS if one.same is same and (options.only or "") in one.name]
            if not whats:
                continue
            with Bench(stage, numbers, abilities, same=same) as bench:
                for what in whats:
                    for number in range(options.rounds):
                        try:
                            found = bench.round(what)
                        except TimeoutError as error:
                            failed.append(f"{what.name}, round {number + 1}: {error}")
                            print(failed[-1], file=sys.stderr, flush=True)
                            continue
                        taken += found
                        times = ", ".join(f"{one.after_event:.2f} ({one.without_socket:.2f})" for one in found)
                        load = os.getloadavg()[0]
                        print(f"{load:.1f} load: {what.name}, {number + 1}: {times}", file=sys.stderr, flush=True)
    print(f"{machine()}; {options.rounds} rounds each, {options.phones} phones\n\n{table(taken)}")
    overlaps = sum(one.overlapped for one in taken)
    print(f"\ntwo sockets at a time: {overlaps or 'never'}; rounds that failed: {len(failed) or 'none'}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in taken], indent=1) + "\n")
    return 1 if failed or overlaps else 0


if __name__ == "__main__":
    sys.exit(main())
