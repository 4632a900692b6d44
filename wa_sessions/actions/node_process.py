"""Stopping the Node backend while rows that it has in memory are changed: it would write them back for 300 s."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Self

from wa_sessions.errors import UsageError, WaSessionsError

STOP_VARIABLE, START_VARIABLE = "WA_SESSIONS_STOP_COMMAND", "WA_SESSIONS_START_COMMAND"
_ENDING = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """The shell commands that stop and start the backend's process."""

    stop: str
    start: str

    @classmethod
    def configured(cls, stop: str | None, start: str | None) -> Self | None:
        """The commands as given, else those of the environment; None for none. Raises UsageError for one alone."""
        stop = stop or os.environ.get(STOP_VARIABLE) or None
        start = start or os.environ.get(START_VARIABLE) or None
        if stop is None and start is None:
            return None
        if stop is None or start is None:
            missing = "--stop-command" if stop is None else "--start-command"
            raise UsageError(f"{missing} is missing: what is stopped has to be started again, and the other way round")
        return cls(stop, start)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process, and start it again whatever happens, on Ctrl-C and SIGTERM too.

        Raises WaSessionsError where the stop fails, before the block is entered, and where the start fails.
        """
        with ending_raises():
            try:
                self._run(self.stop, "the stop command failed, so nothing was changed")
                yield
            finally:
                self._run(self.start, "THE NODE PROCESS IS DOWN: the start command failed; start it by hand")

    def _run(self, command: str, complaint: str) -> None:
        """What the command says goes to stderr."""
        status = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=2, check=False).returncode
        if status != 0:
            raise WaSessionsError(f"{complaint} (exit {status}: {command})")


@contextlib.contextmanager
def ending_raises() -> Iterator[None]:
    """Turn the signals that end a process into KeyboardInterrupt, so that what was begun is ended too."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
