"""The worker: one task group with its services, and a task for each phone under a policy of how often it may fail."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, WaSessionsError
from wa_sessions.worker import log
from wa_sessions.worker.command_queue import CommandQueue
from wa_sessions.worker.commands import SHUTTING_DOWN
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.machine import handler_note
from wa_sessions.worker.ownership import Ownership
from wa_sessions.worker.policy import PhonePolicy
from wa_sessions.worker.ports import HandlerEvent
from wa_sessions.worker.processes import HandlerProcesses, HostProcesses
from wa_sessions.worker.pruner import prune_daily
from wa_sessions.worker.repository import Lease, SessionRepository
from wa_sessions.worker.session import (
    Command,
    CommandGiven,
    Event,
    Session,
    Settings,
    Shutdown,
    StoreBack,
    StoreLost,
)
from wa_sessions.worker.session_task import SessionTask, Watching
from wa_sessions.worker.store_guard import StoreGuard

SHUTDOWN_TIMEOUT = 6.5  # seconds for all sessions to end gracefully
END_TIMEOUT = 8.5  # seconds for that, and for messages that wait for their handler
DRAIN_AT_LEAST = 2.0  # seconds
LAST_WRITE_TIMEOUT = 1.0  # seconds for what is written last: late entries of the history, then the leases


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker runs. ``trial_timeout``: seconds after which ``on_event`` is told ``time_over`` of no phone."""

    settings: Settings
    times: LeaseTimes = field(default_factory=LeaseTimes)
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
        self._ownership = Ownership(database, backend, self.worker_id, options.times)
        self._tasks: dict[int, SessionTask] = {}
        self._ended: dict[int, WaSessionsError] = {}
        self._late: list[tuple[SessionRepository, HandlerEvent]] = []
        self._stuck: frozenset[int] = frozenset()
        self._stopping = asyncio.Event()
        self._commands = CommandQueue(database, self.worker_id, self._give, self.suspect_store)
        self._guard = StoreGuard(
            self._ownership, options.times, hosts, self._tasks, self._commands.listen, self._store_back
        )
        self._failure: str | None = None

    async def run(self, chosen: Sequence[Phone], *, skip_owned: bool = False) -> None:
        """Own ``chosen`` phones and run them until SIGTERM or SIGINT.

        Raises OwnedByAnother if another worker has one of them (all of them, with ``skip_owned``), or has taken the
        last one; PhoneNotFound if its row is gone; DatabaseError if the database cannot be reached at the start;
        WorkerFault; WaSessionsError if all that is left are phones that were set down for their faults.
        """
        if self._options.trial_timeout is not None:
            asyncio.get_running_loop().call_later(self._options.trial_timeout, self._time_over)
        self._handlers.begin(self)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        await self._guard.call(self._ownership.register)
        try:
            if await self._begun(chosen, skip_owned=skip_owned):
                await self._serve()
        finally:
            self._commands.end()
            await self._let_go(chosen)
        if self._failure:
            raise WorkerFault(self._failure)
        if self._ended and not self._stopping.is_set():
            lost = min(self._ended.values(), key=lambda error: error.exit_code)  # a fault before what is another's
            raise type(lost)(f"no phone is left to this worker: {lost}")

    async def _begun(self, chosen: Sequence[Phone], *, skip_owned: bool) -> bool:
        """Have leases and a store, unless the worker is told to end before that."""

        async def begin() -> None:
            await self._take_all(chosen, skip_owned=skip_owned)
            self._hosts.extend_lease(self._ownership.until)
            await self._hosts.prepare()

        beginning, stopping = asyncio.create_task(begin()), asyncio.create_task(self._stopping.wait())
        await asyncio.wait({beginning, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if beginning.done():
            beginning.result()
            return True
        beginning.cancel()
        await asyncio.wait({beginning})
        return False

    async def _let_go(self, chosen: Sequence[Phone]) -> None:
        """Give the leases back. A database that does not answer keeps nobody: they end by themselves."""
        phone_ids = [phone.id for phone in chosen]
        giving_back = asyncio.create_task(self._guard.call(self._ownership.let_go, phone_ids))
        done, _ = await asyncio.wait({giving_back}, timeout=LAST_WRITE_TIMEOUT)
        if not done:
            log.warn("leases end by themselves: the database does not answer", event="not_released")

    # ------------------------------------------------------------------------------ what sessions need of it

    def suspect_store(self) -> None:
        """Look whether the database answers; ``StoreLost`` or ``StoreBack`` follows."""
        self._guard.suspect()

    def stop(self) -> None:
        """End all sessions gracefully."""
        self._stopping.set()

    async def release(self, phone_id: int) -> None:
        """Give a phone back to whoever takes it next; it stays ours where the database does not answer."""
        await self._guard.call(self._ownership.release, phone_id)
        self._forget(phone_id)

    def handler_event(self, phone_id: int, event: HandlerEvent) -> None:
        """Something about the handler that belongs into a phone's history."""
        task = self._tasks.get(phone_id)
        if task is None:
            note = handler_note(event)
            log.warn(f"phone #{phone_id} is not ours any more: {note.message}", event=note.kind, **note.detail)
        elif task.session.finished:
            self._late.append((task.repository, event))
        else:
            task.tell(event)

    # ---------------------------------------------------------------------------------- what the inbox needs of it

    def message_taken(self, client: int, count: int) -> None:
        """So many messages of this client are safe."""
        self._hosts.message_taken(client, count)

    def inbox_stuck(self, phone_ids: frozenset[int]) -> None:
        """Close the sockets of these phones, whose messages cannot be written."""
        self._stuck |= phone_ids
        log.error(f"{len(phone_ids)} sockets are closed until their messages can be written", event="inbox_stuck")
        for phone_id in phone_ids:
            if task := self._tasks.get(phone_id):
                task.tell(StoreLost())

    def inbox_free(self) -> None:
        """Bring those back."""
        stuck, self._stuck = self._stuck, frozenset()
        if self._guard.answers:
            for phone_id in stuck:
                if task := self._tasks.get(phone_id):
                    task.tell(StoreBack())

    def _store_back(self) -> None:
        """The database answers again: but for those whose messages cannot be written, all go on."""
        self._handlers.store_back()
        for phone_id, task in self._tasks.items():
            if phone_id not in self._stuck:
                task.tell(StoreBack())

    def _time_over(self) -> None:
        if self._options.watching.on_event("", "time_over", {}):
            self.stop()

    # ---------------------------------------------------------------------------------------------- running

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_report)
        await self._commands.listen()
        async with asyncio.TaskGroup() as group:
            services = [
                group.create_task(self._service(name, work))
                for name, work in (
                    ("leases", self._guard.renew),
                    ("commands", self._commands.run),
                    ("store guard", self._guard.run),
                    ("pruning", partial(prune_daily, self._database, self._options.keep_history)),
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
        everyone: asyncio.Future[Any] = asyncio.gather(*running, return_exceptions=True)
        await asyncio.wait((stopping, everyone), return_when=asyncio.FIRST_COMPLETED)
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
        policy = PhonePolicy(task, self._hosts, self._guard.look_again, self._pause, partial(self.release, phone_id))
        try:
            if (lost := await policy.run()) is not None:
                self._ended[phone_id] = lost
                self._forget(phone_id)
            await policy.refuse_commands(str(lost or SHUTTING_DOWN))
        except Exception as error:  # noqa: BLE001  # a fault of the policy itself: nothing is sure any more
            self._fail(f"the task of {task.session.number}", error)

    async def _write_late_notes(self) -> None:
        """What handlers told of sessions that had ended by then; where it cannot be written it is said at least."""
        deadline = asyncio.get_running_loop().time() + LAST_WRITE_TIMEOUT
        for repository, event in self._late:
            note = handler_note(event)
            try:
                async with asyncio.timeout_at(deadline):
                    await repository.note(note)
            except (WaSessionsError, TimeoutError) as error:
                why = str(error) or "the database does not answer"
                log.error(f"{note.message} (not written: {why})", phone=repository.phone.number, event=note.kind)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _forget(self, phone_id: int) -> None:
        self._tasks.pop(phone_id, None)
        self._handlers.forget(phone_id)

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
        while isinstance(error, ExceptionGroup):  # of the tasks that a service has: the first one tells why
            error = error.exceptions[0]
        self._failure = f"{what} failed, a fault of wa-sessions: {type(error).__name__}: {error}"
        log.error(self._failure, event="service_failed")
        self.stop()

    # ----------------------------------------------------------------------------------------------- leases

    async def _take_all(self, chosen: Sequence[Phone], *, skip_owned: bool) -> None:
        refused: OwnedByAnother | None = None
        for phone in sorted(chosen, key=lambda phone: phone.id):
            try:
                epoch = await self._guard.call(self._ownership.take, phone.id)
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


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What failed where nobody waits for it."""
    error = context.get("exception")
    what = f"{type(error).__name__}: {error}" if error else context["message"]
    log.error(f"a fault of wa-sessions: {what}", event="fault")
