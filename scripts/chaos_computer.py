"""A machine and the worker that runs on it, for a service manager and for whoever does something to them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from machines import only_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench_support import Worker
    from machines import Machine

END = 25.0  # seconds for a worker to end after SIGTERM: it promises ten, on a machine that is not busy


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
        return [pid for pid in self.machine.processes() if what in command_line(pid)]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
