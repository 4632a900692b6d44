"""The worker: one task group with its services, and a task for each phone under a policy of how often it may fail."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Database
from wa_sessions.db.leases import HURRY
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, TryAgain, WaSessionsError
from wa_sessions.worker import log
from wa_sessions.worker.command_queue import CommandQueue
from wa_sessions.worker.fleet import Scope
from wa_sessions.worker.fleet_watch import Chosen, FleetWatch
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.ownership import HARDLY, Ownership
from wa_sessions.worker.ports import HandlerEvent
from wa_sessions.worker.processes import HandlerProcesses, HostProcesses
from wa_sessions.worker.pruner import prune_daily
from wa_sessions.worker.session import Settings
from wa_sessions.worker.session_task import Watching
from wa_sessions.worker.session_tasks import LAST_WRITE_TIMEOUT, SessionTasks
from wa_sessions.worker.store_guard import StoreGuard

SHUTDOWN_TIMEOUT = 6.5  # seconds for all sessions to end gracefully
END_TIMEOUT = 8.5  # seconds for that, and for messages that wait for their handler
DRAIN_AT_LEAST = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker runs. ``scope``: the phones that it shares with others; without one it runs those that are named.

    ``trial_timeout``: seconds after which ``on_event`` is told ``time_over`` of no phone. ``handles``: whether messages
    are handed to a handler.
    """

    settings: Settings
    times: LeaseTimes = field(default_factory=LeaseTimes)
    keep_history: timedelta = timedelta()
    trial_timeout: float | None = None
    watching: Watching = field(default_factory=Watching)
    scope: Scope | None = None
    handles: bool = True


class WorkerFault(WaSessionsError):
    """A service of the worker failed, and nothing goes on without it."""


