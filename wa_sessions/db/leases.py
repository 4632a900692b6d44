"""Who owns a session: an advisory lock on a dedicated connection, and a row with an epoch that fences late writers."""

import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID, uuid4

import psycopg
from psycopg.sql import SQL

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import Busy, OwnedByAnother
from wa_sessions.health.workers import Signs, WorkerState, state_of
from wa_sessions.process_identity import ProcessIdentity

LOCK_CLASS = 1464947539
HOLDER_TIMEOUT = 3.0  # seconds for a connection that was ended to let go of its lock
OLD_LEASE = 60.0  # seconds that no lease with an end of its own is ahead: of versions before 0007 they are 30 s long
HURRY = 0.25  # seconds that a worker, which has other leases to renew, waits for a lock of one phone
CHANNEL = "wa_sessions_fleet"
"""Of the notifications that ``announce`` sends."""
OPERATOR = UUID(int=0)
"""In ``wanted_by``: an operator has to do with the phone, and no worker takes it by itself."""
FREE_AFTER = 0.8
"""Of a worker's lease: silence after which its phones may be taken if their locks are free, as after a kill.

After a whole lease they may be taken though the locks are held, by a connection that leads nowhere any more.
"""
_SQL = queries("leases")


class LeaseLost(OwnedByAnother):
    """The epoch under which a worker writes is no longer the newest."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """The owner of a live lease; host and pid are None where the worker's own row is gone.

    ``silent_for``: seconds since the last sign of life of the session itself, of its task and of the process that has
    its socket; None where it has one, as its worker has. ``worker_silent_for``: seconds since that of the worker.
    """

    phone_id: int
    worker_id: UUID
    epoch: int
    expires_at: datetime
    host: str | None
    pid: int | None
    started_at: datetime | None
    silent_for: float | None = None
    boot_id: str | None = None
    pid_namespace: str | None = None
    pid_started: int | None = None
    lease_seconds: float | None = None
    draining: bool | None = None
    worker_silent_for: float | None = None

    @property
    def state(self) -> WorkerState:
        """How it is with the worker; where its own row is gone, only its lease tells."""
        signs = Signs(self.worker_silent_for or 0.0, self.lease_seconds, 1, bool(self.draining), self.was_killed)
        return state_of(signs)

    @property
    def name(self) -> str:
        """As people look for it."""
        return f"worker {self.host}/{self.pid}" if self.host else f"worker {self.worker_id}"

    @property
    def was_killed(self) -> bool:
        """Whether a worker of this very machine is gone without having said so; of others nothing is known."""
        if self.host is None or self.pid is None:
            return False
        identity = ProcessIdentity(self.host, self.pid, self.boot_id, self.pid_namespace, self.pid_started)
        return identity.is_gone()


@dataclass(frozen=True, slots=True)
class LastHolder:
    """Who has a phone, or had it last. ``process`` and ``silent_for`` (seconds) are None where its row is gone.

    ``given_up``: it let go of the phone, or an operator had it. ``account``: the number with which it ran; None where
    its version did not say so.
    """

    worker_id: UUID
    epoch: int
    given_up: bool
    account: str | None
    process: ProcessIdentity | None
    silent_for: float | None

    @property
    def was_killed(self) -> bool:
        """Whether its process was on this machine, and is not there any more."""
        return self.process is not None and self.process.is_gone()


class _Grip(Enum):
    """What keeps others from a phone."""

    NONE = auto()
    LOCK = auto()  # of a worker that was silent for a while: its lock, if that is held
    LEASE = auto()


def take(
    conn: Connection,
    phone_id: int,
    worker_id: UUID,
    *,
    dead: UUID | None = None,
    patience: float = HOLDER_TIMEOUT,
) -> int:
    """Own a phone's session for as long as the worker is renewed; returns the epoch. Raises OwnedByAnother.

    ``conn`` is a transaction of the connection that keeps the lock, which stays whatever becomes of the transaction:
    ``unlock`` where it fails. ``dead``: the worker that the caller knows to be gone; what it has is taken.
    ``patience``: seconds for a connection that was ended to let go of its lock; where it is our own, Busy then.
    """
    grip = _grip(conn, phone_id, worker_id, dead=dead)
    ends = grip is _Grip.NONE
    if grip is _Grip.LEASE or not _lock(conn, phone_id, _SQL.try_lock, end_holder=ends, patience=patience):
        holder = owner(conn, phone_id)
        if holder is not None and holder.worker_id == worker_id:
            raise Busy(f"an earlier connection has the lock of phone #{phone_id} still: run it again")
        raise OwnedByAnother(_held(phone_id, holder))
    values = {"phone_id": phone_id, "worker_id": worker_id, "operator": OPERATOR}
    taken = conn.execute(_SQL.take, values).fetchone()
    return int(taken["epoch"]) if taken else 0


def date_back(conn: Connection) -> None:
    """Let phones be free that were released before the clock was put back: until that time nobody would take them.

    Those too that an operator had for some seconds. While a worker is there whose leases have an end of their own, only
    what is further ahead than those.
    """
    conn.execute(_SQL.date_back, {"longest": OLD_LEASE})
    conn.execute(_SQL.date_back_reserved, {"longest": OLD_LEASE, "operator": OPERATOR})


def hold(conn: Connection, phone_id: int, *, patience: float = HOLDER_TIMEOUT) -> UUID:
    """Keep a phone from changing hands until this transaction ends; ``block`` or ``account_leases.block`` follows.

    Waits for another transaction that does the same. Raises OwnedByAnother where a worker owns it, unless that is known
    to be gone. ``patience``: for a connection that was ended to let go of its lock. Returns who has it now: nobody.
    """
    nobody = uuid4()
    made = conn.execute(_SQL.ensure, {"phone_id": phone_id, "holder": nobody, "class": LOCK_CLASS}).fetchone()
    if made:  # a row that two can wait for
        free = bool(made["free"])
    else:
        grip = _grip(conn, phone_id, nobody, dead=killed_holder(conn, phone_id))
        ends = grip is _Grip.NONE
        free = grip is not _Grip.LEASE and _lock(conn, phone_id, _SQL.try_free, end_holder=ends, patience=patience)
    if not free:
        raise OwnedByAnother(_held(phone_id, owner(conn, phone_id)))
    return nobody


def block(conn: Connection, phone_id: int, *, patience: float = HOLDER_TIMEOUT) -> None:
    """Let no worker own a phone until this transaction ends, and fence off writes of an earlier owner; see ``hold``."""
    nobody = hold(conn, phone_id, patience=patience)
    conn.execute(_SQL.block, {"phone_id": phone_id, "holder": nobody, "operator": OPERATOR})


def reserve(conn: Connection, phone_id: int, seconds: float | None = None) -> None:
    """Have no worker take a free phone by itself for so long, or until an operator says so: by ``block``, by name."""
    conn.execute(_SQL.reserve, {"phone_id": phone_id, "operator": OPERATOR, "seconds": seconds})


def is_reserved(conn: Connection, phone_id: int) -> bool:
    """Whether no worker takes a phone by itself."""
    return conn.execute(_SQL.reserved, {"phone_id": phone_id, "operator": OPERATOR}).fetchone() is not None


def announce(conn: Connection) -> None:
    """Have all workers look which phones are theirs, as soon as this transaction stands."""
    conn.execute(_SQL.announce)


def listen(dedicated: Connection) -> None:
    """Let a dedicated connection hear of that, on ``CHANNEL``."""
    dedicated.execute(_SQL.listen)


def mark_silent(conn: Connection, worker_id: UUID, silent: Collection[int]) -> None:
    """Say which of a worker's sessions give no sign of life, and since when."""
    conn.execute(_SQL.mark_silent, {"worker_id": worker_id, "silent": list(silent)})


