"""The durable inbox: what hosts tell is written before they go on, and goes when its handler has taken it.

One task writes, deletes, notes failures and loads, all that has come up meanwhile in one transaction: many phones share
a commit, and while one is under way the next is gathered.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, wait_exponential

from wa_sessions.db import alerts, health, inbox
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.inbox import Failure, InboxMessage, InboxRow, RowKey
from wa_sessions.db.phones import Phone
from wa_sessions.errors import (
    Conflict,
    Contended,
    DatabaseError,
    PermissionMissing,
    SchemaMissing,
    UsageError,
    WaSessionsError,
)
from wa_sessions.health.alerting import after_event
from wa_sessions.worker import log
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.delivery.queue import CameBefore, Queued
from wa_sessions.worker.delivery.window import CHAT, Key, Stored, Window
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.processes import DeliveryWorker

BATCH = 500
"""Messages at most that are written in one transaction."""

BATCH_BYTES = 8 << 20
"""Of those messages together; one alone may have more."""

LOOK_EVERY = 5.0
"""Seconds between looks for what others have put into the table, or want to be tried again."""

STUCK_AFTER = 1.0
"""Seconds without a commit until the sessions concerned close their sockets: WhatsApp keeps what comes then."""

RETRY_FIRST, RETRY_MOST = 0.05, 1.0
"""Seconds between attempts to write while the database does not take it."""

PATIENCE = 2.0
"""Seconds that handlers have for the messages of a phone that another worker is to run."""

PAUSE_FIRST, PAUSE_BASE, PAUSE_MOST = 1.0, 4.0, 300.0
"""Seconds until a message is tried again; how many times longer each next pause is; the most."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What becomes of messages that a handler fails at: so many ``attempts`` are made, the first pause in seconds.

    ``hold``: the chat of one that is set aside waits until somebody decides; else it goes on.
    """

    attempts: int = 5
    first_pause: float = PAUSE_FIRST
    hold: bool = False

    def pause(self, failures: int) -> float:
        """Seconds until the next attempt after so many failures in a row."""
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = failures
        return float(wait_exponential(multiplier=self.first_pause, exp_base=PAUSE_BASE, max=PAUSE_MOST)(state))


@dataclass(frozen=True, slots=True)
class _Told:
    """A message that is to be written, and the client whose host waits for that."""

    message: InboxMessage
    incoming: IncomingMessage
    client: int


@dataclass(frozen=True, slots=True)
class _Work:
    """What one transaction is to do."""

    told: tuple[_Told, ...]
    handled: tuple[RowKey, ...]
    failed: tuple[Failure, ...]
    look: tuple[int, ...]
    wanted: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class _Done:
    """What it has brought."""

    written: dict[inbox.Identity, int]
    chats: list[Key]
    rows: list[InboxRow]


class Inbox:
    """The queue before the handler, in the database. To be used on one event loop, with ``run`` as a task of it."""

    durable, patience = True, PATIENCE

    def __init__(self, database: Database, policy: RetryPolicy | None = None) -> None:
        self._database, self._policy = database, policy or RetryPolicy()
        self._worker: DeliveryWorker
        self._window = Window(hold=self._policy.hold)
        self._phones: dict[int, Phone] = {}
        self._known = CameBefore()
        self._told: deque[_Told] = deque()
        self._handled: list[RowKey] = []
        self._failed: list[Failure] = []
        self._stumbles: Counter[Key] = Counter()
        self._look_at: set[int] = set()
        self._looked = time.monotonic()
        self._changed, self._answers = asyncio.Event(), asyncio.Event()
        self._failing_since: float | None = None
        self._stuck: frozenset[int] = frozenset()
        self._singly = 0
        self._closed = False
        self._wake: Callable[[], None] = lambda: None
        self.handled_total = self.dead_total = 0

    # ------------------------------------------------------------------------------------- what the worker tells

    def begin(self, worker: DeliveryWorker) -> None:
        """Whose inbox this is."""
        self._worker = worker

    def serve(self, phone: Phone) -> None:
        """This worker runs the phone: what stands in the table of it is handled first."""
        self._phones[phone.id] = phone
        self._window.serve(phone.id)
        self._look_at.add(phone.id)
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
        self._told.append(_Told(_inbox_message(phone_id, message), message, client))
        if self._stuck and phone_id not in self._stuck:
            self._get_stuck()
        self._changed.set()
        return True

    def store_back(self) -> None:
        """The database answers again."""
        self._answers.set()

    # ----------------------------------------------------------------------------------------- for the dispatcher

    @property
    def waiting(self) -> int:
        """Messages in memory that no handler has in hand: those being written, and those to be handled next."""
        return len(self._told) + self._window.in_memory

    @property
    def unwritten(self) -> int:
        """Messages that do not stand in the table yet."""
        return len(self._told)

    @property
    def in_hand(self) -> int:
        """Messages that handlers have in hand."""
        return self._window.in_hand

    @property
    def unsettled(self) -> bool:
        """Whether the worker's end has to wait: for a handler, or for the database."""
        return bool(self.in_hand or self._told or self._handled or self._failed)

    def unsettled_of(self, phone_id: int) -> bool:
        """Whether something of this phone is not in the database yet, besides what handlers have in hand."""
        keys = (*self._handled, *(one.key for one in self._failed))
        return any(key.phone_id == phone_id for key in keys) or any(
            one.message.phone_id == phone_id for one in self._told
        )

    def waiting_of(self, phone_id: int) -> int:
        """Messages of this phone in memory that nobody has in hand."""
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
        if error is None:
            self._handled.append(_key(row))
            self.handled_total += 1
            self._stumbles.pop(row.key, None)
            self._window.finish(row)
            news = True
        else:
            news = self._fail(row, error, transient=transient)
        self._changed.set()
        return news

    def clear(self) -> dict[int, int]:
        """What nobody will handle after the worker's end: nothing that stands in the table."""
        if self._told:
            lost = Counter(one.message.phone_id for one in self._told)
            message = f"{len(self._told)} messages could not be written before the end: the database does not take them"
            log.error(message, event="inbox_lost", waiting=len(self._told), phone_ids=sorted(lost))
        return {}

    def _fail(self, row: Stored, error: str, *, transient: bool) -> bool:
        """Note the failure, and when it is tried again. What a receiver that is away refuses is no attempt."""
        attempts = row.attempts + (not transient)
        self._stumbles[row.key] += 1
        news = self._stumbles[row.key] == 1
        dead = not transient and attempts >= self._policy.attempts
        pause = 0.0 if dead else self._policy.pause(self._stumbles[row.key])
        self._failed.append(Failure(_key(row), row.message.id, attempts, error, pause, dead))
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
            work = self._work()
            try:
                done = await self._transaction(work)
            except (UsageError, Conflict) as error:
                self._put_back(work)
                self._refuse(work, str(error))
            except (DatabaseError, PermissionMissing, SchemaMissing) as error:
                self._put_back(work)
                self._not_written(error)
                await self._pause(backoff.next())
            else:
                backoff.reset()
                self._apply(work, done)

    async def _pause(self, seconds: float) -> None:
        """Not for what comes meanwhile: until the time is over or the database is known to answer."""
        self._answers.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # ``wait_for`` of Python 3.11 may swallow a cancellation
                await self._answers.wait()
        self._changed.set()

    async def _something_to_do(self) -> None:
        now = time.monotonic()
        times = [self._looked + LOOK_EVERY, self._window.next_pause()]
        left = min(at for at in times if at is not None) - now
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left)):
                await self._changed.wait()
        self._changed.clear()

    def _work(self) -> _Work:
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._look_at |= self._phones.keys()
            self._looked = now
        look, self._look_at = tuple(self._look_at), set()
        wanted = () if self._closed else tuple(self._window.wanted(now))
        return _Work(self._batch(), tuple(self._handled), tuple(self._failed), look, wanted)

    def _batch(self) -> tuple[_Told, ...]:
        """Messages in the order in which they came."""
        batch: list[_Told] = []
        size = 0
        for one in self._told:
            size += len(one.message.raw) + len(one.message.text)
            if batch and (self._singly or len(batch) == BATCH or size > BATCH_BYTES):
                break
            batch.append(one)
        return tuple(batch)

    async def _transaction(self, work: _Work) -> _Done:
        """Do it on a thread. If that takes too long, nobody may believe that what is told is safe."""
        doing = asyncio.ensure_future(asyncio.to_thread(self._do, work))
        done, _ = await asyncio.wait({doing}, timeout=STUCK_AFTER)
        if not done:
            self._worker.suspect_store()
            self._get_stuck()
        return await doing

    def _do(self, work: _Work) -> _Done:
        if not any((work.told, work.handled, work.failed, work.look, work.wanted)):
            return _Done({}, [], [])
        with self._database.transaction() as conn:
            written = inbox.write(conn, [one.message for one in work.told]) if work.told else {}
            if work.handled:
                inbox.delete(conn, work.handled)
            if work.failed:
                self._record(conn, work.failed)
            chats = inbox.due_chats(conn, work.look) if work.look else []
            rows = inbox.load(conn, work.wanted, CHAT, hold=self._policy.hold) if work.wanted else []
        return _Done(written, chats, rows)

    def _record(self, conn: Connection, failed: Sequence[Failure]) -> None:
        """Note failures; what is set aside has its entry in the history, and the phone's first one its alert."""
        dead = [one for one in failed if one.dead]
        before = inbox.with_dead(conn, [one.key.phone_id for one in dead]) if dead else set()
        inbox.fail(conn, failed)
        for one in dead:
            if (phone := self._phones.get(one.key.phone_id)) is None:
                continue
            detail = {"message_id": one.message_id, "error": one.error, "attempts": one.attempts}
            health.record_event(
                conn, phone.id, phone.organization_id, "handler_dead", detail, worker_id=self._worker.worker_id
            )
            alert = after_event("handler_dead", detail, phone.number)
            if alert and phone.id not in before:
                alerts.leave(conn, phone, alert)
            before.add(phone.id)

    def _apply(self, work: _Work, done: _Done) -> None:
        self._singly = max(0, self._singly - len(work.told))
        self._failing_since = None
        for one in work.told:
            self._told.popleft()
            if (id_ := done.written.pop(one.message.identity, None)) is not None:
                self._window.written(Stored(id_, one.message.phone_id, one.incoming))
        del self._handled[: len(work.handled)]
        del self._failed[: len(work.failed)]
        unwritten = {(one.key.phone_id, one.key.chat) for one in self._failed}  # of these the table does not know yet
        self._window.look(work.look, [key for key in done.chats if key not in unwritten])
        self._window.loaded(work.wanted, [self._stored(row) for row in done.rows], time.monotonic())
        for client, count in Counter(one.client for one in work.told).items():
            self._worker.message_taken(client, count)
        for one_dead in (one for one in work.failed if one.dead):
            self._say_dead(one_dead)
        if self._told or self._failed or self._handled or self._window.hungry:
            self._changed.set()
        if self._stuck and not self._told:
            self._stuck = frozenset()
            self._worker.inbox_free()
        self._wake()

    def _stored(self, row: InboxRow) -> Stored:
        phone = self._phones.get(row.message.phone_id)
        message = _incoming_message(row.message, phone.number if phone else "")
        return Stored(row.id, row.message.phone_id, message, row.attempts, row.pause)

    def _say_dead(self, failure: Failure) -> None:
        phone = self._phones.get(failure.key.phone_id)
        log.error(
            f"message {failure.message_id} is set aside after {failure.attempts} attempts: {failure.error}",
            phone=phone.number if phone else None,
            event="handler_dead",
            message_id=failure.message_id,
            error=failure.error,
        )

    # ------------------------------------------------------------------------------------- what cannot be written

    def _put_back(self, work: _Work) -> None:
        self._look_at |= set(work.look)
        self._window.not_loaded(work.wanted)

    def _not_written(self, error: DatabaseError | PermissionMissing | SchemaMissing) -> None:
        """Something stands in the way: for a moment, or so long that what is told is not safe."""
        now = time.monotonic()
        lost = isinstance(error, DatabaseError) and not isinstance(error, Contended)
        if self._failing_since is None:
            self._failing_since = now
            if self._told:
                log.warn(f"the inbox is not written: {error}; it is tried again", event="inbox_not_written")
            if lost:
                self._worker.suspect_store()
        if now - self._failing_since >= STUCK_AFTER:
            self._get_stuck()

    def _get_stuck(self) -> None:
        """Have the sockets closed of those who told something that is not safe."""
        concerned = frozenset(one.message.phone_id for one in self._told)
        if concerned - self._stuck:
            self._worker.inbox_stuck(concerned - self._stuck)
            self._stuck |= concerned

    def _refuse(self, work: _Work, error: str) -> None:
        """Postgres cannot hold one message of a batch: they go one by one, and it alone is lost, and told."""
        if not work.told:
            raise WaSessionsError(error)
        self._changed.set()
        if len(work.told) > 1:
            self._singly = len(work.told)
            return
        lost = self._told.popleft()
        self._singly = max(0, self._singly - 1)
        log.error(
            f"a message cannot be stored and is lost: {error}",
            event="inbox_refused",
            message_id=lost.message.message_id,
        )
        self._worker.message_taken(lost.client, 1)


def _key(row: Stored) -> RowKey:
    return RowKey(row.phone_id, row.message.chat, row.id)


def _inbox_message(phone_id: int, message: IncomingMessage) -> InboxMessage:
    return InboxMessage(
        phone_id,
        message.chat,
        message.sender,
        message.id,
        message.sender_alt,
        message.from_me,
        message.is_group,
        message.timestamp,
        message.kind,
        message.text,
        message.raw,
    )


def _incoming_message(stored: InboxMessage, number: str) -> IncomingMessage:
    return IncomingMessage(
        id=stored.message_id,
        chat=stored.chat,
        sender=stored.sender,
        sender_alt=stored.sender_alt,
        from_me=stored.from_me,
        is_group=stored.is_group,
        timestamp=stored.sent_at,
        kind=stored.kind,
        text=stored.text,
        raw=stored.raw,
        phone=number,
    )
