"""Having a worker give all its phones to others, so that it can be stopped, and taking that back."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import live_owners
from wa_sessions.actions.sessions.workers import FleetWorker, choose, numbers, read, takers
from wa_sessions.db import leases, migrate, operations, phones, workers
from wa_sessions.db.dedicated import pinned
from wa_sessions.db.gateway import Connection, errors_of
from wa_sessions.db.operations import DRAIN, DRAIN_UNDONE, drain_reason
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, WaSessionsError
from wa_sessions.health.workers import Signs, state_of

LOOK_EVERY = 1.0  # seconds between looks, where nobody says that something has changed
TIMEOUT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """What draining a worker means: the phones that it has, who could take them, and those that nobody could."""

    worker: FleetWorker
    phones: tuple[Phone, ...]
    takers: tuple[FleetWorker, ...]
    homeless: tuple[Phone, ...]


@dataclass(frozen=True, slots=True)
class Drained:
    """A worker that was told to drain, or not to. ``left``: phones that it has still, of ``phones`` at the beginning.

    ``kept``: as many stay with it, as nobody else could take them. ``changed``: whether that was new to it; the
    ``operation`` is None where it was not. ``ended``: it is not there any more.
    """

    worker: FleetWorker
    draining: bool
    changed: bool
    operation: str | None
    phones: int
    left: int
    kept: int = 0
    seconds: float = 0.0
    ended: bool = False


def plan(opened: Opened, word: str) -> DrainPlan:
    """What would be done to the worker that is meant.

    Raises WorkerNotFound; WaSessionsError for one that is dead, or whose version knows no draining; SchemaMissing.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        worker = choose(word, read(conn))
        _require_able(worker)
        return _plan(conn, opened, worker)


def _plan(conn: Connection, opened: Opened, worker: FleetWorker) -> DrainPlan:
    fleet, having = read(conn), _phones_of(conn, opened, worker)
    able = {one.id: one for phone in having for one in takers(phone, fleet, but=worker.id)}
    homeless = [phone for phone in having if not takers(phone, fleet, but=worker.id)]
    return DrainPlan(worker, tuple(having), tuple(able.values()), tuple(homeless))


def begin(opened: Opened, planned: DrainPlan, *, force: bool = False, reason: str | None = None) -> Drained:
    """Have the worker give its phones to others and take none. Several times is as good as once.

    Raises OwnedByAnother where nobody could take some of them, unless ``force`` has it keep those until it ends. Judged
    anew, one drain after another: else each of two workers could count on the other.
    """
    worker = planned.worker
    with opened.database.transaction() as conn:
        workers.drain_alone(conn)
        planned = _plan(conn, opened, worker)
        if planned.homeless and not force:
            raise OwnedByAnother(
                f"no other worker could take {len(planned.homeless)} of the {len(planned.phones)} phones of "
                f"{worker.name} ({numbers(planned.homeless)}): start one with wa-sessions run, or say --force to have "
                "it keep them until it is stopped"
            )
        changed = workers.set_draining(conn, worker.id, True)
        operation = _record(conn, DRAIN, drain_reason(worker.name, reason), planned.phones) if changed else None
    count = len(planned.phones)
    return Drained(worker, True, changed, operation, count, count, len(planned.homeless))


def wait(
    opened: Opened,
    begun: Drained,
    timeout: float = TIMEOUT,
    told: Callable[[int, int], None] = lambda _left, _all: None,
) -> Drained:
    """Wait until a draining worker has no phones, but for those that nobody else could take.

    ``told`` is told how many are left, of how many, when that changes.

    Raises WaSessionsError after ``timeout`` seconds, where it dies meanwhile, or where somebody takes the drain back.
    """
    began, left = time.monotonic(), None
    with errors_of(opened.database.target), contextlib.closing(opened.database.dedicated()) as dedicated:
        leases.listen(dedicated)
        while True:
            with pinned(dedicated):
                now = workers.draining(dedicated, begun.worker.id)
            seconds = time.monotonic() - began
            if now is None or now.phones <= begun.kept:
                return replace(begun, left=now.phones if now else 0, seconds=seconds, ended=now is None)
            if now.phones != left:
                left = now.phones
                told(left, max(begun.phones, left))
            _require_going_on(begun, now, seconds, timeout)
            workers.hear(dedicated, min(LOOK_EVERY, max(timeout - seconds, 0.05)))


def undo(opened: Opened, word: str, *, reason: str | None = None) -> Drained:
    """Have a worker take phones again. Raises WorkerNotFound, SchemaMissing; WaSessionsError for one that is dead."""
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        worker = choose(word, read(conn))
        _require_able(worker)
        having = _phones_of(conn, opened, worker)
        changed = workers.set_draining(conn, worker.id, False)
        operation = None
        if changed:
            operation = _record(conn, DRAIN_UNDONE, drain_reason(worker.name, reason, undone=True), having)
    return Drained(worker, False, changed, operation, len(having), len(having))


def _phones_of(conn: Connection, opened: Opened, worker: FleetWorker) -> list[Phone]:
    ids = {id_ for id_, owner in live_owners(conn).items() if owner.worker_id == worker.id}
    return [phone for phone in phones.list_phones(conn, opened.backend) if phone.id in ids] if ids else []


def _record(conn: Connection, action: str, reason: str, having: "tuple[Phone, ...] | list[Phone]") -> str:
    """One operation for all the phones: it took no keys, so nothing of it is left to restore."""
    actor = operator()
    operation = operations.open_operation(conn, action=action, reason=reason, actor=actor)
    for phone in having:
        operations.mark_gone(conn, operations.add_phone(conn, operation, phone), actor)
    return operation


def _require_able(worker: FleetWorker) -> None:
    if not worker.state.lives:
        raise WaSessionsError(
            f"{worker.name} is {worker.state}: it has no phones to give away; wa-sessions workers shows who has which"
        )
    if worker.lease_seconds is None:
        raise WaSessionsError(
            f"{worker.name} runs version {worker.version}, which knows no draining: stop it with SIGTERM, and others "
            "take its phones"
        )


def _require_going_on(begun: Drained, now: workers.Draining, seconds: float, timeout: float) -> None:
    name, left = begun.worker.name, f"{now.phones} of {max(begun.phones, now.phones)} phones left"
    if not now.draining:
        raise WaSessionsError(f"somebody has taken the drain of {name} back, {left}: wa-sessions drain {name}")
    if not state_of(Signs(now.silent_for, now.lease_seconds, now.phones)).lives:
        raise WaSessionsError(
            f"{name} died while it drained, {left}: others take them as they do after a kill; wa-sessions workers"
        )
    if seconds >= timeout:
        raise WaSessionsError(
            f"{name} has not given all its phones away within {timeout:g} s, {left}; it goes on: wait for it with "
            f"wa-sessions drain {name}, or take it back with wa-sessions drain {name} --undo"
        )
