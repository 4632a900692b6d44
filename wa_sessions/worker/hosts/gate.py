"""Who may enter neonize's Go library now.

neonize 0.5.2 keeps its clients in Go maps without a lock: a start or a stop writes them, every other call on a client
looks into them first. A look during a write ends the whole process (*concurrent map read and map write*; without a gate
within 6-9 s of constant starts, stops and looks, 3 of 3). So starts and stops go one at a time, and nothing enters
meanwhile.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SETTLE = 0.02
"""Seconds for calls that were let in to be past their look; how long they stay in Go afterwards is no matter."""

PATIENCE = 1.0
"""Seconds that a writer keeps looks and stops out. A start that takes longer hangs in a dial, having written: what
could still meet is one look of 0.1 microseconds, against sessions that could not be ended."""


class MapGate:
    """One writer at a time and no reader beside it. Those who end something go before those who start something."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._writers: dict[object, float] = {}  # each with the time at which it began
        self._looking = 0
        self._waiting = 0

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Write the maps when nobody waits with anything else; may be held for seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._writers or self._waiting))
            writer = self._close()
        with self._open_after(writer):
            yield

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Write the maps before any start that waits."""
        with self._changed:
            self._wait()
            writer = self._close()
        with self._open_after(writer):
            yield

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Read the maps, at the beginning of this block."""
        with self._changed:
            self._wait()
            self._looking += 1
        try:
            yield
        finally:
            with self._changed:
                self._looking -= 1
                self._changed.notify_all()

    def _wait(self) -> None:
        """Until no writer has been at it for less than ``PATIENCE``."""
        self._waiting += 1
        while (left := max(self._writers.values(), default=-PATIENCE) + PATIENCE - time.monotonic()) > 0:
            self._changed.wait(left)
        self._waiting -= 1
        self._changed.notify_all()

    def _close(self) -> object:
        """Let nobody in, and wait for those inside."""
        writer = object()
        self._writers[writer] = time.monotonic()
        self._changed.wait_for(lambda: not self._looking, SETTLE)
        return writer

    @contextmanager
    def _open_after(self, writer: object) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                del self._writers[writer]
                self._changed.notify_all()
