"""What it means for sockets that messages cannot be written: for a moment nothing, then they close until it is over."""

import time

from wa_sessions.errors import StoreAway, WaSessionsError
from wa_sessions.worker import log
from wa_sessions.worker.delivery.unwritten import Unwritten
from wa_sessions.worker.processes import DeliveryWorker

STUCK_AFTER = 1.0
"""Seconds without a commit until the sessions concerned close their sockets: WhatsApp keeps what comes then."""


class Jam:
    """Whether there is one, since when, and whose sockets are closed for it."""

    def __init__(self, unwritten: Unwritten) -> None:
        self._unwritten = unwritten
        self._since: float | None = None
        self._said = self._slow = False
        self._stuck: frozenset[int] = frozenset()
        self._worker: DeliveryWorker

    def begin(self, worker: DeliveryWorker) -> None:
        """Whose sockets they are."""
        self._worker = worker

    def told(self, phone_id: int) -> None:
        """A phone told something more."""
        if (self._stuck or self._slow) and phone_id not in self._stuck:
            self._get_stuck()

    def slow(self) -> None:
        """There was no answer for ``STUCK_AFTER``: until there is one nothing that is told is safe."""
        self._slow = True
        self._worker.suspect_store()
        self._get_stuck()

    def hindered(self, error: WaSessionsError, *, unsafe: bool) -> None:
        """Something stands in the way; ``unsafe``: of messages too, that hosts told."""
        now, self._slow = time.monotonic(), False
        if self._since is None:
            self._since = now
            if isinstance(error, StoreAway):
                self._worker.suspect_store()
        if self._unwritten and not self._said:
            self._said = True
            log.warn(f"the inbox is not written: {error}; it is tried again", event="inbox_not_written")
        if unsafe and now - self._since >= STUCK_AFTER:
            self._get_stuck()

    def over(self) -> None:
        """Nothing stands in the way."""
        self._since, self._said = None, False

    def written(self) -> None:
        """There is an answer; once all messages are written, sockets may open."""
        self._slow = False
        if self._stuck and not self._unwritten:
            self._stuck = frozenset()
            self._worker.inbox_free()

    def _get_stuck(self) -> None:
        """Have the sockets closed of those who told something that is not safe."""
        concerned = frozenset(self._unwritten.by_phone) - self._stuck
        if concerned:
            self._stuck |= concerned
            self._worker.inbox_stuck(concerned)
