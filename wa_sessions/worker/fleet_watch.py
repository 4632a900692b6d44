"""Looks at the other workers and at the phones, and has phones taken and let go as ``fleet.decide`` says."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from wa_sessions.db.fleet import PhoneRow
from wa_sessions.db.leases import FREE_AFTER, HURRY
from wa_sessions.db.workers import WorkerRow
from wa_sessions.errors import DatabaseError, OwnedByAnother, StoreAway
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.reconnect import State
from wa_sessions.keys.phone_ref import same_account
from wa_sessions.worker import log
from wa_sessions.worker.fleet import Candidate, Holder, Peer, Plan, Scope, View, decide, lacks_handler
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.ownership import HARDLY, Ownership
from wa_sessions.worker.process_watch import ProcessWatch
from wa_sessions.worker.repository import STORE_AWAY, TRY_AGAIN
from wa_sessions.worker.session_tasks import SessionTasks
from wa_sessions.worker.store_guard import StoreGuard

FULL_EVERY = 5.0  # seconds between looks at the phones where nothing is known to have changed
LONG_SILENT = 2.0  # leases
DOUBTFUL = FREE_AFTER / 2  # of a worker's lease: silence after which its phones are looked at closely
MOST_TAKEN = 50  # phones, until it is looked again: others may have come meanwhile
MOST_REFUSED = 3  # phones that others were faster to take, until it is looked again


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which phones a worker is there for: those of a scope, shared with others, or named ones.

    ``wait``: those that another worker has are waited for.
    """

    scope: Scope | None = None
    phone_ids: frozenset[int] = frozenset()
    wait: bool = True


@dataclass(frozen=True, slots=True)
class _Seen:
    workers: tuple[WorkerRow, ...]
    gone: frozenset[UUID]
    phones: tuple[PhoneRow, ...]


