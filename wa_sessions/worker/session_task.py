"""One phone: event → step → commit → calls. What cannot be written now is kept, in order, until it can."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, assert_never

from wa_sessions.errors import OwnedByAnother, WaSessionsError
from wa_sessions.health.classify import Cause
from wa_sessions.worker import log
from wa_sessions.worker.effects import (
    NO_EFFECTS,
    Call,
    CloseClient,
    DropClient,
    Effects,
    FindDevice,
    LogLine,
    LookAtVersions,
    Notify,
    OpenClient,
    ReleaseLease,
    SendText,
    Shown,
    ShowQr,
    SuspectStore,
    Unanswered,
    UnlinkDevice,
)
from wa_sessions.worker.faults import after_fault, lost_by_fault
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.machine import seconds_to_look, step
from wa_sessions.worker.outage import comes_back, was_written
from wa_sessions.worker.ports import ClientLost, SessionHosts, Worker
from wa_sessions.worker.processes import HandlerProcesses
from wa_sessions.worker.repository import STORE_AWAY, SessionRepository
from wa_sessions.worker.session import (
    ClientOpened,
    CollectionUnsynced,
    CommandGiven,
    DeviceFound,
    Event,
    LeaseLost,
    MessageUndecrypted,
    Released,
    Resumed,
    Session,
    Started,
    StoreBack,
    StoreLost,
    TimeOver,
    VersionsSeen,
)

CLIENT_TIMEOUT = 8.0  # seconds until a client that was dropped has ended for certain
STUCK_AFTER = 30.0  # seconds on one event, after which the task is no sign of life
MOST_KEPT = 10_000  # events that wait for the database


@dataclass(frozen=True, slots=True)
class Watching:
    """Who looks on: ``on_qr`` gets number and code; ``on_event`` number, event and fields, and may end the worker."""

    on_qr: Callable[[str, str], None] = lambda _phone, _code: None
    on_event: Callable[[str, str, Mapping[str, Any]], bool] = lambda _phone, _event, _fields: False


class SessionTask:
    """Runs one session. Every event comes through ``tell``, in order."""

    def __init__(
        self,
        session: Session,
        repository: SessionRepository,
        hosts: SessionHosts,
        handlers: HandlerProcesses,
        worker: Worker,
        watching: Watching,
        begin: Started | Resumed = Started(),  # noqa: B008  # frozen
    ) -> None:
        self.session = session
        self._begin = begin
        self.repository = repository
        self._hosts = hosts
        self._handlers = handlers
        self._worker = worker
        self._watching = watching
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._kept: deque[Event] = deque(maxlen=MOST_KEPT)
        self._event: Event = begin
        self._uncertain: Event | None = None
        self._busy_since: float | None = None
        self._clients: set[int] = set()
        self._no_clients = asyncio.Event()
        self.lost: str | None = None
        self.begun = False

    @property
    def alive(self) -> bool:
        """Whether the task goes on: it waits for something to happen, or has not been long at it."""
        return self._busy_since is None or time.monotonic() - self._busy_since < STUCK_AFTER

    def tell(self, event: Event) -> None:
        """Take an event, to be handled after those before it. A message for the handler waits for nothing."""
        if isinstance(event, protocol.MessageArrived):
            message = replace(event.message, phone=self.session.number)
            self._handlers.put(self.repository.phone.id, message, event.client)
            return
        if isinstance(event, LeaseLost):
            self.lost = event.reason
        if isinstance(event, protocol.Stopped | ClientLost):
            self._clients.discard(event.client)
            if not self._clients:
                self._no_clients.set()
        self._queue.put_nowait(event)

    async def clients_gone(self) -> None:
        """Return when no client of this task is open any more, though nobody handles its events."""
        if self._clients:
            self._no_clients.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLIENT_TIMEOUT):
                    await self._no_clients.wait()

    async def run(self) -> None:
        """Live until the session is finished. Whatever is raised is a fault, after which ``resume`` may go on."""
        self.session = (await self.repository.load(self.session)).session
        self.begun = True
        await self._go_on(self._begin)

    async def resume(self, fault: str) -> None:
        """Go on after a fault from what is stored; the event that met it is not tried again."""
        before, event = self.session, self._event
        for command in lost_by_fault(before, event):
            await self.repository.answer(command.id, WaSessionsError(fault))
        self.session = (await self.repository.load(after_fault(before, event))).session
        self._uncertain = None
        if self.session.client is not None:
            self._hosts.close(self.session.client)
        await self._go_on(Resumed())

    async def refuse_open_commands(self, error: WaSessionsError) -> None:
        """Answer whoever still waits, also for what was never looked at."""
        left = list(self._kept)
        while not self._queue.empty():
            left.append(self._queue.get_nowait())
        given = [event.command for event in left if isinstance(event, CommandGiven)]
        for command in (*self.session.unanswered, *given):
            await self.repository.answer(command.id, error)

    # ------------------------------------------------------------------------------------------------- events

    async def _go_on(self, event: Event) -> None:
        while True:
            self._busy_since = time.monotonic()
            try:
                await self._take(event)
            except OwnedByAnother as error:
                self.lost = str(error)
                await self._take(LeaseLost(self.lost))
            finally:
                self._busy_since = None
            if self.session.finished:
                return
            event = await self._next()

    async def _next(self) -> Event:
        """What the database was not there for, then what time has brought, then what was told."""
        if self._kept and not self.session.store_away:
            return self._kept.popleft()
        left = seconds_to_look(self.session, datetime.now(UTC))
        if left is not None and left <= 0:
            return TimeOver()
        try:
            async with asyncio.timeout(left):
                return await self._queue.get()
        except TimeoutError:
            return TimeOver()

    async def _take(self, event: Event) -> None:
        """Handle one event. If the database is away, it is taken again: then for what can be done without."""
        try:
            effects, outcomes = await self._step(event)
        except STORE_AWAY as error:
            await self._lose_store(error)
            if not isinstance(event, StoreBack):
                await self._take(self._uncertain or event)
            return
        for call in effects.calls:
            await self._make(call)
        for outcome in outcomes:
            await self._take(outcome)

    async def _step(self, event: Event) -> tuple[Effects, list[Event]]:
        """The pure step, and its commit. What can't be written now is kept, and the session stays as it is."""
        self._event = event
        if isinstance(event, StoreBack) and comes_back(self.session):
            await self._reload()
        self._event = event = await self._with_facts(event)
        after, effects = step(self.session, event, datetime.now(UTC))
        outcomes: list[Event] = []
        if effects.records or after.stored != self.session.stored:
            if self.session.store_away and not isinstance(event, StoreBack):
                self._keep(event)
                return NO_EFFECTS, []
            self._uncertain = event
            outcomes = await self.repository.commit(self.session, after, effects.records)
            self._uncertain = None
        self.session = after
        return effects, outcomes

    def _keep(self, event: Event) -> None:
        if len(self._kept) == MOST_KEPT:
            message = f"more than {MOST_KEPT} events wait for the database: the oldest is dropped"
            log.error(message, phone=self.session.number, event="events_dropped")
        self._kept.append(event)

    async def _lose_store(self, error: Exception) -> None:
        self._worker.suspect_store()
        await self._take(StoreLost(str(error)))

    async def _reload(self) -> None:
        """What seemed to fail in its commit may stand."""
        reloaded = await self.repository.load(self.session)
        self.session = reloaded.session
        if reloaded.went_through and self._uncertain is not None:
            self.session = was_written(self.session, self._uncertain, datetime.now(UTC))
            self._kept = deque((event for event in self._kept if event is not self._uncertain), maxlen=MOST_KEPT)
        self._uncertain = None

    async def _with_facts(self, event: Event) -> Event:
        """Add what only the database knows."""
        session, device = self.session, self.session.device
        if isinstance(event, protocol.Undecrypted):
            event = MessageUndecrypted(event, session.connection_of(event.client))
        if session.store_away or device is None:
            return CollectionUnsynced(event) if isinstance(event, protocol.Unsynced) else event
        match event:
            case MessageUndecrypted(one, session_mark=None) if one.cause is Cause.BAD_MAC:
                mark = await self.repository.session_mark(device, one.sender, one.chat, is_group=one.is_group)
                return replace(event, session_mark=mark)
            case CollectionUnsynced(one) if one.cause is Cause.BAD_DECRYPT and not event.versions:
                return replace(event, versions=await self.repository.versions(device))
            case protocol.Unsynced():
                return await self._with_facts(CollectionUnsynced(event))
            case _:
                return event

    # -------------------------------------------------------------------------------------------------- calls

    async def _make(self, call: Call) -> None:
        try:
            found = await self._ask(call)
        except STORE_AWAY as error:
            await self._lose_store(error)
        else:
            if found is not None:
                await self._take(found)

    async def _ask(self, call: Call) -> Event | None:
        """Make one call; the event that answers it at once, if any does."""
        match call:
            case FindDevice():
                return DeviceFound(await self.repository.find_device())
            case LookAtVersions():
                device = self.session.device
                return VersionsSeen(await self.repository.versions(device) if device else {})
            case ReleaseLease(command):
                return await self._released(command.id, command.actor)
            case OpenClient(device):
                client = self._hosts.open(self.repository.phone.id, device, self.tell)
                self._clients.add(client)
                return ClientOpened(client)
            case _:
                self._call(call)
                return None

    def _call(self, call: Unanswered) -> None:
        match call:
            case CloseClient(client):
                self._hosts.close(client)
            case DropClient(client):
                self._hosts.drop(client)
            case SendText(client, request, to, text):
                self._hosts.send_text(client, request, to, text)
            case UnlinkDevice(client, request):
                self._hosts.unlink(client, request)
            case SuspectStore():
                self._worker.suspect_store()
            case _:
                self._show(call)

    def _show(self, call: Shown) -> None:
        number = self.session.number
        match call:
            case ShowQr(code):
                self._watching.on_qr(number, code)
            case Notify(event, fields):
                if self._watching.on_event(number, event, fields):
                    self._worker.stop()
            case LogLine(event, message, level):
                {"info": log.info, "warn": log.warn, "error": log.error}[level](message, phone=number, event=event)
            case _:
                assert_never(call)

    async def _released(self, command_id: int, actor: str) -> Released:
        """Let whoever asked have the phone: it is not ours then, whether the answer arrives or not."""
        await self._worker.release(self.repository.phone.id)
        log.info(f"given up to {actor}", phone=self.session.number, event="released")
        try:
            await self.repository.answer(command_id, {"released": True})
        except STORE_AWAY as error:
            log.warn(f"whoever asked was not told: {error}", phone=self.session.number, event="not_answered")
        return Released()