def unlock(conn: Connection, phone_id: int) -> None:
    """Let go of a lock, if it is held; a lost connection holds none."""
    with contextlib.suppress(psycopg.OperationalError, psycopg.InterfaceError):
        conn.execute(_SQL.unlock, {"class": LOCK_CLASS, "phone_id": phone_id})


def release(conn: Connection, phone_id: int, worker_id: UUID) -> None:
    """Give a session up, on the connection that keeps the lock; the row stays, so that epochs grow."""
    conn.execute(_SQL.release, {"phone_id": phone_id, "worker_id": worker_id})
    unlock(conn, phone_id)
    announce(conn)


def release_all(conn: Connection, worker_id: UUID) -> None:
    """Give up all that a worker has left; its locks end with its connection."""
    conn.execute(_SQL.release_all, {"worker_id": worker_id})
    announce(conn)


def fence(conn: Connection, phone_id: int, worker_id: UUID, epoch: int) -> None:
    """Keep the lease from changing hands during this transaction; raises LeaseLost where it already did.

    It may be renewed meanwhile, however long the transaction waits for something else: a renewal changes no key of the
    row, and who takes the lease locks all of it.
    Raises Busy where nobody else has it: its worker is about to take it anew, under another epoch.
    """
    row = conn.execute(_SQL.fence, {"phone_id": phone_id}).fetchone()
    if row is None or (row["worker_id"] == worker_id and row["epoch"] != epoch):
        raise Busy(f"the lease of phone #{phone_id} is being taken anew: run it again")
    if row["worker_id"] != worker_id:
        raise LeaseLost(
            f"phone #{phone_id} has another owner by now: this worker was not heard of for too long, as after a pause"
        )


