"""How many messages a client may tell before the worker has written them: then its callback waits, and Go with it.

neonize calls back one event at a time and keeps a hundred more in a queue of its own; what stands there has been
acknowledged to WhatsApp as well. To wait for each message would leave the others in this process, where a kill loses
them: so a client goes on as long as few are on their way, and the queue stays empty.
"""

import threading
import time

WINDOW = 64
"""Messages of a client that may be on their way into the inbox."""

PATIENCE = 10.0
"""Seconds that a callback waits at most: the worker has closed the client by then, or is gone."""


class DeliveryWindow:
    """Lets ``size`` messages be on their way; 0: any number."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._changed = threading.Condition()
        self._on_their_way = 0
        self._open = size == 0

    def told(self) -> None:
        """A message was told; returns when there is room for another, or after ``PATIENCE``."""
        if self._open:
            return
        end = time.monotonic() + PATIENCE
        with self._changed:
            self._on_their_way += 1
            while not self._open and self._on_their_way >= self._size and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)

    def taken(self, count: int) -> None:
        """So many are safe."""
        with self._changed:
            self._on_their_way = max(0, self._on_their_way - count)
            self._changed.notify()

    def open(self) -> None:
        """The client ends: nothing of it may wait any more."""
        with self._changed:
            self._open = True
            self._changed.notify_all()
