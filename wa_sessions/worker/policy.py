"""How often a phone's task may fail, and what then."""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wa_sessions.errors import OwnedByAnother, PhoneNotFound, WaSessionsError
from wa_sessions.health.events.workers import Fault, Faulted
from wa_sessions.health.reconnect import State, Status
from wa_sessions.worker import log
from wa_sessions.worker.backoff import Backoff
from wa_sessions.worker.effects import Note, Record, SetStatus
from wa_sessions.worker.ports import SessionHosts
from wa_sessions.worker.repository import STORE_AWAY
from wa_sessions.worker.session_task import SessionTask

STORE_BACK_FOR = 60.0  # seconds that a phone must be without an error of the database for its pauses to be short again
MOST_FAULTS = 5
FAULTS_WITHIN = 600.0  # seconds


@dataclass(frozen=True, slots=True)
class PhonePolicy:
    """Runs one phone's task until it is over.

    A fault is recorded, and the task goes on from what is stored, after a pause that grows; at the fifth within ten
    minutes the phone is set down as ``faulted`` and released. ``store_again`` returns when the database answers,
    ``pause`` after some seconds or when the worker ends; ``release`` gives the lease back.
    """

    task: SessionTask
    hosts: SessionHosts
    store_again: Callable[[], Awaitable[None]]
    pause: Callable[[float], Awaitable[None]]
    release: Callable[[], Awaitable[None]]

    async def run(self) -> WaSessionsError | None:
        """Until the session is over; why the phone is not this worker's any more, if it is not."""
        faults: deque[float] = deque(maxlen=MOST_FAULTS)
        backoff, fault, waits = Backoff(), "the database was lost", StoreWaits(self)
        while True:
            try:
                await (self.task.resume(fault) if self.task.begun else self.task.run())
                return OwnedByAnother(self.task.lost) if self.task.lost is not None else None
            except PhoneNotFound as gone:
                await self._gone(str(gone))
                return gone
            except Exception as error:  # noqa: BLE001  # a phone's fault is that phone's alone, and ends here
                if isinstance(error, STORE_AWAY):
                    await waits.until_back(error)
                    continue
                fault = " ".join(f"a fault of wa-sessions: {type(error).__name__}: {error}".split())
            if faults and time.monotonic() - faults[-1] > FAULTS_WITHIN:
                backoff.reset()
            faults.append(time.monotonic())
            if len(faults) == MOST_FAULTS and faults[-1] - faults[0] < FAULTS_WITHIN:
                await self._faulted(fault)
                return WaSessionsError(fault)
            await self._record(fault)
            await self.pause(backoff.next())

    async def refuse_commands(self, why: str) -> None:
        """Answer whoever still waits."""
        try:
            await self.task.refuse_open_commands(OwnedByAnother(why))
        except WaSessionsError as error:
            log.warn(f"commands were not answered: {error}", phone=self.task.session.number, event="not_answered")

    async def _gone(self, why: str) -> None:
        """The phone's row is gone: end its session, and leave no lease behind."""
        log.error(f"session given up: {why}", phone=self.task.session.number, event="phone_gone")
        self._drop()
        await self._let_go()

    async def _faulted(self, fault: str) -> None:
        """Too many faults: down with the reason, until somebody looks."""
        self._drop()
        before = self.task.session
        after = before.towards(State.FAULTED, fault)
        message = (
            f"{fault}; {MOST_FAULTS} times in ten minutes, so it stays down until: wa-sessions run {before.number}"
        )
        note = Note(Faulted(fault), message, "error")
        status, waits = SetStatus(Status.DISCONNECTED, qr_code=None), StoreWaits(self)
        tries: list[list[Record]] = [[status, note], [status, note], [note]]
        for records in tries:  # what is refused may be the backend's status alone
            try:
                await self.task.repository.commit(before, after, records)
                break
            except Exception as error:  # noqa: BLE001  # it is what cannot be written that has to be told here
                log.error(f"{message} (not written: {error})", phone=before.number, event=State.FAULTED.value)
                if isinstance(error, STORE_AWAY):
                    await waits.until_back(error)
        await self._let_go()

    async def _record(self, fault: str) -> None:
        try:
            note = Note(Fault(fault), f"{fault}; the session goes on", "error")
            await self.task.repository.note(note)
        except Exception as error:  # noqa: BLE001  # it is what cannot be written that has to be told here
            log.error(f"{fault} (not written: {error})", phone=self.task.session.number, event="fault")

    def _drop(self) -> None:
        if self.task.session.client is not None:
            self.hosts.drop(self.task.session.client)

    async def _let_go(self) -> None:
        """Give the lease back once no socket is open: whoever has it next opens one at once."""
        try:
            await self.task.clients_gone()
            await self.release()
        except WaSessionsError as error:
            log.warn(f"not given back yet: {error}", phone=self.task.session.number, event="not_released")


class StoreWaits:
    """Waits until the database answers; where it answers the worker and not this phone, for longer each time."""

    def __init__(self, policy: PhonePolicy) -> None:
        self._policy = policy
        self._backoff = Backoff(0.5, 30.0)
        self._back_at: float | None = None
        self._told: str | None = None

    async def until_back(self, error: Exception) -> None:
        """After ``error``, which is said once if it is this phone's alone."""
        alone = self._back_at is not None and time.monotonic() - self._back_at < STORE_BACK_FOR
        if not alone:
            self._backoff.reset()
            self._told = None
        elif (why := str(error)) != self._told:
            self._told = why
            log.error(f"{why}; it is tried again", phone=self._policy.task.session.number, event="store_lost")
        await self._policy.store_again()
        if alone:
            await self._policy.pause(self._backoff.next())
        self._back_at = time.monotonic()
