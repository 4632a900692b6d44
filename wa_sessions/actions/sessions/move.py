"""Having one worker give a phone to another."""

import contextlib
import time
from dataclasses import dataclass
from datetime import datetime

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import live_owner, require_neonize
from wa_sessions.actions.sessions.workers import FleetWorker, choose, read, takers
from wa_sessions.db import health, leases, migrate, phones, workers
from wa_sessions.db.dedicated import pinned
from wa_sessions.db.gateway import Connection, errors_of
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import Phone
from wa_sessions.db.workers import Holding
from wa_sessions.errors import WaSessionsError
from wa_sessions.health.events.operators import MoveAsked
from wa_sessions.health.workers import WorkerState, scope_words, serves
from wa_sessions.keys.phone_ref import PhoneRef

LOOK_EVERY = 0.2  # seconds between looks, where nobody says that something has changed
TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Moved:
    """A phone that a worker has now. ``worker_before``: who had it, None where nobody had.

    ``already``: it had it all the time. ``seconds``: from the request until it had it; ``alone_seconds``: for how long
    nobody had it meanwhile, at most; None where nobody had it before.
    """

    phone: Phone
    worker: FleetWorker
    worker_before: str | None
    already: bool = False
    seconds: float = 0.0
    alone_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    phone: Phone
    worker: FleetWorker
    before: WorkerInfo | None
    name_before: str | None
    fleet: tuple[FleetWorker, ...]


def move(
    opened: Opened,
    phone: PhoneRef,
    word: str,
    organization_id: int | None = None,
    *,
    timeout: float = TIMEOUT,
) -> Moved:
    """Have the worker that is meant by ``word`` run a phone; blocks until it has it. Nothing where it has it already.

    Raises PhoneNotFound, AmbiguousPhone; OwnedByAnother for a phone that no worker may run; WorkerNotFound;
    WaSessionsError where one of the workers cannot take part, or it has not happened within ``timeout`` seconds, and
    then is asked for no more; SchemaMissing.
    """
    with errors_of(opened.database.target), contextlib.closing(opened.database.dedicated()) as dedicated:
        leases.listen(dedicated)
        with opened.database.transaction() as conn:
            asked = _look(conn, opened, phone, word, organization_id)
            if asked.before is not None and asked.before.worker_id == asked.worker.id:
                return Moved(asked.phone, asked.worker, asked.name_before, already=True)
            _require_able(asked)
            if leases.is_reserved(conn, asked.phone.id):
                raise WaSessionsError(
                    f"an operator has {asked.phone.number} in hand, as by return or export: wa-sessions restart "
                    f"{asked.phone.number} gives it to the workers"
                )
            workers.want(conn, asked.phone.id, asked.worker.id, timeout)
            detail = MoveAsked(operator(), asked.name_before, asked.worker.name)
            health.record_event(conn, asked.phone.id, asked.phone.organization_id, detail)
            held_at = _held_at(asked, workers.holding(conn, asked.phone.id))  # its row is locked until the commit
        try:
            return _wait(dedicated, asked, timeout, held_at)
        except BaseException:
            with contextlib.suppress(WaSessionsError), opened.database.transaction() as conn:
                workers.unwant(conn, asked.phone.id, asked.worker.id)
            raise


def _look(conn: Connection, opened: Opened, phone: PhoneRef, word: str, organization_id: int | None) -> _Asked:
    found = phones.find(conn, opened.backend, phone, organization_id)
    require_neonize(found)
    migrate.require_current(conn)
    fleet = read(conn)
    before = live_owner(conn, found.id)
    return _Asked(found, choose(word, fleet), before, _name(before, fleet), tuple(fleet))


def _require_able(asked: _Asked) -> None:
    """Raise WaSessionsError where one of the two workers cannot take part."""
    worker, phone, before = asked.worker, asked.phone, asked.before
    if not worker.state.lives or worker.state is WorkerState.SILENT:
        raise WaSessionsError(
            f"{worker.name} has given no sign of life for {worker.silent_for:.0f} s: choose another, "
            "wa-sessions workers shows them"
        )
    if worker.lease_seconds is None:
        raise WaSessionsError(f"{worker.name} runs version {worker.version}, which takes no part in moving: upgrade it")
    if worker.draining:
        raise WaSessionsError(
            f"{worker.name} is draining and takes no phones: choose another, or wa-sessions drain {worker.name} --undo"
        )
    if not worker.handles and any(one.handles for one in takers(phone, asked.fleet)):
        raise WaSessionsError(
            f"{worker.name} has no handler for messages, and others have: choose another, wa-sessions workers --json "
            "shows which"
        )
    if not serves(worker.scope, phone.organization_id):
        serving = (
            f"serves {scope_words(worker.scope, 0)}" if worker.scope else "runs only phones that it was given by name"
        )
        raise WaSessionsError(
            f"{worker.name} {serving}, and {phone.number} is of organization {phone.organization_id}: choose another, "
            "wa-sessions workers shows them"
        )
    if before is not None and before.lease_seconds is None:
        raise WaSessionsError(
            f"{asked.name_before}, which runs {phone.number}, is of a version that gives nothing away: stop it with "
            "SIGTERM, and others take its phones"
        )


def _wait(dedicated: Connection, asked: _Asked, timeout: float, held_at: datetime | None) -> Moved:
    """``held_at``: when the worker before is known to have had it last."""
    began = time.monotonic()
    while True:
        with pinned(dedicated):
            seen = workers.holding(dedicated, asked.phone.id)
        seconds = time.monotonic() - began
        if seen is not None and seen.worker_id == asked.worker.id and seen.stands:
            alone = (seen.taken_at - held_at).total_seconds() if seen.taken_at and held_at else None
            return Moved(
                asked.phone,
                asked.worker,
                asked.name_before,
                seconds=seconds,
                alone_seconds=None if alone is None else max(alone, 0.0),
            )
        held_at = _held_at(asked, seen) or held_at
        if seen is None or seen.wanted_by != asked.worker.id:
            raise WaSessionsError(
                f"somebody else has asked for {asked.phone.number} meanwhile: wa-sessions stats {asked.phone.number}"
            )
        if seconds >= timeout:
            raise WaSessionsError(_late(asked, seen, timeout))
        workers.hear(dedicated, min(LOOK_EVERY, max(timeout - seconds, 0.01)))


def _held_at(asked: _Asked, seen: Holding | None) -> datetime | None:
    """Until when the worker before is seen to have had the phone."""
    if seen is None or asked.before is None or seen.worker_id != asked.before.worker_id:
        return None
    return min(seen.seen_at, seen.ends_at)


def _late(asked: _Asked, seen: Holding, timeout: float) -> str:
    number = asked.phone.number
    if not seen.stands:
        who = "nobody has it now"
    else:
        holder = next((one.name for one in asked.fleet if one.id == seen.worker_id), str(seen.worker_id))
        who = f"{holder} has it"
    return (
        f"{asked.worker.name} has not taken {number} within {timeout:g} s: {who}. It is not asked to any more; "
        f"see wa-sessions workers and wa-sessions stats {number}"
    )


def _name(owner: WorkerInfo | None, fleet: "list[FleetWorker]") -> str | None:
    if owner is None:
        return None
    return next((one.name for one in fleet if one.id == owner.worker_id), str(owner.worker_id))
