"""The worker: owns phones by lease, runs their sessions, takes orders, and comes through a lost database."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from wa_sessions.db import commands, leases, phones, pruning, workers
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.phones import Phone
from wa_sessions.errors import DatabaseError, OwnedByAnother, PhoneNotFound, WaSessionsError
from wa_sessions.health.model import Limits
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker import log
from wa_sessions.worker.context import SessionOptions
from wa_sessions.worker.journal import Journal
from wa_sessions.worker.plans import LeaseLost, Order, Shutdown, StoreLost
from wa_sessions.worker.prepare import prepare_store
from wa_sessions.worker.session import PhoneSession

LEASE = 30.0  # seconds that a lease stands in the database after its last renewal
LEASE_MARGIN = 10.0  # seconds before that at which a session process ends itself
RENEW_EVERY = 5.0  # seconds
LOOK_EVERY = 60.0  # seconds between looks for orders of which no notification came
PRUNE_FIRST = 300.0  # seconds after the start until the history is pruned
PRUNE_EVERY = 86_400.0  # seconds between two prunings
STALE = 3600.0  # seconds of silence after which a killed worker's row is removed
SHUTDOWN_TIMEOUT = 9.0  # seconds for all sessions to end gracefully


class Supervisor:
    """Runs the sessions of some phones until it is told to stop."""

    def __init__(
        self,
        database: Database,
        backend: Backend,
        options: SessionOptions,
        limits: Limits,
        keep_history: timedelta = timedelta(),
    ) -> None:
        self._database = database
        self._keep_history = keep_history
        self._backend = backend
        self._options = options
        self._limits = limits
        self._worker_id = uuid4()
        self._sessions: dict[int, PhoneSession] = {}
        self._lock: Connection
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 1))
        self._store_ok = asyncio.Event()
        self._store_lost = asyncio.Event()
        self._ordered = asyncio.Event()
        self._stopping = asyncio.Event()
        self._lease_until = 0.0

    async def run(self, chosen: Sequence[Phone], *, skip_owned: bool = False) -> None:
        """Own ``chosen`` phones and run them until SIGTERM or SIGINT.

        Raises OwnedByAnother if another worker has one of them (all of them, with ``skip_owned``), DatabaseError if the
        database cannot be reached at the start.
        """
        if self._options.told_after is not None:
            asyncio.get_running_loop().call_later(self._options.told_after, self._time_over)
        await asyncio.to_thread(self._register)
        try:
            await self._take_all(chosen, skip_owned=skip_owned)
            await prepare_store(self._options.store_url)
            await self._serve()
        finally:
            await asyncio.to_thread(self._let_go)

    # ------------------------------------------------------------------------------ what sessions need of it

    def lease_until(self) -> float:
        """The end of the leases on the monotonic clock, less the margin."""
        return self._lease_until

    def start_slot(self) -> AbstractAsyncContextManager[Any]:
        """A place among the processes that start at the same time."""
        return self._slots

    async def store_back(self) -> None:
        """Return when the database answers and the leases are ours again."""
        await self._store_ok.wait()

    def stop(self) -> None:
        """End all sessions gracefully."""
        self._stopping.set()

    def _time_over(self) -> None:
        if self._options.on_told("", "time_over", {}):
            self.stop()

    async def give_up(self, session: PhoneSession) -> None:
        """Give a phone back to whoever takes it next; it stays ours where the database does not answer."""
        phone_id = session.journal.phone.id

        def release() -> None:
            with self._database.transaction() as conn:
                leases.release(self._lock, conn, phone_id, self._worker_id)

        await asyncio.to_thread(release)
        self._sessions.pop(phone_id, None)

    async def answer(self, order: Order, result: dict[str, Any] | WaSessionsError) -> None:
        """Write down what became of an order."""

        def write() -> None:
            with self._database.transaction() as conn:
                if isinstance(result, WaSessionsError):
                    commands.finish(conn, order.id, error=str(result), exit_code=int(result.exit_code))
                else:
                    commands.finish(conn, order.id, answer=result)

        await asyncio.to_thread(write)

    # ---------------------------------------------------------------------------------------------- running

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._store_ok.set()
        self._listen()
        keepers = [
            asyncio.create_task(keep()) for keep in (self._renew, self._take_orders, self._guard_store, self._prune)
        ]
        running = {
            asyncio.create_task(session.run(), name=session.number): session for session in self._sessions.values()
        }
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            pending: set[asyncio.Task[Any]] = set(running)
            while pending and not stopping.done():
                done, pending = await asyncio.wait({*pending, stopping}, return_when=asyncio.FIRST_COMPLETED)
                pending.discard(stopping)
                _report_failures(done - {stopping})
            await self._end(pending)
        finally:
            for task in (*keepers, stopping):
                task.cancel()
            await asyncio.gather(*keepers, stopping, return_exceptions=True)

    async def _end(self, pending: set[asyncio.Task[Any]]) -> None:
        if not pending:
            return
        log.info("stopping", event="stopping")
        for session in self._sessions.values():
            session.inbox.put_nowait(Shutdown())
        done, late = await asyncio.wait(pending, timeout=SHUTDOWN_TIMEOUT)
        _report_failures(done)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _renew(self) -> None:
        """Keep the leases and the worker's row fresh."""
        while True:
            await asyncio.sleep(RENEW_EVERY)
            if not self._store_ok.is_set():
                continue
            started = time.monotonic()
            try:
                mine = await asyncio.to_thread(self._renew_now)
            except DatabaseError:
                self._store_lost.set()
                continue
            self._extend(started)
            for phone_id in self._sessions.keys() - mine:
                session = self._sessions.pop(phone_id)
                session.inbox.put_nowait(LeaseLost("its lease was taken by another worker"))

    def _extend(self, from_: float) -> None:
        self._lease_until = from_ + LEASE - LEASE_MARGIN
        for session in self._sessions.values():
            session.extend_lease(self._lease_until)

    async def _take_orders(self) -> None:
        """Hand orders from the database to their sessions."""
        while True:
            await self._ordered.wait()
            self._ordered.clear()
            try:
                orders = await asyncio.to_thread(self._take_orders_now)
            except DatabaseError:
                self._store_lost.set()
                continue
            for order in orders:
                session = self._sessions.get(order.phone_id)
                if session:
                    session.inbox.put_nowait(Order(order.id, order.verb, order.actor, order.arguments))

    async def _guard_store(self) -> None:
        """When the database is lost, close all sockets, and bring everything back once it answers."""
        while True:
            await self._store_lost.wait()
            self._store_ok.clear()
            for session in self._sessions.values():
                session.inbox.put_nowait(StoreLost())
            waits = wait_exponential(multiplier=0.2, max=2) + wait_random(0, 0.2)
            async for attempt in AsyncRetrying(wait=waits, retry=retry_if_exception_type(DatabaseError)):
                with attempt:
                    await self._reclaim()
            self._store_lost.clear()
            self._store_ok.set()
            self._listen()

    async def _prune(self) -> None:
        """Once a day let go of what is older than the history is kept; 0 keeps all."""
        while self._keep_history:
            await asyncio.sleep(PRUNE_FIRST)
            try:
                gone, steps = 0, pruning.steps(self._database, self._keep_history)
                while step := await asyncio.to_thread(next, steps, None):  # short ones: a shutdown waits for its thread
                    gone += step[1]
                if gone:
                    log.info(f"history pruned: {gone} rows", event="pruned", rows=gone)
            except WaSessionsError as error:
                log.warn(f"the history was not pruned: {error}", event="not_pruned")
            await asyncio.sleep(PRUNE_EVERY)

    def _listen(self) -> None:
        """Listen for orders on a thread of its own; its connection also tells when the database goes."""
        loop = asyncio.get_running_loop()

        def listen() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                try:
                    with self._database.dedicated() as conn:
                        commands.listen(conn)
                        while True:
                            loop.call_soon_threadsafe(self._ordered.set)
                            commands.await_request(conn, self._worker_id, LOOK_EVERY)
                except DatabaseError:
                    loop.call_soon_threadsafe(self._store_lost.set)

        threading.Thread(target=listen, name="listen", daemon=True).start()

    # ----------------------------------------------------------------------------------------------- leases

    async def _take_all(self, chosen: Sequence[Phone], *, skip_owned: bool) -> None:
        self._lock = await asyncio.to_thread(self._database.dedicated)
        self._lease_until = time.monotonic() + LEASE - LEASE_MARGIN
        refused: OwnedByAnother | None = None
        for phone in chosen:
            try:
                epoch = await asyncio.to_thread(self._take, phone.id)
            except OwnedByAnother as error:
                if not skip_owned:
                    raise
                refused = error
                log.warn(f"left alone: {error}", phone=phone.number, event="owned_by_another")
                continue
            journal = Journal(self._database, self._backend, phone, self._worker_id, epoch, self._limits)
            self._sessions[phone.id] = PhoneSession(journal, self._options, self)
        if refused and not self._sessions:
            raise refused

    async def _reclaim(self) -> None:
        """Take every lease again on a new connection. Raises DatabaseError while the database is away."""
        started = time.monotonic()
        with contextlib.suppress(Exception):
            self._lock.close()
        self._lock = await asyncio.to_thread(self._database.dedicated)
        for phone_id, session in list(self._sessions.items()):
            try:
                session.journal.epoch = await asyncio.to_thread(self._take, phone_id)
            except OwnedByAnother as error:
                session.inbox.put_nowait(LeaseLost(str(error)))
        await asyncio.to_thread(self._renew_now)
        self._extend(started)

    def _register(self) -> None:
        with self._database.transaction() as conn:
            workers.forget_stale(conn, STALE)
            workers.register(conn, self._worker_id, socket.gethostname(), os.getpid(), version("wa-sessions"))

    def _take(self, phone_id: int) -> int:
        """Own a phone that is ours to run; returns the epoch. Raises OwnedByAnother."""
        with self._database.transaction() as conn:
            dead = _is_gone(leases.owner(conn, phone_id))
            epoch = leases.take(self._lock, conn, phone_id, self._worker_id, LEASE, dead=dead)
            refusal = self._refusal(conn, phone_id)
            if refusal:
                leases.release(self._lock, conn, phone_id, self._worker_id)
        if refusal:
            raise refusal
        return epoch

    def _refusal(self, conn: Connection, phone_id: int) -> OwnedByAnother | None:
        """Why no worker may run a phone by now."""
        try:
            phone = phones.find(conn, self._backend, PhoneRef(phone_id=phone_id))
            if phone.connection_type != "neonize":
                return OwnedByAnother(f"{phone.number} is a {phone.connection_type} phone by now")
            phones.require_alone(conn, self._backend, phone)
        except PhoneNotFound as error:
            return OwnedByAnother(str(error))
        except OwnedByAnother as error:
            return error
        return None

    def _renew_now(self) -> set[int]:
        with self._database.transaction() as conn:
            if not workers.heartbeat(conn, self._worker_id):
                workers.register(conn, self._worker_id, socket.gethostname(), os.getpid(), version("wa-sessions"))
            return leases.renew(conn, self._worker_id, LEASE)

    def _take_orders_now(self) -> list[commands.Command]:
        with self._database.transaction() as conn:
            return commands.take(conn, self._worker_id)

    def _let_go(self) -> None:
        try:
            with self._database.transaction() as conn:
                for phone_id in self._sessions:
                    leases.release(self._lock, conn, phone_id, self._worker_id)
                workers.forget(conn, self._worker_id)
            self._lock.close()
        except (DatabaseError, AttributeError) as error:
            log.warn(f"leases end by themselves in {LEASE:.0f} s: {error}", event="not_released")


def _is_gone(owner: leases.WorkerInfo | None) -> bool:
    """Whether a worker of this machine was killed, and its session processes with it; in a container it had our pid."""
    if owner is None:
        return False
    return (owner.host, owner.pid) == (socket.gethostname(), os.getpid()) or workers.was_killed(owner)


def _report_failures(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            log.error(
                f"session ended by a fault of wa-sessions: {type(error).__name__}: {error}",
                phone=task.get_name(),
                event="fault",
            )
