"""The installed command as an operator or a cron job starts it."""

import fcntl
import json
import os
import pty
import struct
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import warm
from support.waiting import PATIENCE

PROGRAM = Path(sys.executable).with_name("wa-sessions")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        return self.data

    @property
    def data(self) -> dict[str, Any]:
        """The same whatever the exit status was."""
        return dict(json.loads(self.out))


class Terminal:
    """Runs commands with one environment, without a terminal unless ``typing`` is called."""

    def __init__(self, environment: Mapping[str, str], *program: str | Path) -> None:
        self.environment = {**os.environ, **environment}
        self._program = program or (PROGRAM,)

    def __call__(self, *arguments: str | bytes, **environment: str) -> Ended:
        done = warm.run(
            [*self._program, *arguments],
            env=self.environment | environment,
            stdin=warm.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def typing(self, line: str, *arguments: str) -> Ended:
        """Run a command at a terminal (its stdout is still ours) and type a line."""
        ours, theirs = pty.openpty()
        process: warm.Popen[bytes] = warm.Popen(
            [*self._program, *arguments], env=self.environment, stdin=theirs, stdout=warm.PIPE, stderr=theirs
        )
        os.close(theirs)
        os.write(ours, line.encode() + b"\n")
        out, _ = process.communicate(timeout=PATIENCE)
        shown = _all(ours)
        os.close(ours)
        return Ended(process.returncode, out.decode(), shown)

    def on_screen(self, lines: int, columns: int, *arguments: str) -> Ended:
        """Run a command that writes to a terminal of that size, stderr too; what it shows is in ``out``."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = warm.Popen(
            [*self._program, *arguments], env=self.environment, stdin=warm.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        shown = _all(ours)
        os.close(ours)
        return Ended(process.wait(PATIENCE), shown.replace("\r\n", "\n"), "")


def _all(terminal: int) -> str:
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        shown += part
    return shown.decode()
