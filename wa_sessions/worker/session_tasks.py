"""The sessions that run in this worker, by phone: begun, let go, given back, lost."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from uuid import UUID

from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, PhoneNotFound, WaSessionsError
from wa_sessions.worker import log
from wa_sessions.worker.commands import SHUTTING_DOWN
from wa_sessions.worker.machine import handler_note
from wa_sessions.worker.ownership import Ownership
from wa_sessions.worker.policy import PhonePolicy
from wa_sessions.worker.ports import HandlerEvent
from wa_sessions.worker.processes import HandlerProcesses, HostProcesses
from wa_sessions.worker.repository import Lease, SessionRepository
from wa_sessions.worker.session import (
    Command,
    CommandGiven,
    Event,
    Resumed,
    Session,
    Settings,
    Shutdown,
    Started,
    StoreBack,
    StoreLost,
)
from wa_sessions.worker.session_task import SessionTask, Watching
from wa_sessions.worker.store_guard import StoreGuard

RESERVED = 30.0  # seconds that a phone is kept for the operator who had it released
LAST_WRITE_TIMEOUT = 1.0  # seconds for what is written last: late entries of the history, then the leases


class SessionTasks:
    """One task for each phone of this worker, and what the tasks, the hosts and the inbox need of the worker.

    ``named``: the phones that it was given, None where it shares those of a scope; ``waits``: what another worker has
    of them is waited for. ``stop`` ends the worker; ``failed`` too, as a fault leaves nothing sure.
    """

    def __init__(
        self,
        database: Database,
        backend: Backend,
        worker_id: UUID,
        settings: Settings,
        watching: Watching,
        hosts: HostProcesses,
        handlers: HandlerProcesses,
        stop: Callable[[], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self.worker_id = worker_id
        self._database = database
        self._backend = backend
        self._settings = replace(settings, origin=worker_id.hex[:8])
        self._watching = watching
        self._hosts = hosts
        self._handlers = handlers
        self.stop = stop
        self._failed = failed
        self._guard: StoreGuard
        self._ownership: Ownership
        self._group: asyncio.TaskGroup | None = None
        self._named: frozenset[int] | None = None
        self._waits = False
        self._late: list[tuple[SessionTask, HandlerEvent]] = []
        self._stuck: frozenset[int] = frozenset()
        self._stopping = asyncio.Event()
        self.tasks: dict[int, SessionTask] = {}
        self.running: dict[int, asyncio.Task[None]] = {}
        self.leaving: set[int] = set()
        self.set_down: dict[int, str] = {}  # phones, and the numbers that they had
        self.ended: dict[int, WaSessionsError | None] = {}
        self.over = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None

    def use(self, guard: StoreGuard, ownership: Ownership) -> None:
        """By whom leases are kept; called once, before anything is begun."""
        self._guard, self._ownership = guard, ownership

    # ----------------------------------------------------------------------------------------------- beginning

    def run_in(self, group: asyncio.TaskGroup) -> None:
        """Run what was begun by now, and what will be."""
        self._group = group
        for phone_id, task in self.tasks.items():
            self._run(phone_id, task)

    def choose(self, phone_ids: Collection[int], *, wait: bool) -> None:
        """The worker runs these phones and no others; ``over`` is set when it has none of them any more."""
        self._named, self._waits = frozenset(phone_ids), wait

    def start(self, phone: Phone, epoch: int, *, afresh: bool = True) -> None:
        """Begin with a phone that is ours under this epoch.

        ``afresh``: it connects, whatever had ended it. Else what another worker left closed stays closed.
        """
        repository = SessionRepository(self._database, self._backend, phone, self.worker_id, Lease(epoch))
        session = Session(phone.number, self._settings, begins=afresh)
        self._handlers.serve(phone)
        self.ended.pop(phone.id, None)
        self.set_down.pop(phone.id, None)
        begin = Started() if afresh else Resumed()
        task = SessionTask(session, repository, self._hosts, self._handlers, self, self._watching, begin)
        self.tasks[phone.id] = task
        if self._group is not None:
            self._run(phone.id, task)
        if self._stopping.is_set():
            self.let_go(phone.id)

    def _run(self, phone_id: int, task: SessionTask) -> None:
        assert self._group is not None
        self.running[phone_id] = self._group.create_task(self._live(phone_id, task))

    async def _live(self, phone_id: int, task: SessionTask) -> None:
        policy = PhonePolicy(task, self._hosts, self._guard.look_again, self._pause, partial(self._give_back, phone_id))
        try:
            lost = await policy.run()
            await policy.refuse_commands(str(lost or SHUTTING_DOWN))
            await self._part(phone_id, task, lost)
        except Exception as error:  # noqa: BLE001  # a fault of the policy itself: nothing is sure any more
            self._failed(f"the task of {task.session.number}", error)
        finally:
            self.running.pop(phone_id, None)
            self.leaving.discard(phone_id)
            self.changed()

    # -------------------------------------------------------------------------------------------------- ending

    def let_go(self, phone_id: int, reason: str | None = None, *, ours: bool = True) -> None:
        """End a session gracefully, and give its phone back: for a reason, or as the worker ends.

        ``ours``: another worker runs it next; else its status is the backend's to write.
        """
        task = self.tasks.get(phone_id)
        if task is None or phone_id in self.leaving:
            return
        self.leaving.add(phone_id)
        self._handlers.hold_back(phone_id)
        task.tell(Shutdown(reason, ours))

    def let_all_go(self) -> None:
        """As the worker ends: side by side, each for another worker to take as soon as it has ended."""
        self._stopping.set()
        for phone_id in list(self.tasks):
            self.let_go(phone_id)

    async def all_over(self) -> None:
        """Return when no session runs any more."""
        while self.running:
            await asyncio.wait(self.running.values())

    def cancel(self) -> None:
        """End what has not ended by itself."""
        for running in self.running.values():
            running.cancel()

    async def _part(self, phone_id: int, task: SessionTask, lost: WaSessionsError | None) -> None:
        """The session is over: because it was let go, or the phone is not ours any more, or was set down."""
        if task.lost is not None:
            self._forget(phone_id)
            await task.clients_gone()
        elif isinstance(lost, PhoneNotFound):  # a row that was gone for a moment is another phone's that came
            self._forget(phone_id)
        elif lost is not None:
            self.set_down[phone_id] = task.session.number
            self._forget(phone_id)
        elif phone_id in self.tasks:
            await self._hand_over(phone_id, task)
        if lost is None and task.session.stop_reason is not None:
            lost = OwnedByAnother(f"{task.session.number}: {task.session.stop_reason}")
        if not self._waits or (lost is not None and phone_id in self.set_down):
            self.ended[phone_id] = lost
        if self._named is not None and self._named <= self.ended.keys():
            self.over.set()

    async def _hand_over(self, phone_id: int, task: SessionTask) -> None:
        await self._handlers.settled(phone_id)
        await self.write_late_notes(task)
        try:
            await self._give_back(phone_id)
        except WaSessionsError as error:
            self._forget(phone_id)
            log.warn(f"not given back yet: {error}", phone=task.session.number, event="not_released")

    async def _give_back(self, phone_id: int, reserved_for: float = 0.0) -> None:
        await self._handlers.settled(phone_id)
        await self._guard.call(self._ownership.release, phone_id, reserved_for)
        self._forget(phone_id)

    def _forget(self, phone_id: int) -> None:
        self.tasks.pop(phone_id, None)
        self._handlers.forget(phone_id)

    async def write_late_notes(self, of: SessionTask | None = None) -> None:
        """What handlers told of sessions that had ended by then; where it cannot be written it is said at least."""
        deadline = asyncio.get_running_loop().time() + LAST_WRITE_TIMEOUT
        late = [(task, event) for task, event in self._late if of in (None, task)]
        self._late = [one for one in self._late if one not in late]
        for task, event in late:
            note = handler_note(event)
            try:
                async with asyncio.timeout_at(deadline):
                    await task.repository.note(note)
            except (WaSessionsError, TimeoutError) as error:
                why = str(error) or "the database does not answer"
                log.error(f"{note.message} (not written: {why})", phone=task.session.number, event=note.kind)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # ------------------------------------------------------------------------------------ what is told of phones

    def give(self, phone_id: int, command: Command) -> bool:
        """Hand over a command; False where the worker does not run its phone."""
        task = self.tasks.get(phone_id)
        if task is None or task.session.finished:
            return False
        task.tell(CommandGiven(command))
        return True

    def handler_event(self, phone_id: int, event: HandlerEvent) -> None:
        """Something about the handler that belongs into a phone's history."""
        task = self.tasks.get(phone_id)
        if task is None:
            note = handler_note(event)
            text = f"phone #{phone_id} is not ours any more: {note.message}"
            log.warn(text, event=note.kind, **note.detail.as_json())
        elif task.session.finished:
            self._late.append((task, event))
        else:
            task.tell(event)

    def store_back(self) -> None:
        """The database answers again: but for those whose messages cannot be written, all go on."""
        self._handlers.store_back()
        self._tell(StoreBack(), self.tasks.keys() - self._stuck)

    def _tell(self, event: Event, phone_ids: Collection[int]) -> None:
        for phone_id in phone_ids:
            if task := self.tasks.get(phone_id):
                task.tell(event)

    # ---------------------------------------------------------------- what sessions, hosts and inbox need of it

    def suspect_store(self) -> None:
        """Look whether the database answers; ``StoreLost`` or ``StoreBack`` follows."""
        self._guard.suspect()

    async def release(self, phone_id: int) -> None:
        """Give a phone back to the operator who asked for it; it stays ours where the database does not answer."""
        await self._give_back(phone_id, RESERVED)

    def message_taken(self, client: int, count: int) -> None:
        """So many messages of this client are safe."""
        self._hosts.message_taken(client, count)

    def inbox_stuck(self, phone_ids: frozenset[int]) -> None:
        """Close the sockets of these phones, whose messages cannot be written."""
        self._stuck |= phone_ids
        log.error(f"{len(phone_ids)} sockets are closed until their messages can be written", event="inbox_stuck")
        self._tell(StoreLost(), phone_ids)

    def inbox_free(self) -> None:
        """Bring those back."""
        stuck, self._stuck = self._stuck, frozenset()
        if self._guard.answers:
            self._tell(StoreBack(), stuck)
