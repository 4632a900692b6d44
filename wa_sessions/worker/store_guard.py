"""Whether the database answers and the leases are ours: renewed in time, and after a loss everything brought back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from wa_sessions.errors import DatabaseError, OwnedByAnother
from wa_sessions.worker import log
from wa_sessions.worker.ownership import LEASE, LEASE_MARGIN, Ownership
from wa_sessions.worker.processes import HostProcesses
from wa_sessions.worker.repository import TRY_AGAIN
from wa_sessions.worker.session import Event, LeaseLost, StoreLost
from wa_sessions.worker.session_task import SessionTask

T = TypeVar("T")

RENEW_EVERY = 5.0  # seconds
PROBE_TIMEOUT = 1.0  # seconds without an answer after which the database counts as away


class StoreGuard:
    """Two services of the worker, over its ``tasks`` by phone: ``renew`` and ``run``."""

    def __init__(
        self,
        ownership: Ownership,
        hosts: HostProcesses,
        tasks: Mapping[int, SessionTask],
        hear_commands: Callable[[], Awaitable[None]],
        on_back: Callable[[], None],
    ) -> None:
        self._ownership = ownership
        self._hosts = hosts
        self._tasks = tasks
        self._hear_commands = hear_commands
        self._on_back = on_back
        self._thread = ThreadPoolExecutor(1, "leases")
        self._suspected = asyncio.Event()
        self._answers = asyncio.Event()
        self._answers.set()

    @property
    def answers(self) -> bool:
        """Whether the database answered when it was looked at last."""
        return self._answers.is_set()

    def call(self, work: Callable[..., T], *arguments: object) -> Awaitable[T]:
        """Do something with the leases, on a thread of their own: however many sessions wait for a lock."""
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def suspect(self) -> None:
        """Look whether the database answers; every session is told ``StoreLost`` or ``StoreBack``."""
        self._suspected.set()

    async def look_again(self) -> None:
        """Return when the database answers, seen anew."""
        self._answers.clear()
        self.suspect()
        await self._answers.wait()

    async def renew(self) -> None:
        """Keep the leases and the worker's row fresh, until cancelled.

        An answer that was long in coming leaves hosts little time: they live from when it was asked for.
        """
        pause = RENEW_EVERY
        while True:
            await asyncio.sleep(pause)
            pause = RENEW_EVERY
            if not self._answers.is_set():
                continue
            try:
                mine = await self.call(self._ownership.renew, self._alive())
            except TRY_AGAIN as error:
                log.warn(f"leases were not renewed: {error}; it is tried again", event="not_renewed")
                continue
            except DatabaseError:
                self.suspect()
                continue
            self._hosts.extend_lease(self._ownership.until)
            if self._ownership.until - time.monotonic() < LEASE - LEASE_MARGIN - RENEW_EVERY:
                pause = 0.0
            if self._tasks.keys() - mine:
                self.suspect()

    async def run(self) -> None:
        """When the database is lost, have all sockets closed, and bring everything back once it answers."""
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            regain = asyncio.create_task(self._regain())
            try:
                await asyncio.wait({regain}, timeout=PROBE_TIMEOUT)
                if not regain.done() or regain.exception() is not None:
                    self._answers.clear()
                    self._tell_all(StoreLost())
                    await self._regain_at_last(regain)
            finally:
                regain.cancel()
            self._answers.set()
            self._on_back()

    async def _regain_at_last(self, first: asyncio.Task[None]) -> None:
        """Try until the database answers, and has all that is needed."""
        waits = wait_exponential(multiplier=0.2, max=2) + wait_random(0, 0.2)
        again = retry_if_exception_type((DatabaseError, *TRY_AGAIN))
        async for attempt in AsyncRetrying(wait=waits, retry=again):
            with attempt:
                await (first if attempt.retry_state.attempt_number == 1 else self._regain())

    async def _regain(self) -> None:
        """See that the database answers, that every lease is ours, and that commands are heard of."""
        taken = await self.call(self._ownership.reclaim, list(self._tasks))
        for phone_id, epoch in taken.items():
            task = self._tasks.get(phone_id)
            if task is None:
                continue
            if isinstance(epoch, OwnedByAnother):
                task.tell(LeaseLost(str(epoch)))
            else:
                task.repository.lease.epoch = epoch
        await self.call(self._ownership.renew, self._alive())
        self._hosts.extend_lease(self._ownership.until)
        await self._hear_commands()

    def _alive(self) -> list[int]:
        return [
            phone_id
            for phone_id, task in self._tasks.items()
            if task.alive and (task.session.client is None or self._hosts.is_alive(task.session.client))
        ]

    def _tell_all(self, event: Event) -> None:
        for task in self._tasks.values():
            task.tell(event)
