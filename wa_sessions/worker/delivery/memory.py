"""``--inbox memory``: messages wait in the worker alone. What waits when it ends is lost, counted and told."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from wa_sessions.db.phones import Phone
from wa_sessions.worker.delivery.queue import DeliveryQueue, Queued
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.processes import DeliveryWorker

PATIENCE = 8.5
"""Seconds that what waits in memory alone has to be handled when its phone is another worker's."""


class MessageQueue(Protocol):
    """Where messages wait for their handler.

    ``durable``: what a handler has in hand can be given back. ``patience``: seconds that handlers have for the messages
    of a phone that leaves.
    """

    durable: bool
    patience: float

    @property
    def waiting(self) -> int:
        """Messages in memory that no handler has in hand."""

    @property
    def in_hand(self) -> int:
        """Messages that handlers have in hand."""

    @property
    def unsettled(self) -> bool:
        """Whether something would be lost, or done twice, if the worker ended now."""

    def unsettled_of(self, phone_id: int) -> bool:
        """Whether something of this phone is not safe yet, besides what handlers have in hand."""

    def waiting_of(self, phone_id: int) -> int:
        """Messages of this phone that no handler has in hand, as far as is known without asking the database."""

    def waiting_by_phone(self) -> dict[int, int]:
        """The same of each phone that has any."""

    def begin(self, worker: DeliveryWorker) -> None:
        """Whose messages they are."""

    def serve(self, phone: Phone) -> None:
        """The worker runs this phone."""

    def forget(self, phone_id: int) -> None:
        """It runs this phone no more."""

    def put(self, phone_id: int, message: IncomingMessage, client: int) -> bool:
        """Take a message; False if it came before."""

    def take(self) -> Queued | None:
        """The next message, in hand until ``finish``."""

    def finish(self, item: Queued, error: str | None, *, transient: bool = False) -> bool:
        """A handler has taken it, or failed at it; whether that belongs into the history."""

    def hold_back(self, phone_id: int) -> None:
        """Hand out no more of this phone of what stands in the database."""

    def give_back(self, item: Queued) -> None:
        """Nobody has it in hand any more, and what becomes of it is another worker's matter."""

    def store_back(self) -> None:
        """The database answers again."""

    def close(self) -> None:
        """Hand out no more of what stands in the database."""

    def clear(self) -> dict[int, int]:
        """Drop everything; how many messages of each phone are lost."""

    async def run(self, wake: Callable[[], None]) -> None:
        """Keep it going, until cancelled; ``wake`` is called when there may be something to take or all is settled."""


class MemoryQueue:
    """A message is handed over once, whatever becomes of it."""

    durable, patience = False, PATIENCE

    def __init__(self) -> None:
        self._queue = DeliveryQueue()
        self.waiting_of, self.waiting_by_phone = self._queue.waiting_of, self._queue.waiting_by_phone
        self.take, self.clear, self.forget = self._queue.take, self._queue.clear, self._queue.forget

    @property
    def waiting(self) -> int:
        return self._queue.waiting

    @property
    def in_hand(self) -> int:
        return self._queue.in_hand

    @property
    def unsettled(self) -> bool:
        return bool(self._queue.waiting or self._queue.in_hand)

    def unsettled_of(self, phone_id: int) -> bool:
        return self._queue.waiting_of(phone_id) > 0

    def hold_back(self, phone_id: int) -> None:
        """What waits can only be handled here."""

    def give_back(self, item: Queued) -> None:
        self._queue.finish(item)

    def begin(self, worker: DeliveryWorker) -> None:
        """It tells the worker nothing: its hosts wait for nobody."""

    def serve(self, phone: Phone) -> None:
        """Nothing of it is there yet."""

    def put(self, phone_id: int, message: IncomingMessage, _client: int) -> bool:
        return self._queue.put(phone_id, message)

    def finish(self, item: Queued, _error: str | None, *, transient: bool = False) -> bool:  # noqa: ARG002
        self._queue.finish(item)
        return True

    def store_back(self) -> None:
        """It has none."""

    def close(self) -> None:
        """What waits can only be handled now."""

    async def run(self, _wake: Callable[[], None]) -> None:
        await asyncio.Event().wait()
