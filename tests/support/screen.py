"""A program on a terminal of 80 columns and 24 lines, and what stands on it."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import pyte

_NOT_UNDERSTOOD = b"\x1b[<u"  # the end of kitty's keyboard protocol, which pyte would write out


class Screen:
    """A pseudo-terminal with an emulated screen; ``raw`` is all that was ever written to it."""

    def __init__(self, command: Sequence[object], environment: Mapping[str, str]) -> None:
        self.raw = b""
        self._screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition(threading.RLock())
        self._ours, self._theirs = pty.openpty()
        self._resize(80, 24)
        self._modes = termios.tcgetattr(self._theirs)
        self.process = subprocess.Popen(
            [os.fspath(word) for word in command],  # type: ignore[call-overload]
            env=dict(environment),
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        self._reader.join()
        os.close(self._ours)

    @property
    def lines(self) -> list[str]:
        """What stands there now."""
        with self._changed:
            return [line.rstrip() for line in self._screen.display]

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def wait(self, matches: Callable[[list[str]], bool] | str, timeout: float = 60) -> list[str]:
        """The lines, as soon as they are as expected, or have a text."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                lines = self.lines
                if any(matches in line for line in lines) if isinstance(matches, str) else matches(lines):
                    return lines
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError("\n".join(lines))

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal another size."""
        with self._changed:
            self._screen.resize(lines, columns)
            self._resize(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def ended(self, timeout: float = 10) -> int:
        """The exit status; the terminal has to be as it was before."""
        code = self.process.wait(timeout)
        assert termios.tcgetattr(self._theirs) == self._modes
        return code

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._ours, 65536)
            except OSError:  # Linux says so when the other side is closed
                return
            with self._changed:
                self.raw += part
                self._stream.feed(part.replace(_NOT_UNDERSTOOD, b""))
                self._changed.notify_all()
