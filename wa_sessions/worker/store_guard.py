"""Whether the database answers and the leases are ours: renewed in time, and after a loss everything brought back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from wa_sessions.errors import Busy, OwnedByAnother, StoreAway, WaSessionsError
from wa_sessions.worker import log
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.ownership import Ownership
from wa_sessions.worker.processes import HostProcesses
from wa_sessions.worker.repository import STORE_AWAY, TRY_AGAIN
from wa_sessions.worker.session import Event, LeaseLost, StoreLost
from wa_sessions.worker.session_task import SessionTask

T = TypeVar("T")

RECLAIMED_AT_ONCE = 50  # phones between two renewals


class StoreGuard:
    """Two services of the worker, over its ``tasks`` by phone: ``renew`` and ``run``."""

    def __init__(
        self,
        ownership: Ownership,
        times: LeaseTimes,
        hosts: HostProcesses,
        tasks: Mapping[int, SessionTask],
        hear_commands: Callable[[], Awaitable[None]],
        on_back: Callable[[], None],
    ) -> None:
        self._ownership = ownership
        self._times = times
        self._hosts = hosts
        self._tasks = tasks
        self._hear_commands = hear_commands
        self._on_back = on_back
        self._thread = ThreadPoolExecutor(1, "leases")
        self._in_doubt = False  # whether phones may be without their locks, or another's by now
        self._lapsed = False  # whether others may have thought this worker dead, and all is not regained since
        self._again: dict[int, None] = {}  # phones that are ours, whose locks could not be had anew yet, in turn
        self._suspected = asyncio.Event()
        self._answers = asyncio.Event()
        self._answers.set()
        self._back_since = now()

    @property
    def answers(self) -> bool:
        """Whether the database answered when it was looked at last."""
        return self._answers.is_set()

    @property
    def back_for(self) -> float:
        """Seconds since the worker began, or came back from a silence of its own or of the database."""
        return now() - self._back_since

    async def register(self) -> None:
        """Make the worker known, or its return."""
        await self.call(self._ownership.register)
        self._back_since = now()

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Do something with the leases, on a thread of their own: however many sessions wait for a lock.

        Raises DatabaseAway where no answer comes within a lease: the connection is cut then.
        """
        loop = asyncio.get_running_loop()
        giving_up = loop.call_later(self._times.lease, self._ownership.cut)
        try:
            return await loop.run_in_executor(self._thread, work, *arguments)
        finally:
            giving_up.cancel()

    def suspect(self) -> None:
        """Look whether the database answers; every session is told ``StoreLost`` or ``StoreBack``."""
        self._suspected.set()

    async def until_it_answers(self) -> None:
        """Return at once if the database answered when it was looked at last, else when it does."""
        await self._answers.wait()

    async def look_again(self) -> None:
        """Return when the database answers, seen anew."""
        self._answers.clear()
        self.suspect()
        await self.until_it_answers()

    async def renew(self) -> None:
        """Keep the worker's row fresh, and with it its leases, until cancelled.

        An answer that was long in coming leaves hosts little time: they live from when it was asked for.
        """
        pause = self._times.renew_every
        while True:
            await asyncio.sleep(pause)
            pause = self._times.renew_every
            if not self._answers.is_set():
                continue
            overdue = asyncio.get_running_loop().call_later(self._times.answer_within, self.suspect)
            try:
                mine = await self.call(self._ownership.renew, self._silent(), self._hosts.running())
            except TRY_AGAIN as error:
                log.warn(f"leases were not renewed: {error}; it is tried again", event="not_renewed")
                continue
            except StoreAway:
                self.suspect()
                continue
            finally:
                overdue.cancel()
            self._hosts.extend_lease(self._ownership.until)
            if self._ownership.until - now() < self._times.host_deadline - self._times.renew_every:
                pause = 0.0
            if mine is None or self._tasks.keys() - mine:
                self.suspect()
            elif self._again:
                await self._reclaim_again()

    async def run(self) -> None:
        """When the database is lost, have all sockets closed, and bring everything back once it answers."""
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            regain, began = asyncio.create_task(self._regain()), now()
            try:
                await asyncio.wait({regain}, timeout=self._times.answer_within)
                if not regain.done() or regain.exception() is not None:
                    self._answers.clear()
                    self._tell_all(StoreLost())
                    self._say_lost(regain)
                    await self._regain_at_last(regain)
                    self._back_since = now()
                    log.info(f"the database answers again after {now() - began:.1f} s", event="store_back")
            finally:
                regain.cancel()
            self._answers.set()
            self._on_back()

    def _say_lost(self, regain: asyncio.Task[None]) -> None:
        """One line for the worker, however many phones it has."""
        error = regain.exception() if regain.done() else None
        why = str(error) if error else f"the database does not answer since {self._times.answer_within:g} s"
        log.error(f"{why}: sockets are closed, WhatsApp keeps the messages", event="store_lost")

    async def _regain_at_last(self, first: asyncio.Task[None]) -> None:
        """Try until the database answers, and has all that is needed."""
        waits = wait_exponential(multiplier=0.2, max=2) + wait_random(0, 0.2)
        again = retry_if_exception_type(STORE_AWAY)
        async for attempt in AsyncRetrying(wait=waits, retry=again):
            with attempt:
                await (first if attempt.retry_state.attempt_number == 1 else self._regain())

    async def _regain(self) -> None:
        """See that the database answers, that every phone is ours, and that commands are heard of."""
        self._in_doubt |= await self.call(self._ownership.lost_locks)
        mine = await self.call(self._ownership.renew, self._silent(), self._hosts.running())
        if mine is None:
            self._in_doubt = self._lapsed = True
            await self.register()
        certain = frozenset[int]() if self._lapsed or mine is None else mine
        lacking = self._tasks.keys() if self._in_doubt else self._tasks.keys() - certain
        self._in_doubt |= bool(lacking)
        await self._reclaim(sorted(lacking), certain)
        self._in_doubt = self._lapsed = False
        self._hosts.extend_lease(self._ownership.until)
        await self._hear_commands()

    async def _reclaim(self, phone_ids: Sequence[int], certain: Collection[int]) -> None:
        """A few at a time: leases are renewed meanwhile, however many there are.

        Where somebody changes one at this moment, its lock may come later if it is ours for ``certain``; if not, it is
        let go, as it may be another's by then.
        """
        left = iter(phone_ids)
        while some := list(islice(left, RECLAIMED_AT_ONCE)):
            numbers = {phone_id: self._tasks[phone_id].session.number for phone_id in some if phone_id in self._tasks}
            for phone_id, taken in (await self.call(self._ownership.reclaim, numbers)).items():
                self._reclaimed(phone_id, taken, certain=phone_id in certain)
            if await self.call(self._ownership.renew, self._silent(), self._hosts.running()) is None:
                raise Busy("the leases were not renewed in time meanwhile: run it again")

    def _reclaimed(self, phone_id: int, taken: int | WaSessionsError, *, certain: bool) -> None:
        """Heed what came of a phone."""
        self._again.pop(phone_id, None)
        task = self._tasks.get(phone_id)
        if task is None:
            return
        if isinstance(taken, int):
            task.repository.lease.epoch = taken
        elif certain and not isinstance(taken, OwnedByAnother):
            self._again[phone_id] = None
        else:
            task.tell(LeaseLost(str(taken)))

    async def _reclaim_again(self) -> None:
        """Some of those that somebody had locked. Their leases stand, so nobody else takes them meanwhile."""
        self._again = {phone_id: None for phone_id in self._again if phone_id in self._tasks}
        some = list(islice(self._again, RECLAIMED_AT_ONCE))
        with contextlib.suppress(*STORE_AWAY):
            await self._reclaim(some, some)
            self._hosts.extend_lease(self._ownership.until)

    def _silent(self) -> list[int]:
        return [
            phone_id
            for phone_id, task in self._tasks.items()
            if not task.alive or not (task.session.client is None or self._hosts.is_alive(task.session.client))
        ]

    def _tell_all(self, event: Event) -> None:
        for task in self._tasks.values():
            task.tell(event)
