"""One phone's session: from one plan to the next, until the worker ends."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from wa_sessions.db import whatsmeow
from wa_sessions.errors import DatabaseError, OwnedByAnother
from wa_sessions.health.model import (
    CloseSession,
    CollectionSynced,
    Event,
    LeaveStore,
    TimePassed,
)
from wa_sessions.health.reconnect import ComeBack, End, State, Status, WaitForStore, after
from wa_sessions.health.reconnect import StayDown as StayDownState
from wa_sessions.keys.phone_ref import device_of
from wa_sessions.worker import log, orders, pairing, reports
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.context import SessionOptions, Worker
from wa_sessions.worker.journal import Journal
from wa_sessions.worker.metrics import Work, begun
from wa_sessions.worker.plans import (
    AwaitStore,
    Close,
    Connect,
    Ended,
    LeaseLost,
    Order,
    Pair,
    Pause,
    Plan,
    Shutdown,
    StayDown,
    Stop,
    StoreLost,
    WriteDown,
)
from wa_sessions.worker.process import SessionEvent, SessionProcess

TICK = 60.0  # seconds between looks at messages that wait too long
SYNC_POLL = 1.0  # seconds between looks at app-state versions while Bad Decrypt errors are counted
SETTLED_AFTER = 60.0  # seconds a connection must last for the next pause to be short again

Item = SessionEvent | Order | Shutdown | StoreLost | LeaseLost

_ACTIVE = {
    State.CONNECTING,
    State.CONNECTED,
    State.RECONNECTING,
    State.NO_ANSWER,
    State.PAIRING,
    State.WAITING_FOR_STORE,
    State.UNREACHABLE,
    State.CRASHED,
}


class PhoneSession:
    """Owns one phone from the taking of its lease to the end of the worker."""

    def __init__(self, journal: Journal, options: SessionOptions, worker: Worker) -> None:
        self.inbox: asyncio.Queue[Item] = asyncio.Queue()
        self.journal = journal
        self.options = options
        self.worker = worker
        self.process: SessionProcess | None = None
        self.for_repair = False
        self.sync_baseline: dict[str, int] = {}
        self.background: set[asyncio.Task[None]] = set()
        self._backoff = Backoff()
        self._store_backoff = Backoff(first=0.5, most=30)
        self._connected_at: float | None = None
        self._deadline: float | None = None
        self._ticked_at = time.monotonic()
        self._spawned = 0
        self._drops = 0

    @property
    def number(self) -> str:
        return self.journal.phone.number

    @property
    def connection(self) -> str:
        """A name for the WebSocket that is open now, unlike that of any other."""
        return f"{self.journal.epoch}.{self._spawned}.{self._drops}"

    async def run(self) -> None:
        """Live until the worker ends or the lease is lost."""
        plan: Plan | None = None
        try:
            while not isinstance(plan, Stop):
                try:
                    plan = await (self._follow(plan) if plan else self._first_plan())
                except DatabaseError:
                    plan = plan if isinstance(plan, AwaitStore) else AwaitStore(plan)
        except OwnedByAnother as lost:
            log.error(f"session given up: {lost}", phone=self.number, event="lease_lost")
        finally:
            await self.kill()

    async def _first_plan(self) -> Plan:
        """Go on from what an earlier worker has left."""
        await self.journal.load()
        if self.journal.health.closing:
            return Close(self.journal.health.closing)
        banned_until = self.journal.banned_until
        return Pause(banned_until) if banned_until else await self.connect_or_pair()

    async def connect_or_pair(self) -> Plan:
        """Connect if the store has keys of this number, else pair."""
        devices = await self.journal.read(lambda conn: whatsmeow.device_of(conn, self.number))
        known = self.journal.phone.phone_jid
        if not devices:
            return Pair()
        return Connect(known if known in devices else max(devices, key=lambda jid: device_of(jid) or 0))

    async def _follow(self, plan: Plan) -> Plan:
        match plan:
            case Connect():
                return await self._connect(plan)
            case Pair(detail):
                return await pairing.pair(self, detail)
            case Close(kind):
                done = begun(Work.CLOSE)
                await self.disconnect()
                self.journal.close(kind, done)
                return WriteDown(Pair())
            case Ended():
                return await self._ended(plan)
            case Pause(until):
                return await self.pause((until - datetime.now(UTC)).total_seconds()) or await self.connect_or_pair()
            case WriteDown(then):
                await self.journal.flush()
                return then
            case AwaitStore(then):
                return await self._await_store(then)
            case StayDown() | Stop():
                return await self._stay_down()

    # ------------------------------------------------------------------------------------ the plans, followed

    async def _connect(self, plan: Connect) -> Plan:
        self.journal.device = plan.device
        self.for_repair = plan.for_repair
        self.journal.set_state(State.CONNECTING)
        self.journal.set_status(Status.LOADING)
        await self.journal.flush()
        await self.spawn(plan.device)
        return await self.live()

    async def live(self) -> Plan:
        """Take what the session process tells, until something else is to be done."""
        while True:
            item = await self.next_item(self._until_next_look())
            if item is None:
                plan = await self._look()
            elif not isinstance(item, SessionEvent):
                plan = await orders.obey(self, item)
            elif item.process is self.process:
                self._tell(item.name, item.fields)
                plan = await reports.told(self, item)
            else:
                plan = None
            if plan is not None:
                return plan

    async def _ended(self, plan: Ended) -> Plan:
        if self._connected_at and time.monotonic() - self._connected_at >= SETTLED_AFTER:
            self._backoff.reset()
            self._store_backoff.reset()
        if isinstance(plan.next, WaitForStore):
            await self.disconnect()
        else:
            await self.kill()
        state, detail = plan.next.state, plan.detail
        self._tell(state.value, {})
        self.journal.set_status(plan.next.status, qr_code=None)
        match plan.next:
            case StayDownState():
                self.journal.set_state(state, detail)
                advice = f"`wa-sessions {'relink' if state is State.LOGGED_OUT else 'restart'} {self.number}`"
                message = f"{detail}; it stays down until {advice}"
                self.journal.note(state.value, message, level=log.error, reason=detail)
                return WriteDown(StayDown())
            case ComeBack(not_before=not_before):
                until = not_before or datetime.now(UTC) + timedelta(seconds=self._backoff.next())
                self.journal.set_state(state, detail, retry_at=until)
                message = f"{detail}; next attempt at {until:%H:%M:%S} UTC"
                down = self.journal.down_seconds()
                self.journal.note(state.value, message, level=log.warn, reason=detail, down_seconds=down)
                return WriteDown(Pause(until))
            case WaitForStore():
                return AwaitStore(Connect(self.journal.device) if self.journal.device else Pair())

    async def _await_store(self, then: Plan | None) -> Plan:
        """Wait without a socket. What was to be connected is looked up anew: it may have paired meanwhile."""
        await self.disconnect()
        active = isinstance(then, Connect | Pair)
        if active:
            self.journal.set_state(State.WAITING_FOR_STORE, "the database does not answer")
        message = "the database does not answer: socket closed, WhatsApp keeps the messages"
        log.error(message, phone=self.number, event="store_lost")
        began = time.monotonic()
        back = asyncio.create_task(self._store_back())
        try:
            while not back.done():
                taking = asyncio.create_task(self.inbox.get())
                await asyncio.wait({back, taking}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                elif (plan := await orders.obey(self, taking.result())) is not None:
                    return plan
            await back
        finally:
            back.cancel()
            self.journal.note("store_lost", down_seconds=round(time.monotonic() - began, 1))
        self.journal.note("store_back", "the database answers again")
        if then is None:
            return await self._first_plan()
        return WriteDown(await self.connect_or_pair() if active else then)

    async def _store_back(self) -> None:
        """The store may answer the worker and still refuse neonize, so even then each attempt waits longer."""
        await asyncio.sleep(self._store_backoff.next())
        await self.worker.store_back()

    async def _stay_down(self) -> Plan:
        while True:
            item = await self.next_item(None)
            if item is not None and (plan := await orders.obey(self, item)) is not None:
                return plan

    async def pause(self, seconds: float) -> Plan | None:
        """Obey orders for that long; the plan that one asks for, or None when the time is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            item = await self.next_item(left)
            if item is not None and (plan := await orders.obey(self, item)) is not None:
                return plan
        return None

    async def shut_down(self) -> Stop:
        """End gracefully: socket closed, what has arrived handled, the status told."""
        await self.disconnect()
        if self.journal.state in _ACTIVE:
            self.journal.set_state(State.STOPPED)
            self.journal.set_status(Status.DISCONNECTED, qr_code=None)
        self.journal.note("stopped", "session stopped")
        try:
            await self.journal.flush()
        except DatabaseError as error:
            log.error(f"the last status could not be written: {error}", phone=self.number, event="not_written")
        return Stop()

    # ---------------------------------------------------------------------------------------- the process

    async def spawn(self, device: str | None) -> None:
        """Start a session process: for the keys of ``device``, or to pair."""
        await self.kill()
        async with self.worker.start_slot():
            self._spawned += 1
            self.process = await SessionProcess.spawn(self.inbox.put_nowait)
            self.process.start(
                store_url=self.options.store_url,
                device=device,
                phone=self.number,
                function=self.options.function,
                command=self.options.command,
                until=self.worker.lease_until(),
            )
        self._connected_at = None
        self.expect_answer()

    async def kill(self) -> None:
        """End the session process at once."""
        process, self.process = self.process, None
        if process:
            await process.kill()

    async def disconnect(self) -> None:
        """Close the WebSocket and let what has arrived reach its handler."""
        process, self.process = self.process, None
        if process:
            await process.stop()

    def extend_lease(self, until: float) -> None:
        """Pass a renewed lease on to the session process."""
        if self.process:
            self.process.extend_lease(until)

    def expect_answer(self) -> None:
        """WhatsApp has to be heard of within the deadline."""
        self._deadline = time.monotonic() + self.options.answer_timeout

    def dropped(self) -> None:
        """The WebSocket is gone; whatsmeow opens another."""
        self._drops += 1
        self.expect_answer()

    def connected(self) -> None:
        """WhatsApp was heard of: the login stands."""
        self._deadline = None
        self._connected_at = time.monotonic()

    # ----------------------------------------------------------------------------------------- small steps

    async def next_item(self, within: float | None) -> Item | None:
        """The next thing that was told or asked; None after ``within`` seconds."""
        try:
            return await asyncio.wait_for(self.inbox.get(), None if within is None else max(within, 0))
        except TimeoutError:
            return None

    async def happened(self, event: Event) -> Plan | None:
        """Decide what follows from ``event``, do it and write it down."""
        actions = self.journal.happened(event)
        if any(isinstance(action, LeaveStore) for action in actions):
            return Ended(after(End.STORE_DOWN))
        await self.journal.flush()
        return next((Close(action.kind) for action in actions if isinstance(action, CloseSession)), None)

    async def versions(self) -> dict[str, int]:
        """The app-state versions in the store, by collection."""
        device = self.journal.device
        return await self.journal.read(lambda conn: whatsmeow.app_state_versions(conn, device)) if device else {}

    def _tell(self, event: str, fields: dict[str, Any]) -> None:
        if self.options.on_told(self.number, event, fields):
            self.worker.stop()

    def _until_next_look(self) -> float:
        times = [self._ticked_at + TICK]
        if self._deadline is not None:
            times.append(self._deadline)
        if self.journal.health.bad_decrypt:
            times.append(time.monotonic() + SYNC_POLL)
        return min(times) - time.monotonic()

    async def _look(self) -> Plan | None:
        """Nothing was told for a while: see what time has brought."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return Ended(after(End.UNREACHABLE), "WhatsApp does not answer")
        if self.journal.health.bad_decrypt and (synced := await self._newly_synced()):
            return await self.happened(CollectionSynced(datetime.now(UTC), synced))
        if time.monotonic() - self._ticked_at >= TICK:
            self._ticked_at = time.monotonic()
            return await self.happened(TimePassed(datetime.now(UTC)))
        return None

    async def _newly_synced(self) -> str | None:
        versions = await self.versions()
        return next((name for name, version in versions.items() if version > self.sync_baseline.get(name, 0)), None)
