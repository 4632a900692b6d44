"""The worker: one task group with its services, and a task for each phone under a policy of how often it may fail."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from wa_sessions.db import pruning
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.errors import DatabaseError, OwnedByAnother, WaSessionsError
from wa_sessions.worker import log
from wa_sessions.worker.command_queue import CommandQueue
from wa_sessions.worker.machine import handler_note
from wa_sessions.worker.ownership import Ownership
from wa_sessions.worker.policy import PhonePolicy
from wa_sessions.worker.ports import HandlerEvent, HandlerProcesses, HostProcesses
from wa_sessions.worker.repository import TRY_AGAIN, Lease, SessionRepository
from wa_sessions.worker.session import (
    Command,
    CommandGiven,
    Event,
    LeaseLost,
    Session,
    Settings,
    Shutdown,
    StoreBack,
    StoreLost,
)
from wa_sessions.worker.session_task import SessionTask, Watching

RENEW_EVERY = 5.0  # seconds
PRUNE_FIRST = 300.0  # seconds after the start until the history is pruned
PRUNE_EVERY = 86_400.0  # seconds between two prunings
PROBE_TIMEOUT = 1.0  # seconds without an answer after which the database counts as away
SHUTDOWN_TIMEOUT = 6.5  # seconds for all sessions to end gracefully
END_TIMEOUT = 8.5  # seconds for that, and for messages that wait for their handler
DRAIN_AT_LEAST = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker runs. ``trial_timeout``: seconds after which ``on_event`` is told ``time_over`` of no phone."""

    settings: Settings
    keep_history: timedelta = timedelta()
    trial_timeout: float | None = None
    watching: Watching = field(default_factory=Watching)


class WorkerFault(WaSessionsError):
    """A service of the worker failed, and nothing goes on without it."""


