"""Hands messages to the operator's handler: in order for each chat, in processes that may fail, hang or die."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from wa_sessions.db.phones import Phone
from wa_sessions.errors import UsageError
from wa_sessions.health.events import workers as events
from wa_sessions.worker import log
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.delivery.handler_process import HandlerEnded, HandlerProcess
from wa_sessions.worker.delivery.memory import MemoryQueue, MessageQueue
from wa_sessions.worker.delivery.queue import Queued
from wa_sessions.worker.delivery.spec import HandlerSpec
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.ports import HandlerEvent
from wa_sessions.worker.processes import DeliveryWorker

SLOW_AFTER = 5.0
"""Seconds that a message may take before it is told."""

TIMEOUT = "timeout"
"""The error of a message that took too long."""

MANY = 10_000
"""Waiting messages from which on the log warns, again at each doubling."""

RESTART_FIRST, RESTART_MOST = 0.1, 30.0
"""Seconds before a process that ended is started again."""

HASTE = 0.2
"""Seconds that a process has for its end after SIGTERM, as another worker waits for its message."""

WRITE_TIMEOUT = 2.0
"""Seconds that what came of a phone may take into the inbox, when another worker is to run it."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a message in hand: how it failed, if it did, and whether that ended the process.

    ``broken``: the handler is, whatever the message.
    """

    error: str | None = None
    transient: bool = False
    ended: bool = False
    broken: bool = False


@dataclass(slots=True, eq=False)
class _Hand:
    """A message that a handler has, and how long it may. ``taken_away``: the next worker hands it over again."""

    item: Queued
    limit: asyncio.Timeout
    taken_away: bool = False


class Dispatcher:
    """Takes messages out of a queue, and has one of ``processes`` handler processes take them.

    A handler that fails, or needs more than ``timeout`` seconds, is told; the queue knows whether the message is tried
    again. ``tell`` gets what belongs into a phone's history, ``output`` a phone's number (empty where no message was in
    hand yet) and a line that a handler printed. Without a handler nothing is kept.
    """

    def __init__(
        self,
        handler: HandlerSpec | None,
        queue: MessageQueue | None = None,
        *,
        processes: int = 2,
        timeout: float = 60.0,
        slow_after: float = SLOW_AFTER,
        tell: Callable[[int, HandlerEvent], None],
        output: Callable[[str, str], None],
    ) -> None:
        self._handler = handler
        self._timeout = timeout
        self._slow_after = slow_after
        self._tell = tell
        self._output = output
        self._queue: MessageQueue = queue or MemoryQueue()
        self._changed = [asyncio.Event() for _ in range(processes)]
        self._hands: dict[asyncio.Event, _Hand] = {}
        self._held_back: dict[int, float] = {}
        self._settled = asyncio.Event()
        self._lanes: list[asyncio.Task[None]] = []
        self._keeping: asyncio.Task[None] | None = None
        self._warned_at = MANY
        self._breaks = 0
        self._told_broken: set[int] = set()
        self._closing = self._over = False

    @property
    def waiting(self) -> int:
        """Messages that no handler has in hand yet."""
        return self._queue.waiting

    @property
    def in_hand(self) -> int:
        """Messages that handlers have in hand."""
        return self._queue.in_hand

    def waiting_by_phone(self) -> dict[int, int]:
        """Messages that no handler has in hand yet, of each phone that has any."""
        return self._queue.waiting_by_phone()

    def begin(self, worker: DeliveryWorker) -> None:
        """Whose messages they are."""
        self._queue.begin(worker)

    def serve(self, phone: Phone) -> None:
        """The worker runs this phone from now on."""
        self._held_back.pop(phone.id, None)
        if self._handler is not None:
            self._queue.serve(phone)

    def put(self, phone_id: int, message: IncomingMessage, client: int) -> None:
        """Queue a message whose ``phone`` is set, unless it came before; never waits."""
        if self._handler is None or not self._queue.put(phone_id, message, client):
            return
        if self._over:
            self._count_unfinished()
            return
        self._wake()
        self._warn_of_many()

    def forget(self, phone_id: int) -> None:
        """The worker runs this phone no more. What waits in memory alone is handed over still."""
        self._held_back.pop(phone_id, None)
        self._queue.forget(phone_id)

    def hold_back(self, phone_id: int) -> None:
        """Begin with no message of this phone any more that stands in the inbox: another worker is to run it."""
        deadline = asyncio.get_running_loop().time() + self._queue.patience
        self._held_back.setdefault(phone_id, deadline)
        self._queue.hold_back(phone_id)

    async def settled(self, phone_id: int) -> None:
        """Return when no handler has a message of this phone, and what came of it is safe.

        A handler that needs longer than the queue's ``patience`` since ``hold_back`` is ended if its message stands in
        the inbox: whoever runs the phone next hands it over again.
        """
        self.hold_back(phone_id)
        if await self._is_settled(phone_id, self._held_back[phone_id]) or not self._queue.durable:
            return
        for hand in self._hands.values():
            if hand.item.phone_id == phone_id:
                hand.taken_away = True
                hand.limit.reschedule(asyncio.get_running_loop().time())
        await self._is_settled(phone_id, asyncio.get_running_loop().time() + WRITE_TIMEOUT)

    async def _is_settled(self, phone_id: int, deadline: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self._queue.unsettled_of(phone_id) or self._has_in_hand(phone_id):
                    self._settled.clear()
                    await self._settled.wait()
                return True
        return False

    def _has_in_hand(self, phone_id: int) -> bool:
        return any(hand.item.phone_id == phone_id for hand in self._hands.values())

    def store_back(self) -> None:
        """The database answers again."""
        self._queue.store_back()

    def wind_down(self) -> None:
        """The worker ends: begin with no message any more that will be there after it."""
        self._closing = True
        self._queue.close()

    async def run(self) -> None:
        """Keep the processes up and hand over what comes, until ``drain``, or until it is cancelled."""
        if self._handler is None or self._over:
            return
        try:
            async with asyncio.TaskGroup() as group:
                self._keeping = group.create_task(self._queue.run(self._look_again))
                self._lanes = [group.create_task(self._keep_up(self._handler, event)) for event in self._changed]
        finally:
            self._finish()

    async def drain(self, seconds: float) -> None:
        """Let handlers end what they have in hand, for ``seconds`` at most, and end them within 2 seconds more.

        So long what waits in memory alone is handled too, or written. What of that is left is told, one
        ``handler_unfinished`` for each phone.
        """
        self._queue.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._queue.unsettled:
                    self._settled.clear()
                    await self._settled.wait()
        self._finish()
        tasks = [*self._lanes, *([self._keeping] if self._keeping else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _finish(self) -> None:
        self._over = True
        self._count_unfinished()

    def _count_unfinished(self) -> None:
        for phone_id, left in self._queue.clear().items():
            self._tell(phone_id, events.HandlerUnfinished(left))

    def _look_again(self) -> None:
        self._settled.set()
        self._wake()

    def _wake(self) -> None:
        for event in self._changed:
            event.set()

    def _warn_of_many(self) -> None:
        waiting = self._queue.waiting
        if waiting >= self._warned_at:
            log.warn(f"{waiting} messages wait for the handler, in memory", event="handler_behind", waiting=waiting)
            self._warned_at = 2 * waiting
        elif waiting < MANY // 2:
            self._warned_at = MANY

    async def _keep_up(self, handler: HandlerSpec, changed: asyncio.Event) -> None:
        """One lane: a process, and another one when it has ended."""
        backoff = Backoff(RESTART_FIRST, RESTART_MOST)
        while not self._over:
            try:
                async with HandlerProcess.running(handler, self._output, changed.set) as process:
                    if not await self._feed(process, changed, backoff):
                        continue
            except (HandlerEnded, UsageError) as error:
                self._tell_ended(str(error))
            finally:
                taken_away = self._give_back(changed)
            if taken_away and self._closing:
                return
            await asyncio.sleep(backoff.next())

    def _give_back(self, lane: asyncio.Event) -> bool:
        """Whether the message of a process that has ended is another worker's: it had to end before that begins."""
        if (hand := self._hands.pop(lane, None)) is None:
            return False
        self._queue.give_back(hand.item)
        self._look_again()
        return True

    async def _feed(self, process: HandlerProcess, changed: asyncio.Event, backoff: Backoff) -> bool:
        """Hand over what comes until a message takes too long (False) or ends the process (True).

        Raises HandlerEnded if the process ends with nothing in hand.
        """
        while True:
            item = await self._next(process, changed)
            breaks = self._breaks
            outcome = await self._hand_over(process, item, changed)
            if changed in self._hands or outcome.error == TIMEOUT or outcome.ended:
                return outcome.ended
            if outcome.broken:
                continue
            backoff.reset()
            if breaks == self._breaks:
                self._told_broken.clear()

    async def _next(self, process: HandlerProcess, changed: asyncio.Event) -> Queued:
        while True:
            changed.clear()
            process.check()
            if item := self._queue.take():
                return item
            await changed.wait()

    async def _hand_over(self, process: HandlerProcess, item: Queued, lane: asyncio.Event) -> _Outcome:
        """What became of the message; the queue knows it, and whoever keeps the history."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        watch = loop.call_later(self._slow_after, self._tell_slow, item)
        hand = self._hands[lane] = _Hand(item, asyncio.timeout(self._timeout))
        try:
            outcome = await self._attempt(process, hand)
        finally:
            watch.cancel()
            if not hand.taken_away:
                del self._hands[lane]
        if hand.taken_away and outcome.error == TIMEOUT:
            await process.end(HASTE)
            return outcome
        self._hands.pop(lane, None)
        news = self._queue.finish(item, outcome.error, transient=outcome.transient)
        self._look_again()
        if outcome.error is not None:
            told = events.HandlerEnded if outcome.ended else events.HandlerFailed
            seconds = round(loop.time() - started, 3)
            self._tell_failed(item, told(item.message.id, outcome.error, seconds), news=news)
        return outcome

    async def _attempt(self, process: HandlerProcess, hand: _Hand) -> _Outcome:
        try:
            async with hand.limit:
                failed = await process.hand_over(hand.item.message)
        except TimeoutError:
            return _Outcome(TIMEOUT)
        except HandlerEnded as ended:
            return _Outcome(str(ended), ended=True)
        return _Outcome(failed.error, failed.transient, broken=failed.broken) if failed else _Outcome()

    def _tell_failed(self, item: Queued, event: events.HandlerFailed | events.HandlerEnded, *, news: bool) -> None:
        """The history has a message's first failure; the log has the others."""
        if news:
            self._tell(item.phone_id, event)
            return
        log.warn(
            f"the message handler failed again: {event.error}",
            phone=item.message.phone or None,
            event=event.kind,
            message_id=event.message_id,
            error=event.error,
        )

    def _tell_slow(self, item: Queued) -> None:
        waiting = self._queue.waiting_of(item.phone_id)
        event = events.HandlerSlow(item.message.id, self._slow_after, waiting)
        self._tell(item.phone_id, event)

    def _tell_ended(self, error: str) -> None:
        """A process ended with nothing in hand: each phone that waits is told, once until the handler works again.

        It works when it has dealt with a message that it got after the last such end.
        """
        log.warn(f"the handler's process ended: {error}", event="handler_ended", error=error)
        self._breaks += 1
        for phone_id, count in self._queue.waiting_by_phone().items():
            if phone_id not in self._told_broken:
                self._told_broken.add(phone_id)
                self._tell(phone_id, events.HandlerEnded(error=error, waiting=count))
