"""The rows of running workers."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from wa_sessions.db import leases
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.process_identity import ProcessIdentity

_SQL = queries("workers")


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A row of ``wa_sessions.worker``; ``silent_for`` in seconds, by the database's clock.

    ``lease_seconds`` is None for workers of a version that shares no phones. ``held``: phones of which it has the
    lease, also where it is gone.
    """

    id: UUID
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    boot_id: str | None
    pid_namespace: str | None
    pid_started: int | None
    lease_seconds: float | None
    scope: str | None
    draining: bool
    handles: bool
    hosts: int | None
    silent_for: float
    held: int

    @property
    def name(self) -> str:
        """For people."""
        return self.identity.name

    @property
    def identity(self) -> ProcessIdentity:
        """Which process it is."""
        return ProcessIdentity(self.host, self.pid, self.boot_id, self.pid_namespace, self.pid_started)

    @property
    def silence(self) -> float | None:
        """Its silence in leases; None for a version whose leases end by themselves."""
        return self.silent_for / self.lease_seconds if self.lease_seconds else None


@dataclass(frozen=True, slots=True)
class Draining:
    """How far a worker is with giving its phones away."""

    draining: bool
    lease_seconds: float | None
    silent_for: float
    phones: int


@dataclass(frozen=True, slots=True)
class Holding:
    """Who has a phone, or had it until ``ends_at``; ``seen_at`` is when that was looked at, by the database's clock."""

    worker_id: UUID
    wanted_by: UUID | None
    taken_at: datetime | None
    ends_at: datetime
    seen_at: datetime

    @property
    def stands(self) -> bool:
        """Whether that worker has it now."""
        return self.ends_at > self.seen_at


def register(
    conn: Connection,
    worker_id: UUID,
    identity: ProcessIdentity,
    version: str,
    *,
    lease: float | None = None,
    scope: str | None = None,
    handles: bool = True,
    draining: bool = False,
) -> None:
    """Make a worker known, or say that it lives though it was silent.

    ``lease``: seconds of silence after which its phones may be taken. ``scope``: which phones it shares (``all``,
    ``org:N``); None where it runs those that it was given by name. ``handles``: whether messages go to a handler.
    ``draining``: an operator has it drained, where its row was removed meanwhile; else the row says so.
    """
    values = {
        "worker_id": worker_id,
        "host": identity.host,
        "pid": identity.pid,
        "boot_id": identity.boot_id,
        "pid_namespace": identity.pid_namespace,
        "pid_started": identity.started,
        "version": version,
        "lease": lease,
        "scope": scope,
        "handles": handles,
        "draining": draining,
    }
    conn.execute(_SQL.register, values)


def renew(conn: Connection, worker_id: UUID, hosts: int | None = None) -> frozenset[int] | None:
    """Say that a worker lives; the phones that are its own.

    None where it was silent for so long that its phones may have been taken, or its row is gone.
    """
    values = {"worker_id": worker_id, "hosts": hosts, "free_after": leases.FREE_AFTER}
    row = conn.execute(_SQL.renew, values).fetchone()
    return frozenset(row["mine"]) if row else None


def forget(conn: Connection, worker_id: UUID) -> None:
    """Remove a worker that ends."""
    conn.execute(_SQL.forget, {"worker_id": worker_id})


def forget_stale(conn: Connection, age: float) -> int:
    """Remove workers that were killed: silent for ``age`` seconds, and others have their phones. Returns how many.

    One that has phones still may live: its signs of life are as old after the database's clock was put forward.
    """
    return conn.execute(_SQL.forget_stale, {"age": age}).rowcount


def date_back(conn: Connection, ahead: float) -> None:
    """Count a sign of life from now where it is over ``ahead`` seconds in the future: the clock was put back since.

    A worker that lives gives the next within a second; of one that does not nobody would know until that time has come.
    """
    conn.execute(_SQL.date_back, {"ahead": ahead})


def roster(conn: Connection) -> list[WorkerRow]:
    """All workers, in order of host and pid, those too that died and are not forgotten yet."""
    return [WorkerRow(**row) for row in conn.execute(_SQL.roster)]


def connected_phones(conn: Connection) -> frozenset[int]:
    """The phones whose sessions are connected, as far as whoever ran them last has written."""
    return frozenset(row["phone_id"] for row in conn.execute(_SQL.connected))


def drain_alone(conn: Connection) -> None:
    """Wait until no other operator begins a drain, and keep them waiting until this transaction ends."""
    conn.execute(_SQL.drain_alone, {"class": leases.LOCK_CLASS})


def set_draining(conn: Connection, worker_id: UUID, draining: bool) -> bool:  # noqa: FBT001  # the value that is set
    """Have a worker give its phones to others, or not any more; whether that is new to it. It hears of it at once."""
    row = conn.execute(_SQL.set_draining, {"worker_id": worker_id, "draining": draining}).fetchone()
    leases.announce(conn)
    return row is not None


def draining(conn: Connection, worker_id: UUID) -> Draining | None:
    """How far a worker is with that; None where it has ended."""
    row = conn.execute(_SQL.draining, {"worker_id": worker_id}).fetchone()
    return Draining(**row) if row else None


def want(conn: Connection, phone_id: int, worker_id: UUID, seconds: float) -> None:
    """Have a phone's worker give it to another one, which takes it, within ``seconds``; both hear of it at once."""
    values = {"phone_id": phone_id, "worker_id": worker_id, "seconds": seconds, "nobody": uuid4()}
    conn.execute(_SQL.want, values)
    leases.announce(conn)


def unwant(conn: Connection, phone_id: int, worker_id: UUID) -> None:
    """Take that back, unless it has happened or somebody has asked for something else."""
    conn.execute(_SQL.unwant, {"phone_id": phone_id, "worker_id": worker_id})
    leases.announce(conn)


def holding(conn: Connection, phone_id: int) -> Holding | None:
    """Who has a phone now, or had it last."""
    row = conn.execute(_SQL.holding, {"phone_id": phone_id}).fetchone()
    return Holding(**row) if row else None


def hear(dedicated: Connection, timeout: float) -> None:
    """Wait until something may have changed, for ``timeout`` seconds at most."""
    for _ in dedicated.notifies(timeout=timeout, stop_after=1):
        pass