class Supervisor:
    """Runs the sessions of some phones until it is told to stop."""

    def __init__(
        self,
        database: Database,
        backend: Backend,
        options: WorkerOptions,
        hosts: HostProcesses,
        handlers: HandlerProcesses,
    ) -> None:
        self._database = database
        self._backend = backend
        self._options = options
        self._hosts = hosts
        self._handlers = handlers
        self.worker_id: UUID = uuid4()
        self._ownership = Ownership(database, backend, self.worker_id)
        self._tasks: dict[int, SessionTask] = {}
        self._ended: dict[int, str] = {}
        self._late_notes: dict[int, list[HandlerEvent]] = {}
        self._stuck: frozenset[int] = frozenset()
        self._store_ok = asyncio.Event()
        self._suspected = asyncio.Event()
        self._stopping = asyncio.Event()
        self._commands = CommandQueue(database, self.worker_id, self._give, self.suspect_store)
        self._failure: str | None = None

    async def run(self, chosen: Sequence[Phone], *, skip_owned: bool = False) -> None:
        """Own ``chosen`` phones and run them until SIGTERM or SIGINT.

        Raises OwnedByAnother if another worker has one of them (all of them, with ``skip_owned``), or has taken the
        last one; DatabaseError if the database cannot be reached at the start; WorkerFault.
        """
        if self._options.trial_timeout is not None:
            asyncio.get_running_loop().call_later(self._options.trial_timeout, self._time_over)
        self._handlers.begin(self)
        await asyncio.to_thread(self._ownership.register)
        try:
            await self._take_all(chosen, skip_owned=skip_owned)
            self._hosts.extend_lease(self._ownership.until)
            await self._hosts.prepare()
            await self._serve()
        finally:
            self._commands.end()
            await asyncio.to_thread(self._ownership.let_go, list(self._tasks))
        if self._failure:
            raise WorkerFault(self._failure)
        if not self._stopping.is_set() and (lost := next(iter(self._ended.values()), None)):
            raise OwnedByAnother(f"no phone is left to this worker: {lost}")

    # ------------------------------------------------------------------------------ what sessions need of it

    def suspect_store(self) -> None:
        """Look whether the database answers; ``StoreLost`` or ``StoreBack`` follows."""
        self._suspected.set()

    def stop(self) -> None:
        """End all sessions gracefully."""
        self._stopping.set()

    async def release(self, phone_id: int) -> None:
        """Give a phone back to whoever takes it next; it stays ours where the database does not answer."""
        await asyncio.to_thread(self._ownership.release, phone_id)
        self._tasks.pop(phone_id, None)
        self._handlers.forget(phone_id)

    def handler_event(self, phone_id: int, event: HandlerEvent) -> None:
        """Something about the handler that belongs into a phone's history."""
        task = self._tasks.get(phone_id)
        if task is not None and not task.session.finished:
            task.tell(event)
        elif task is not None:
            self._late_notes.setdefault(phone_id, []).append(event)

    # ---------------------------------------------------------------------------------- what the inbox needs of it

    def message_taken(self, client: int, count: int) -> None:
        """So many messages of this client are safe."""
        self._hosts.message_taken(client, count)

    def inbox_stuck(self, phone_ids: frozenset[int]) -> None:
        """Close the sockets of these phones, whose messages cannot be written."""
        self._stuck |= phone_ids
        for phone_id in phone_ids:
            if task := self._tasks.get(phone_id):
                task.tell(StoreLost())

    def inbox_free(self) -> None:
        """Bring those back."""
        stuck, self._stuck = self._stuck, frozenset()
        if self._store_ok.is_set():
            for phone_id in stuck:
                if task := self._tasks.get(phone_id):
                    task.tell(StoreBack())

    def _time_over(self) -> None:
        if self._options.watching.on_event("", "time_over", {}):
            self.stop()

    # ---------------------------------------------------------------------------------------------- running

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.set_exception_handler(_report)
        self._store_ok.set()
        await self._commands.listen()
        async with asyncio.TaskGroup() as group:
            services = [
                group.create_task(self._service(name, work))
                for name, work in (
                    ("leases", self._renew),
                    ("commands", self._commands.run),
                    ("store guard", self._guard_store),
                    ("pruning", self._prune),
                    ("hosts", self._hosts.run),
                    ("handlers", self._handlers.run),
                )
            ]
            running = [group.create_task(self._run_phone(id_, task)) for id_, task in list(self._tasks.items())]
            await self._until_over(running)
            for service in services:
                service.cancel()

    async def _until_over(self, running: Sequence[asyncio.Task[None]]) -> None:
        """Until every phone is done with, or all are told to end; then what handlers have in hand is waited for."""
        stopping = asyncio.create_task(self._stopping.wait())
        everyone = asyncio.create_task(_all(running))
        await asyncio.wait({stopping, everyone}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        began = time.monotonic()
        if not everyone.done():
            log.info("stopping", event="stopping")
            self._handlers.wind_down()
            self._tell_all(Shutdown())
            await asyncio.wait({everyone}, timeout=SHUTDOWN_TIMEOUT)
        await self._handlers.drain(max(DRAIN_AT_LEAST, began + END_TIMEOUT - time.monotonic()))
        await self._write_late_notes()
        await self._hosts.end(1.0)
        for task in running:
            task.cancel()
        await everyone

    async def _run_phone(self, phone_id: int, task: SessionTask) -> None:
        async def release() -> None:
            await self.release(phone_id)

        policy = PhonePolicy(task, self._hosts, self._store_again, self._pause, release)
        try:
            if (lost := await policy.run()) is not None:
                self._ended[phone_id] = lost
                self._tasks.pop(phone_id, None)
                self._handlers.forget(phone_id)
            await policy.refuse_commands(lost or "the worker ends")
        except Exception as error:  # noqa: BLE001  # a fault of the policy itself: nothing is sure any more
            self._fail(f"the task of {task.session.number}", error)

    async def _write_late_notes(self) -> None:
        for phone_id, events in self._late_notes.items():
            task = self._tasks[phone_id]
            try:
                await task.repository.note(*map(handler_note, events))
            except WaSessionsError as error:
                log.error(f"not written: {error}", phone=task.session.number, event="not_written")

    async def _store_again(self) -> None:
        """Return when the database answers, seen anew."""
        self._store_ok.clear()
        self.suspect_store()
        await self._store_ok.wait()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _tell_all(self, event: Event) -> None:
        for task in self._tasks.values():
            task.tell(event)

    def _give(self, phone_id: int, command: Command) -> bool:
        task = self._tasks.get(phone_id)
        if task is None or task.session.finished:
            return False
        task.tell(CommandGiven(command))
        return True

    async def _service(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """A service must not end: without it what the worker says of itself is not true any more."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody has to be told
            self._fail(f"the worker's {name}", error)

    def _fail(self, what: str, error: Exception) -> None:
        self._failure = f"{what} failed, a fault of wa-sessions: {type(error).__name__}: {error}"
        log.error(self._failure, event="service_failed")
        self.stop()

    # ----------------------------------------------------------------------------------------------- leases

    async def _take_all(self, chosen: Sequence[Phone], *, skip_owned: bool) -> None:
        refused: OwnedByAnother | None = None
        for phone in sorted(chosen, key=lambda phone: phone.id):
            try:
                epoch = await asyncio.to_thread(self._ownership.take, phone.id)
            except OwnedByAnother as error:
                if not skip_owned:
                    raise
                refused = error
                log.warn(f"left alone: {error}", phone=phone.number, event="owned_by_another")
                continue
            repository = SessionRepository(self._database, self._backend, phone, self.worker_id, Lease(epoch))
            settings = replace(self._options.settings, origin=self.worker_id.hex[:8])
            session = Session(phone.number, settings)
            self._handlers.serve(phone)
            self._tasks[phone.id] = SessionTask(
                session, repository, self._hosts, self._handlers, self, self._options.watching
            )
        if refused and not self._tasks:
            raise refused
        await asyncio.to_thread(self._ownership.renew, [])

    async def _renew(self) -> None:
        """Keep the leases and the worker's row fresh."""
        while True:
            await asyncio.sleep(RENEW_EVERY)
            if not self._store_ok.is_set():
                continue
            try:
                mine = await asyncio.to_thread(self._ownership.renew, self._alive())
            except TRY_AGAIN as error:
                log.warn(f"leases were not renewed: {error}; it is tried again", event="not_renewed")
                continue
            except DatabaseError:
                self.suspect_store()
                continue
            self._hosts.extend_lease(self._ownership.until)
            if self._tasks.keys() - mine:
                self.suspect_store()

    def _alive(self) -> list[int]:
        return [
            phone_id
            for phone_id, task in self._tasks.items()
            if task.alive and (task.session.client is None or self._hosts.is_alive(task.session.client))
        ]

    # ------------------------------------------------------------------------------------------- the store

    async def _guard_store(self) -> None:
        """When the database is lost, close all sockets, and bring everything back once it answers."""
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            regain = asyncio.create_task(self._regain())
            await asyncio.wait({regain}, timeout=PROBE_TIMEOUT)
            if not regain.done() or regain.exception() is not None:
                self._store_ok.clear()
                self._tell_all(StoreLost())
                await self._regain_at_last(regain)
            self._suspected.clear()
            self._store_ok.set()
            self._handlers.store_back()
            for phone_id, task in self._tasks.items():
                if phone_id not in self._stuck:
                    task.tell(StoreBack())

    async def _regain_at_last(self, first: asyncio.Task[None]) -> None:
        """Try until the database answers, and has all that is needed."""
        waits = wait_exponential(multiplier=0.2, max=2) + wait_random(0, 0.2)
        again = retry_if_exception_type((DatabaseError, *TRY_AGAIN))
        async for attempt in AsyncRetrying(wait=waits, retry=again):
            with attempt:
                await (first if attempt.retry_state.attempt_number == 1 else self._regain())

    async def _regain(self) -> None:
        """See that the database answers, that every lease is ours, and that commands are heard of."""
        taken = await asyncio.to_thread(self._ownership.reclaim, list(self._tasks))
        for phone_id, epoch in taken.items():
            task = self._tasks.get(phone_id)
            if task is None:
                continue
            if isinstance(epoch, OwnedByAnother):
                task.tell(LeaseLost(str(epoch)))
            else:
                task.repository.lease.epoch = epoch
        await asyncio.to_thread(self._ownership.renew, [])
        self._hosts.extend_lease(self._ownership.until)
        await self._commands.listen()

    # --------------------------------------------------------------------------------------------- pruning

    async def _prune(self) -> None:
        """Once a day let go of what is older than the history is kept; 0 keeps all."""
        while self._options.keep_history:
            await asyncio.sleep(PRUNE_FIRST)
            try:
                gone, steps = 0, pruning.steps(self._database, self._options.keep_history)
                while step := await asyncio.to_thread(next, steps, None):  # short ones: a shutdown waits for its thread
                    gone += step[1]
                if gone:
                    log.info(f"history pruned: {gone} rows", event="pruned", rows=gone)
            except WaSessionsError as error:
                log.warn(f"the history was not pruned: {error}", event="not_pruned")
            await asyncio.sleep(PRUNE_EVERY)


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What failed where nobody waits for it."""
    error = context.get("exception")
    what = f"{type(error).__name__}: {error}" if error else context["message"]
    log.error(f"a fault of wa-sessions: {what}", event="fault")


async def _all(running: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*running, return_exceptions=True)