class FleetWatch:
    """A service of the worker: ``run``. ``changed`` has it look at once."""

    def __init__(
        self,
        chosen: Chosen,
        times: LeaseTimes,
        ownership: Ownership,
        guard: StoreGuard,
        sessions: SessionTasks,
    ) -> None:
        self._chosen = chosen
        self._me = sessions.worker_id
        self._times = times
        self._ownership = ownership
        self._guard = guard
        self._sessions = sessions
        self._processes = ProcessWatch(self.changed)
        self._heard = asyncio.Event()
        self._stopping = False
        self._beginning = True
        self._begun_late: set[int] = set()  # free as this worker began, and locked by somebody until now
        self._waits = HURRY  # seconds for somebody's lock: hardly any, once one was waited for in this look
        self._more = False  # whether there was more to take than was taken at once
        self._next_look = self._next_full = 0.0
        self._workers: frozenset[tuple[UUID, bool]] = frozenset()
        self._free_since: dict[int, float] = {}
        self._refusals: Counter[int] = Counter()
        self._offered: set[int] = set()
        self._kept: set[int] = set()
        self._said: dict[str, str] = {}

    def changed(self) -> None:
        """Phones may be free, or others'."""
        self._heard.set()

    def stop(self) -> None:
        """Take nothing any more."""
        self._stopping = True
        self._processes.close()

    async def run(self) -> None:
        """Look until cancelled: when told to, at the workers with each renewal, at the phones every few seconds."""
        while not self._stopping:
            await self._pause()
            await self._guard.until_it_answers()
            try:
                await self._look()
            except TRY_AGAIN as error:
                self._say(f"the fleet was not looked at: {error}; it is tried again", "fleet_not_seen")
                self._next_full = self._next_look
            except StoreAway:
                self._guard.suspect()
                self._next_full = self._next_look

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(self._next_look, self._next_full) - now())):
                await self._heard.wait()

    async def _look(self) -> None:
        """At the workers, and where something is different or it is time, at the phones."""
        full = self._heard.is_set() or now() >= self._next_full
        self._heard.clear()
        self._next_look = now() + self._times.renew_every
        seen = await self._see(full=full)
        if not full and (self._is_troubled(seen) or self._workers != _able(seen)):
            seen, full = await self._see(full=True), True
        self._next_look = min(self._next_look, now() + self._until_next(seen))
        if not full or self._was_silent(seen):
            return
        self._next_full = now() + min(FULL_EVERY, self._wary_for() or FULL_EVERY)
        if self._workers != _able(seen):
            self._workers = _able(seen)
            self._kept.clear()
        self._waits = HURRY
        refused: set[int] = set()
        while (more := await self._act(seen, refused)) and not self._stopping:
            refused |= more
            seen = await self._see(full=True)
        self._beginning = self._beginning and self._more
        self._say_how_it_is(seen)

    async def _see(self, *, full: bool) -> _Seen:
        organization = self._chosen.scope.organization_id if self._chosen.scope else None
        phone_ids = None if self._chosen.scope else sorted(self._chosen.phone_ids)
        look = partial(self._ownership.look, organization, phone_ids, full=full)
        workers, gone, phones = await self._guard.call(look)
        if not self._stopping:
            self._processes.follow(row.identity for row in workers if row.held and row.id not in gone | {self._me})
        return _Seen(tuple(workers), gone, tuple(phones))

    def _was_silent(self, seen: _Seen) -> bool:
        """Whether this worker has to come back itself before it looks at others."""
        me = next((row for row in seen.workers if row.id == self._me), None)
        if me is not None and _is_live(me, seen.gone):
            return False
        self._guard.suspect()
        return True

    def _is_troubled(self, seen: _Seen) -> bool:
        """Whether somebody's phones may be free soon, or are; what nobody takes then is looked at with all others."""
        others = [row for row in seen.workers if row.held and row.id != self._me and (row.silence or 0.0) < LONG_SILENT]
        return any(row.id in seen.gone or (row.silence or 0.0) >= DOUBTFUL for row in others)

    def _until_next(self, seen: _Seen) -> float:
        """Seconds until the phones of the next silent worker may be taken, or until this one may take any."""
        left = [
            (limit - row.silence) * row.lease_seconds
            for row in seen.workers
            if row.held and row.id != self._me and row.silence is not None and row.lease_seconds
            for limit in (FREE_AFTER, 1.0)
            if limit > row.silence >= DOUBTFUL
        ]
        if (wary_for := self._wary_for()) > 0:
            left.append(wary_for)
        return max(0.02, min(left, default=self._times.renew_every))

    def _wary_for(self) -> float:
        """Seconds for which others' silence proves nothing yet, as this worker was silent itself, or has just begun."""
        return max(0.0, self._times.lease - self._guard.back_for)

    # -------------------------------------------------------------------------------------------------- acting

    async def _act(self, seen: _Seen, refused: Collection[int]) -> set[int]:
        """Do what there is to be done; the phones that others were faster to take: then it is looked again."""
        plan = decide(self._view(seen, refused))
        for gone in plan.let_go:
            task = self._sessions.tasks[gone.phone_id]
            log.info(f"let go: {gone.reason}", phone=task.session.number, event="let_go", reason=gone.reason)
            if gone.balance:
                self._offered.add(gone.phone_id)
            self._sessions.let_go(gone.phone_id, gone.reason, ours=not gone.left)
        for row in seen.phones:
            if row.owner == self._me and row.id not in self._sessions.tasks.keys() | self._sessions.running.keys():
                with contextlib.suppress(*TRY_AGAIN):
                    await self._guard.call(self._ownership.release, row.id)
        if plan.waits:
            self._say("drained, but no other worker can take its phones: they stay", "drain_waits")
        return await self._take_all(plan, seen)

    async def _take_all(self, plan: Plan, seen: _Seen) -> set[int]:
        refused: set[int] = set()
        if self._chosen.scope is None and not self._chosen.wait:
            return refused
        rows = {row.id: row for row in seen.phones}
        for phone_id in plan.take[:MOST_TAKEN]:
            if self._stopping or len(refused) == MOST_REFUSED:
                break
            begins = self._beginning or phone_id in self._begun_late
            afresh = begins or rows[phone_id].state == State.FAULTED
            if not await self._take(phone_id, _taken_from(rows[phone_id].owner, seen), afresh=afresh):
                refused.add(phone_id)
        self._more = not refused and len(plan.take) > MOST_TAKEN
        if self._more:
            self._heard.set()
        return refused

    async def _take(self, phone_id: int, message: str, *, afresh: bool) -> bool:
        try:
            take = partial(self._ownership.take, phone_id, waits=self._waits, patience=HURRY)
            epoch, phone = await self._guard.call(take)
        except StoreAway:
            raise
        except (OwnedByAnother, DatabaseError, *TRY_AGAIN) as error:
            if not isinstance(error, OwnedByAnother):
                self._waits = HARDLY
                if self._beginning:
                    self._begun_late.add(phone_id)
            self._refusals[phone_id] += 1
            if self._refusals[phone_id] == 2:  # once others may have been faster
                log.warn(f"phone #{phone_id} is not taken: {error}", event="owned_by_another", phone_id=phone_id)
            return False
        if self._stopping:  # told to end meanwhile: nobody would wait for its session
            with contextlib.suppress(*STORE_AWAY):
                await self._guard.call(self._ownership.release, phone_id)
            return False
        self._refusals.pop(phone_id, None)
        if phone_id in self._offered:
            self._offered.discard(phone_id)
            self._kept.add(phone_id)
        log.info(message, phone=phone.number, event="taken", epoch=epoch)
        self._sessions.start(phone, epoch, afresh=afresh)
        return True

    # ------------------------------------------------------------------------------------------------- viewing

    def _view(self, seen: _Seen, refused: Collection[int]) -> View:
        peers = tuple(
            Peer(row.id, row.scope, row.held, _is_live(row, seen.gone), row.draining, row.handles, row.name)
            for row in seen.workers
        )
        runnable = [row for row in seen.phones if self._is_runnable(row) and row.id not in refused]
        free = {row.id for row in runnable if row.owner != self._me}
        self._free_since = {phone_id: self._free_since.get(phone_id, now()) for phone_id in free}
        self._refusals = Counter({id_: times for id_, times in self._refusals.items() if id_ in free | set(refused)})
        self._begun_late &= free | set(refused)
        return View(
            self._me,
            self._chosen.scope.name if self._chosen.scope else None,
            peers,
            tuple(self._candidate(row, seen.gone) for row in runnable),
            wary=self._wary_for() > 0,
            leaving=frozenset(self._sessions.leaving),
            patience=self._times.lease,
        )

    def _is_runnable(self, row: PhoneRow) -> bool:
        if row.owner == self._me:
            return row.id in self._sessions.tasks
        if row.reserved or row.id in self._sessions.running:
            return False
        if row.state == State.FAULTED and row.since_my_start:
            return False
        set_down = self._sessions.set_down.get(row.id)
        return set_down is None or row.state == State.IDLE or not same_account(set_down, row.number or "")

    def _candidate(self, row: PhoneRow, gone: Collection[UUID]) -> Candidate:
        """A worker whose row is gone is one that nothing was heard of, like others that are silent."""
        holder = Holder.NOBODY if row.owner is None or row.owner in gone else Holder.SILENT
        return Candidate(
            row.id,
            row.organization_id or 0,
            Holder.ME if row.owner == self._me else holder,
            row.owner,
            held_for=row.held_for,
            free_for=now() - self._free_since.get(row.id, now()),
            wanted_by=row.wanted_by,
            left=self._why_left(row) if row.owner == self._me else None,
            kept=row.id in self._kept,
        )

    def _why_left(self, row: PhoneRow) -> str | None:
        """Why a phone that is ours is not to be run here any more."""
        scope = self._chosen.scope
        if row.organization_id is None:
            return "its row is gone"
        if row.connection_type != ConnectionType.NEONIZE:
            return f"it is a {row.connection_type} phone by now"
        if row.number is None or not same_account(self._sessions.tasks[row.id].session.number, row.number):
            return f"it has the number {row.number} by now"
        if scope is not None and scope.organization_id not in (None, row.organization_id):
            return f"it is in organization {row.organization_id} by now"
        return None

    # -------------------------------------------------------------------------------------------------- saying

    def _say_how_it_is(self, seen: _Seen) -> None:
        """That there is nothing to run, if so; the end, if all that there was has been set down for its faults."""
        if self._sessions.tasks or self._sessions.running or self._stopping:
            self._said.pop("standing_by", None)
            return
        others = sum(row.held for row in seen.workers if row.id != self._me)
        later = any(row.reserved or self._is_runnable(row) for row in seen.phones)
        if self._chosen.scope and self._sessions.set_down and not others and not later:
            self._sessions.over.set()
        elif any(row.id == self._me and row.draining for row in seen.workers):
            self._say("standing by: this worker is drained", "standing_by")
        elif others and lacks_handler(self._view(seen, ())):
            self._say("standing by: others run the phones, and this worker has no handler for messages", "standing_by")
        elif others:
            self._say("standing by: other workers run the phones", "standing_by")
        else:
            self._say("standing by: there is no phone to run", "standing_by")

    def _say(self, message: str, event: str) -> None:
        if message != self._said.get(event):
            self._said[event] = message
            log.info(message, event=event)


def _is_live(row: WorkerRow, gone: Collection[UUID]) -> bool:
    return row.silence is not None and row.silence < FREE_AFTER and row.id not in gone


def _taken_from(owner: UUID | None, seen: _Seen) -> str:
    """What is to be said of a phone that is taken: from whom, if it was not given away."""
    before = next((row for row in seen.workers if row.id == owner), None)
    if before is None:
        return "taken"
    why = "which was killed" if before.id in seen.gone else f"of which nothing was heard for {before.silent_for:.1f} s"
    return f"taken over from worker {before.name}, {why}"


def _able(seen: _Seen) -> frozenset[tuple[UUID, bool]]:
    """The workers that share the phones, and who of them is drained: where that changes, so do the shares."""
    return frozenset((row.id, row.draining) for row in seen.workers if _is_live(row, seen.gone))