class Supervisor:
    """Runs sessions until it is told to stop."""

    def __init__(
        self,
        database: Database,
        backend: Backend,
        options: WorkerOptions,
        hosts: HostProcesses,
        handlers: HandlerProcesses,
    ) -> None:
        self._database = database
        self._options = options
        self._hosts = hosts
        self._handlers = handlers
        self.worker_id: UUID = uuid4()
        scope = options.scope.name if options.scope else None
        self._ownership = Ownership(database, backend, self.worker_id, options.times, scope, handles=options.handles)
        self._stopping = asyncio.Event()
        self._sessions = SessionTasks(
            database,
            backend,
            self.worker_id,
            options.settings,
            options.watching,
            hosts,
            handlers,
            self.stop,
            self._fail,
        )
        self._tasks = self._sessions.tasks
        self._commands = CommandQueue(
            database, self.worker_id, self._sessions.give, self.suspect_store, lambda: self._sessions.changed()
        )
        self._guard = StoreGuard(
            self._ownership, options.times, hosts, self._tasks, self._commands.listen, self._sessions.store_back
        )
        self._sessions.use(self._guard, self._ownership)
        self._failure: str | None = None

    async def run(self, named: Sequence[Phone] = (), *, wait: bool = False) -> None:
        """Run the phones of the scope, taking and letting go as other workers come and go, until SIGTERM or SIGINT.

        Or the ``named`` ones: what another worker has of them is waited for with ``wait``. Else raises OwnedByAnother
        if it has one of them at the start, or has taken the last one. Raises PhoneNotFound if the last one's row is
        gone; DatabaseError if the database cannot be reached at the start; WorkerFault; WaSessionsError if all that is
        left are phones that were set down for their faults.
        """
        if self._options.trial_timeout is not None:
            asyncio.get_running_loop().call_later(self._options.trial_timeout, self._time_over)
        self._handlers.begin(self._sessions)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        chosen = Chosen(self._options.scope, frozenset(phone.id for phone in named), wait)
        fleet = FleetWatch(chosen, self._options.times, self._ownership, self._guard, self._sessions)
        self._sessions.changed = fleet.changed
        try:
            if await self._begun(chosen):
                await self._serve(fleet)
        finally:
            fleet.stop()
            self._commands.end()
            await self._give_back_the_rest()
        if self._failure:
            raise WorkerFault(self._failure)
        errors = [error for error in self._sessions.ended.values() if error is not None]
        if errors and not self._stopping.is_set():
            lost = min(errors, key=lambda error: error.exit_code)  # a fault before what is another's
            raise type(lost)(f"no phone is left to this worker: {lost}")

    async def _begun(self, chosen: Chosen) -> bool:
        """Have a store, be known, and have what can be had of the named phones, unless told to end before that."""

        async def begin() -> None:
            await self._hosts.prepare()
            await self._guard.register()
            self._hosts.extend_lease(self._ownership.until)
            if chosen.scope is None:
                self._sessions.choose(chosen.phone_ids, wait=chosen.wait)
                await self._take_named(chosen)

        beginning, stopping = asyncio.create_task(begin()), asyncio.create_task(self._stopping.wait())
        await asyncio.wait({beginning, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if beginning.done():
            beginning.result()
            return True
        beginning.cancel()
        await asyncio.wait({beginning})
        return False

    async def _take_named(self, chosen: Chosen) -> None:
        """In one order, so that of two workers that begin at once one has them all.

        What somebody has locked comes later, with ``wait``: nothing is renewed until all have been tried.
        """
        waits = HURRY if chosen.wait else None
        for phone_id in sorted(chosen.phone_ids):
            try:
                epoch, phone = await self._guard.call(partial(self._ownership.take, phone_id, waits=waits))
            except (OwnedByAnother, TryAgain) as error:
                if not chosen.wait:
                    raise
                waits = waits if isinstance(error, OwnedByAnother) else HARDLY
                log.info(f"waited for: {error}", event="waiting", phone_id=phone_id)
                continue
            self._sessions.start(phone, epoch)

    async def _give_back_the_rest(self) -> None:
        """A database that does not answer keeps nobody: leases end by themselves."""
        giving_back = asyncio.create_task(self._guard.call(self._ownership.end))
        done, _ = await asyncio.wait({giving_back}, timeout=LAST_WRITE_TIMEOUT)
        if not done:
            log.warn("leases end by themselves: the database does not answer", event="not_released")

    def suspect_store(self) -> None:
        """Look whether the database answers; ``StoreLost`` or ``StoreBack`` follows."""
        self._guard.suspect()

    def stop(self) -> None:
        """End all sessions gracefully."""
        self._stopping.set()

    def handler_event(self, phone_id: int, event: HandlerEvent) -> None:
        """Something about the handler that belongs into a phone's history."""
        self._sessions.handler_event(phone_id, event)

    def _time_over(self) -> None:
        if self._options.watching.on_event("", "time_over", {}):
            self.stop()

    # ---------------------------------------------------------------------------------------------- running

    async def _serve(self, fleet: FleetWatch) -> None:
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
                    ("fleet", fleet.run),
                )
            ]
            self._sessions.run_in(group)
            await self._until_over(fleet)
            for service in services:
                service.cancel()

    async def _until_over(self, fleet: FleetWatch) -> None:
        """Until every phone is done with, or all are told to end; then what handlers have in hand is waited for."""
        waits = {asyncio.create_task(event.wait()) for event in (self._stopping, self._sessions.over)}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for waiting in waits:
            waiting.cancel()
        fleet.stop()
        began = time.monotonic()
        over = asyncio.create_task(self._sessions.all_over())
        if self._sessions.running:
            log.info("stopping", event="stopping")
            self._handlers.wind_down()
            self._sessions.let_all_go()
            await asyncio.wait({over}, timeout=SHUTDOWN_TIMEOUT)
        await self._handlers.drain(max(DRAIN_AT_LEAST, began + END_TIMEOUT - time.monotonic()))
        await self._sessions.write_late_notes()
        await self._hosts.end(1.0)
        self._sessions.cancel()
        await over

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


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What failed where nobody waits for it."""
    error = context.get("exception")
    what = f"{type(error).__name__}: {error}" if error else context["message"]
    log.error(f"a fault of wa-sessions: {what}", event="fault")
