"""The durable inbox: what hosts tell is written, and goes when its handler has taken it.

One task writes, deletes and notes failures, all that has come up meanwhile in one transaction, and reads in the next:
many phones share a commit, and while one is under way the next is gathered.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from wa_sessions.db.gateway import Database
from wa_sessions.db.inbox import Failure, RowKey
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Conflict, UsageError, WaSessionsError
from wa_sessions.wording import counted
from wa_sessions.worker import log
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.delivery.jam import STUCK_AFTER, Jam
from wa_sessions.worker.delivery.queue import CameBefore, Queued
from wa_sessions.worker.delivery.retries import RetryPolicy as RetryPolicy
from wa_sessions.worker.delivery.transaction import LOOK, Done, Work, carry_out, key_of, say_set_aside, stored, told
from wa_sessions.worker.delivery.unwritten import Unwritten
from wa_sessions.worker.delivery.window import Key, Stored, Window
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.processes import DeliveryWorker

LOOK_EVERY = 5.0
"""Seconds between looks for what others have put into the table, or want to be tried again."""

RETRY_FIRST, RETRY_MOST = 0.05, 1.0
"""Seconds between attempts to write while the database does not take it."""

PATIENCE = 2.0
"""Seconds that handlers have for the messages of a phone that another worker is to run."""


class Inbox:
    """The queue before the handler, in the database. To be used on one event loop, with ``run`` as a task of it."""

    durable, patience = True, PATIENCE

    def __init__(self, database: Database, policy: RetryPolicy | None = None) -> None:
        self._database, self._policy = database, policy or RetryPolicy()
        self._worker: DeliveryWorker
        self._window = Window(hold=self._policy.hold)
        self._phones: dict[int, Phone] = {}
        self._known = CameBefore()
        self._thread = ThreadPoolExecutor(1, "inbox")
        self._unwritten = Unwritten()
        self._handled: list[RowKey] = []
        self._failed: list[Failure] = []
        self._stumbles: Counter[Key] = Counter()
        self._look_at: dict[int, str] = {}
        self._looked = time.monotonic()
        self._changed, self._answers = asyncio.Event(), asyncio.Event()
        self._jam = Jam(self._unwritten)
        self._apart = self._closed = False
        self._wake: Callable[[], None] = lambda: None
        self.handled_total = self.dead_total = 0

    # ------------------------------------------------------------------------------------- what the worker tells

    def begin(self, worker: DeliveryWorker) -> None:
        """Whose inbox this is."""
        self._worker = worker
        self._jam.begin(worker)

    def serve(self, phone: Phone) -> None:
        """This worker runs the phone: what stands in the table of it is handled first."""
        self._phones[phone.id] = phone
        self._window.serve(phone.id)
        self._look_at[phone.id] = ""
        self._changed.set()

    def forget(self, phone_id: int) -> None:
        """The worker runs this phone no more; what is told of it still is written, for whoever does."""
        self._phones.pop(phone_id, None)
        self._window.forget(phone_id)
        self._known.forget(phone_id)

    def hold_back(self, phone_id: int) -> None:
        """Hand out no more of this phone; what is told is written on."""
        self._window.forget(phone_id)

    def put(self, phone_id: int, message: IncomingMessage, client: int) -> bool:
        """Take a message; its client is told when it is written. False if it is one of the last, come again."""
        if self._known.came(phone_id, message):
            self._worker.message_taken(client, 1)
            return False
        self._unwritten.add(told(phone_id, message, client))
        self._jam.told(phone_id)
        self._changed.set()
        return True

    def store_back(self) -> None:
        """The database answers again."""
        self._answers.set()

    # ----------------------------------------------------------------------------------------- for the dispatcher

    @property
    def waiting(self) -> int:
        """Messages in memory that no handler has in hand: those being written, and those to be handled next."""
        return len(self._unwritten) + self._window.in_memory

    @property
    def unwritten(self) -> int:
        """Messages that do not stand in the table yet."""
        return len(self._unwritten)

    @property
    def in_hand(self) -> int:
        """Messages that handlers have in hand."""
        return self._window.in_hand

    @property
    def unsettled(self) -> bool:
        """Whether the worker's end has to wait: for a handler, or for the database."""
        return bool(self.in_hand or self._unwritten or self._handled or self._failed)

    def unsettled_of(self, phone_id: int) -> bool:
        """Whether something of this phone is not in the database yet, besides what handlers have in hand."""
        keys = (*self._handled, *(one.key for one in self._failed))
        return any(key.phone_id == phone_id for key in keys) or self._unwritten.by_phone[phone_id] > 0

    def waiting_of(self, phone_id: int) -> int:
        """Messages of this phone that nobody has in hand, as far as is known without asking the database."""
        return self._window.waiting_of(phone_id)

    def waiting_by_phone(self) -> dict[int, int]:
        """The same of each phone that has any."""
        return {phone_id: count for phone_id in self._window.phones if (count := self.waiting_of(phone_id))}

    def close(self) -> None:
        """Hand out nothing any more; what is told is written on."""
        self._closed = True

    def take(self) -> Queued | None:
        """The next message, which is in hand until ``finish``."""
        row = None if self._closed else self._window.take()
        return Queued(row.phone_id, row.message, row) if row else None

    def give_back(self, item: Queued) -> None:
        """Nobody has it in hand any more; it stands in the table as before."""
        assert item.row
        self._window.finish(item.row)

    def finish(self, item: Queued, error: str | None, *, transient: bool = False) -> bool:
        """A handler has taken it, or failed at it; whether that belongs into the history."""
        row = item.row
        assert row
        self._changed.set()
        if error is not None:
            return self._fail(row, error, transient=transient)
        self._handled.append(key_of(row))
        self.handled_total += 1
        self._stumbles.pop(row.key, None)
        self._window.finish(row)
        return True

    def clear(self) -> dict[int, int]:
        """What nobody will handle after the worker's end: nothing that stands in the table."""
        if self._unwritten:
            count, lost = len(self._unwritten), self._unwritten.by_phone
            words = f"{counted(count, 'message')} could not be written before the end"
            log.error(f"{words}: the database takes none", event="inbox_lost", waiting=count, phone_ids=sorted(lost))
        return {}

    def _fail(self, row: Stored, error: str, *, transient: bool) -> bool:
        """Note the failure, and when it is tried again. What a receiver that is away refuses is no attempt."""
        attempts = row.attempts + (not transient)
        self._stumbles[row.key] += 1
        news = self._stumbles[row.key] == 1
        dead = not transient and attempts >= self._policy.attempts
        pause = 0.0 if dead else self._policy.pause(self._stumbles[row.key])
        self._failed.append(Failure(key_of(row), row.message.id, attempts, error, pause, dead))
        if dead:
            self.dead_total += 1
            self._stumbles.pop(row.key)
            self._window.set_aside(row)
        else:
            self._window.fail(row, time.monotonic() + pause)
        return news

    # --------------------------------------------------------------------------------------------- the database

    async def run(self, wake: Callable[[], None]) -> None:
        """Write and load what comes up, until cancelled; ``wake`` is called when there may be something to take."""
        self._wake = wake
        backoff = Backoff(RETRY_FIRST, RETRY_MOST)
        while True:
            await self._something_to_do()
            if await self._round():
                backoff.reset()
            else:
                await self._pause(backoff.next())

    async def _round(self) -> bool:
        """Do what has come up. False if something stands in the way of it, or of a part of it.

        After that its parts go apart until all of them succeed: where there is no room for more, what is handled is
        deleted still, and what waits is read. If the first part fails, so would the others.
        """
        apart, good, tried = self._apart, True, False
        for part in (self._reading, self._notes, self._messages) if apart else (self._changes, self._reading):
            if work := part():
                if not await self._carried_out(work):
                    good = False
                    if not tried:
                        break
                tried = True
        if good:
            self._jam.over()
            self._apart = self._apart and not apart
        return good

    def _changes(self) -> Work:
        return Work(self._unwritten.batch(), tuple(self._handled), tuple(self._failed))

    def _notes(self) -> Work:
        return Work(failed=tuple(self._failed))

    def _messages(self) -> Work:
        return Work(self._unwritten.batch())

    def _reading(self) -> Work:
        """With what was handled meanwhile, or it would be read again."""
        if self._closed:
            return Work(handled=tuple(self._handled))
        now = time.monotonic()
        if not self._look_at and now - self._looked >= LOOK_EVERY:
            self._look_at = dict.fromkeys(self._phones, "")
        look, self._look_at = tuple(self._look_at.items()), {}
        failed = () if self._apart else tuple(self._failed)
        return Work((), tuple(self._handled), failed, look, tuple(self._window.wanted(now)))

    async def _pause(self, seconds: float) -> None:
        """Not for what comes meanwhile: until the time is over or the database is known to answer."""
        self._answers.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # ``wait_for`` of Python 3.11 may swallow a cancellation
                await self._answers.wait()
        self._changed.set()

    async def _something_to_do(self) -> None:
        times = [] if self._closed else [self._looked + LOOK_EVERY, self._window.next_pause()]
        left = min((at for at in times if at is not None), default=math.inf) - time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(left) else max(0.0, left)):
                await self._changed.wait()
        self._changed.clear()

    async def _carried_out(self, work: Work) -> bool:
        try:
            done = await self._transaction(work)
        except WaSessionsError as error:
            self._look_at = dict(work.look) | self._look_at
            self._window.not_loaded(work.wanted)
            if isinstance(error, UsageError | Conflict) and self._refuse(work, str(error)):
                return True
            self._apart = True
            if work.told:
                self._unwritten.failed(len(work.told))
            self._jam.hindered(error, unsafe=bool(work.told or not work.failed))
            return False
        self._apply(work, done)
        return True

    async def _transaction(self, work: Work) -> Done:
        """Do it on a thread of its own: however many sessions wait for a lock."""
        carrying_out = partial(
            carry_out, self._database, work, self._phones, self._worker.worker_id, hold=self._policy.hold
        )
        doing = asyncio.get_running_loop().run_in_executor(self._thread, carrying_out)
        done, _ = await asyncio.wait({doing}, timeout=STUCK_AFTER)
        if not done:
            self._jam.slow()
        return await doing

    def _apply(self, work: Work, done: Done) -> None:
        self._unwritten.drop(len(work.told))
        for one in work.told:
            phone_id, chat = one.message.phone_id, one.message.chat
            if (id_ := done.written.pop(one.message.identity, None)) is not None:
                self._window.written(Stored(id_, phone_id, one.incoming))
            else:  # it stands there already, maybe from a commit whose answer was lost: whatever comes is behind it
                self._window.found((phone_id, chat))
        del self._handled[: len(work.handled)]
        del self._failed[: len(work.failed)]
        self._looked_at(work.look, done.chats)
        self._window.loaded(work.wanted, [stored(row, self._phones) for row in done.rows], time.monotonic())
        for client, count in Counter(one.client for one in work.told).items():
            self._worker.message_taken(client, count)
        say_set_aside(work.failed, self._phones)
        if self._unwritten or self._failed or self._handled:
            self._changed.set()
        if not self._closed and (self._look_at or self._window.hungry):
            self._changed.set()
        self._jam.written()
        self._wake()

    def _looked_at(self, look: Sequence[Key], chats: Sequence[tuple[Key, bool | None]]) -> None:
        """What a look has found. If that were as many as one look may find, there is more, and phones take turns."""
        if not look:
            return
        not_noted = {(one.key.phone_id, one.key.chat) for one in self._failed}  # the table does not know of these yet
        for key, due in chats:
            if due is not None:
                self._window.found(key, due=due and key not in not_noted)
        ended = [phone_id for phone_id, _ in look]
        if len(chats) == LOOK:
            phone_id, chat = chats[-1][0]
            at = ended.index(phone_id)
            self._look_at = dict(look[at + 1 :]) | {phone_id: chat} | self._look_at
            del ended[at:]
        for phone_id in ended:
            if phone_id not in self._look_at:  # else it was given away and came back meanwhile
                self._window.looked(phone_id)
        if not self._look_at:
            self._looked = time.monotonic()

    # ------------------------------------------------------------------------------------- what cannot be written

    def _refuse(self, work: Work, error: str) -> bool:
        """Postgres cannot hold one thing of many: they go in parts until it is alone, and it alone is lost, and told.

        False if there is nothing in it that could be let go.
        """
        self._changed.set()
        if len(work.told) > 1 or (work.told and work.failed):
            self._apart = True
            self._unwritten.failed(len(work.told))
        elif work.told:
            [lost] = work.told
            self._unwritten.drop(1)
            self._worker.message_taken(lost.client, 1)
            words, message_id = "a message cannot be stored and is lost", lost.message.message_id
            log.error(f"{words}: {error}", event="inbox_refused", message_id=message_id)
        elif work.failed:
            del self._failed[: len(work.failed)]
            words = f"how {counted(len(work.failed), 'message')} failed cannot be noted: more attempts may be made"
            log.error(f"{words}: {error}", event="inbox_refused")
        else:
            return False
        return True
