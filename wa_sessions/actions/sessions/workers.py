"""The workers: which phones each has, how it is with it, and which one an operator means."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import live_owners
from wa_sessions.db import migrate, phones, workers
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import FREE_AFTER
from wa_sessions.db.phones import Phone
from wa_sessions.db.workers import WorkerRow
from wa_sessions.errors import WorkerNotFound
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.workers import Signs, WorkerState, has_hosts, meant, names, scope_words, serves, state_of

MOST_CHOICES = 8


@dataclass(frozen=True, slots=True)
class FleetWorker:
    """A worker, or what is left of one. ``name``: host and pid, and the id's beginning where that is not one alone.

    ``scope``: which phones it shares (``all``, ``org:N``); None where it runs those that it was given by name.
    ``phones``: how many it has, ``connected``: of how many the session is. ``held``: of how many the lease is its own
    still, also where it died. ``hosts``: processes with sessions, None where it does not tell. ``lease_seconds`` is
    None for a version that takes no part in ``drain`` and ``move``. ``free_in``: seconds until others may take its
    phones, where it is silent.
    """

    id: UUID
    name: str
    host: str
    pid: int
    version: str
    scope: str | None
    state: WorkerState
    draining: bool
    handles: bool
    phones: int
    connected: int
    held: int
    hosts: int | None
    lease_seconds: float | None
    silent_for: float
    free_in: float | None
    started_at: datetime
    heartbeat_at: datetime

    @property
    def scope_words(self) -> str:
        """Its scope for people."""
        return scope_words(self.scope, self.phones)

    @property
    def takes_phones(self) -> bool:
        """Whether it would take a phone of its scope now."""
        return self.state in (WorkerState.SERVING, WorkerState.STANDING_BY) and self.lease_seconds is not None

    def as_dict(self) -> dict[str, Any]:
        """Plain values in snake_case; times are ISO 8601 in UTC, durations seconds."""
        return {
            "id": str(self.id),
            "worker": self.name,
            "host": self.host,
            "pid": self.pid,
            "version": self.version,
            "scope": self.scope,
            "state": self.state.value,
            "draining": self.draining,
            "handles": self.handles,
            "phones": self.phones,
            "connected": self.connected,
            "hosts": self.hosts,
            "lease_seconds": self.lease_seconds,
            "silent_seconds": round(self.silent_for, 1),
            "free_in_seconds": None if self.free_in is None else round(self.free_in, 1),
            "started_at": _iso(self.started_at),
            "heartbeat_at": _iso(self.heartbeat_at),
        }


@dataclass(frozen=True, slots=True)
class WorkerList:
    """All workers, and the ``neonize`` phones that none of them has."""

    workers: tuple[FleetWorker, ...]
    alone: tuple[Phone, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values in snake_case."""
        alone = [
            {"phone_id": one.id, "phone": one.number, "organization_id": one.organization_id} for one in self.alone
        ]
        return {"workers": [worker.as_dict() for worker in self.workers], "phones_without_worker": alone}


def list_workers(opened: Opened) -> WorkerList:
    """All workers in order of host and pid, those too that died and are not forgotten yet.

    Raises SchemaMissing, PermissionMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        owned = live_owners(conn)
        listed = phones.list_phones(conn, opened.backend) if opened.backend.has_phones else []
        alone = [phone for phone in listed if phone.connection_type == ConnectionType.NEONIZE and phone.id not in owned]
        return WorkerList(tuple(read(conn)), tuple(alone))


def read(conn: Connection) -> list[FleetWorker]:
    """All workers, as they are seen in this transaction."""
    owners, connected = live_owners(conn), workers.connected_phones(conn)
    rows = workers.roster(conn)
    called = names((row.id, row.host, row.pid) for row in rows)
    having = Counter(owner.worker_id for owner in owners.values())
    online = Counter(owner.worker_id for id_, owner in owners.items() if id_ in connected)
    return [_worker(row, called[row.id], having[row.id], online[row.id]) for row in rows]


def choose(word: str, among: Sequence[FleetWorker]) -> FleetWorker:
    """The worker that is meant by host/pid, pid or the beginning of its id; one that lives before one that died.

    Raises WorkerNotFound, with the choices, where it is none or more than one.
    """
    found = meant(word, ((one.id, one.host, one.pid) for one in among))
    matching = [one for one in among if one.id in found]
    living = [one for one in matching if one.state.lives] or matching
    if len(living) == 1:
        return living[0]
    if living:
        raise WorkerNotFound(f"{word[:60]!r} is more than one worker: {_choices(living)}")
    alive = [one for one in among if one.state.lives]
    if not alive:
        raise WorkerNotFound(f"no worker is called {word[:60]!r}, and none runs: start one with wa-sessions run")
    raise WorkerNotFound(f"no worker is called {word[:60]!r}: {_choices(alive)}")


def takers(phone: Phone, among: Iterable[FleetWorker], *, but: UUID | None = None) -> list[FleetWorker]:
    """The workers that would take a phone now, but for one; those without a message handler only where no other is."""
    able = [one for one in among if one.id != but and one.takes_phones and serves(one.scope, phone.organization_id)]
    return [one for one in able if one.handles] or able


def numbers(of: Sequence[Phone], most: int = 3) -> str:
    """Some phones by name."""
    return ", ".join(phone.number for phone in of[:most]) + (", …" if len(of) > most else "")


def _worker(row: WorkerRow, name: str, having: int, online: int) -> FleetWorker:
    signs = Signs(row.silent_for, row.lease_seconds, having, row.draining, row.identity.is_gone())
    state, able = state_of(signs), has_hosts(signs)
    free_in = None
    if state is WorkerState.SILENT and row.lease_seconds is not None:
        free_in = max(0.0, row.lease_seconds * FREE_AFTER - row.silent_for)
    return FleetWorker(
        id=row.id,
        name=name,
        host=row.host,
        pid=row.pid,
        version=row.version,
        scope=row.scope,
        state=state,
        draining=row.draining,
        handles=row.handles,
        phones=having,
        connected=online if able else 0,
        held=row.held,
        hosts=row.hosts if able or row.hosts is None else 0,
        lease_seconds=row.lease_seconds,
        silent_for=row.silent_for,
        free_in=free_in,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
    )


def _choices(among: Sequence[FleetWorker]) -> str:
    more = f" and {len(among) - MOST_CHOICES} more" if len(among) > MOST_CHOICES else ""
    return ", ".join(one.name for one in among[:MOST_CHOICES]) + f"{more}; wa-sessions workers shows them"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