def owner(conn: Connection, phone_id: int) -> WorkerInfo | None:
    """Who owns a session right now."""
    row = conn.execute(_SQL.owners, {"phone_id": phone_id}).fetchone()
    return WorkerInfo(**row) if row else None


def owners(conn: Connection) -> dict[int, WorkerInfo]:
    """All live owners by phone id."""
    return {row["phone_id"]: WorkerInfo(**row) for row in conn.execute(_SQL.owners, {"phone_id": None})}


def last_holder(conn: Connection, phone_id: int) -> LastHolder | None:
    """Who has a phone, or had it last."""
    row = conn.execute(_SQL.last_holder, {"phone_id": phone_id}).fetchone()
    if row is None:
        return None
    parts = (row["host"], row["pid"], row["boot_id"], row["pid_namespace"], row["pid_started"])
    process = ProcessIdentity(*parts) if row["host"] is not None else None
    return LastHolder(row["worker_id"], row["epoch"], row["given_up"], row["account"], process, row["silent_for"])


def killed_holder(conn: Connection, phone_id: int) -> UUID | None:
    """The worker that has a phone, or had it last, if it is known to be gone."""
    holder = last_holder(conn, phone_id)
    return holder.worker_id if holder is not None and holder.was_killed else None


def _grip(conn: Connection, phone_id: int, worker_id: UUID, *, dead: UUID | None) -> _Grip:
    """What keeps others from a phone; its row is locked, so that this stays so until the transaction ends."""
    row = conn.execute(_SQL.current, {"phone_id": phone_id}).fetchone()
    if row is None:
        return _Grip.LOCK
    if row["worker_id"] in (worker_id, dead) or not row["stands"]:
        return _Grip.NONE
    if not row["while_renewed"]:
        return _Grip.LEASE
    silence = conn.execute(_SQL.silence, {"worker_id": row["worker_id"]}).fetchone()
    if silence is None:  # somebody removed its row: that proves nothing, and a worker that lives holds the lock
        return _Grip.LOCK
    if silence["leases"] >= 1:
        return _Grip.NONE
    return _Grip.LOCK if silence["leases"] >= FREE_AFTER else _Grip.LEASE


def _lock(conn: Connection, phone_id: int, attempt: SQL, *, end_holder: bool, patience: float) -> bool:
    """Whether the lock could be had; ``end_holder``: who has it has it in vain, and its connection is ended."""
    values = {"class": LOCK_CLASS, "phone_id": phone_id}

    def tried() -> bool:
        row = conn.execute(attempt, values).fetchone()
        return bool(row and row["locked"])

    if tried():
        return True
    if not end_holder:
        return False
    conn.execute(_SQL.end_holder, values)
    deadline = time.monotonic() + patience
    while not (locked := tried()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return locked


def _held(phone_id: int, holder: WorkerInfo | None) -> str:
    if holder is None:
        return f"the session of phone #{phone_id} is locked by another process"
    until = f"{holder.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    lease = f"its lease ends at {until} unless renewed"
    return f"phone #{phone_id} is run by {holder.name} ({lease}): wa-sessions stats '#{phone_id}'"
