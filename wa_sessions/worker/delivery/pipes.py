"""Reading a handler's pipe or socket on the event loop: as it fills, in bounded bites, without waiting for its end.

An end of file is never relied upon: a process that the handler left behind may hold the other end for ever.
"""

import asyncio
import os
from collections.abc import Callable

BITE = 1 << 16
"""Bytes that are read at once: what a pipe of Linux holds."""

RATE = 16 << 20
"""Bytes that are read in a second; who writes more has to wait, so that the loop has time for others."""


class PipeReader:
    """Gives what comes on a file descriptor, which it owns, to ``take``."""

    def __init__(self, fd: int, take: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._second = self._loop.time()
        self._read = 0
        self._pause: asyncio.TimerHandle | None = None
        self._open = True
        self._loop.add_reader(fd, self._bite)

    def read_now(self) -> None:
        """Give what is there already; more than a pipe holds is left for later."""
        if self._open and not self._pause:
            self._bite()

    def close(self) -> None:
        """Read no more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
        if self._pause:
            self._pause.cancel()

    def _bite(self) -> None:
        try:
            data = os.read(self._fd, BITE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._keep_to_rate(len(data))
        self._take(data)

    def _keep_to_rate(self, size: int) -> None:
        now = self._loop.time()
        if now >= self._second + 1:
            self._second, self._read = now, 0
        self._read += size
        if self._read > RATE:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_at(self._second + 1, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._fd, self._bite)
