"""Who owns a session: an advisory lock on a dedicated connection, and a row with an epoch that fences late writers."""

import contextlib
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import psycopg

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import Contended, DatabaseError, OwnedByAnother

LOCK_CLASS = 1464947539
HOLDER_TIMEOUT = 3.0
_SQL = queries("leases")


class LeaseLost(OwnedByAnother):
    """The epoch under which a worker writes is no longer the newest."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """The owner of a live lease; host and pid are None where the worker's own row is gone.

    ``silent_for``: seconds since the last sign of life of the session itself, of its task and of the process that has
    its socket; None where its worker, an older one, tells of none.
    """

    phone_id: int
    worker_id: UUID
    epoch: int
    expires_at: datetime
    host: str | None
    pid: int | None
    version: str | None
    started_at: datetime | None
    heartbeat_at: datetime | None
    silent_for: float | None = None


def take(
    lock_conn: Connection, conn: Connection, phone_id: int, worker_id: UUID, ttl: float, *, dead: bool = False
) -> int:
    """Own a phone's session for ``ttl`` seconds; returns the epoch. Raises OwnedByAnother.

    ``dead`` takes over the live lease of a worker that the caller knows to be gone.
    """
    if not _lock(lock_conn, phone_id) and not _outlive_own_connection(lock_conn, conn, phone_id, worker_id):
        raise OwnedByAnother(_held(phone_id, owner(conn, phone_id)))
    try:
        row = conn.execute(_SQL.current, {"phone_id": phone_id}).fetchone()
        if row and row["live"] and row["worker_id"] != worker_id and not dead:
            raise OwnedByAnother(_held(phone_id, owner(conn, phone_id)))
        values = {"phone_id": phone_id, "worker_id": worker_id, "ttl": ttl}
        taken = conn.execute(_SQL.take, values).fetchone()
    except BaseException:
        _unlock(lock_conn, phone_id)
        raise
    return int(taken["epoch"]) if taken else 0


def keep_off(conn: Connection, phone_id: int, *, dead: bool = False) -> None:
    """Let no worker own a phone until this transaction ends, and fence off writes of an earlier owner.

    Waits for another transaction that does the same. Raises OwnedByAnother. ``dead`` disregards the live lease of a
    worker that the caller knows to be gone.
    """
    conn.execute(_SQL.current, {"phone_id": phone_id})  # waits for the writes of an owner
    values = {"phone_id": phone_id, "holder": uuid4(), "dead": dead}
    if conn.execute(_SQL.keep_off, values).fetchone() is None:
        raise OwnedByAnother(_held(phone_id, owner(conn, phone_id)))
    if not dead and not _lock(conn, phone_id):
        raise OwnedByAnother(_held(phone_id, None))
    if not dead:
        _unlock(conn, phone_id)


def renew(conn: Connection, worker_id: UUID, ttl: float, alive: Collection[int] = ()) -> set[int]:
    """Prolong all live leases of a worker; returns the ids of the phones that are still its own.

    ``alive`` are those of its sessions that gave a sign of life themselves.
    """
    values = {"worker_id": worker_id, "ttl": ttl, "alive": list(alive)}
    return {row["phone_id"] for row in conn.execute(_SQL.renew, values)}


def unlock(lock_conn: Connection, phone_id: int) -> None:
    """Let go of a lock, if it is held."""
    with _link():
        lock_conn.execute(_SQL.unlock, {"class": LOCK_CLASS, "phone_id": phone_id})


def release(lock_conn: Connection, conn: Connection, phone_id: int, worker_id: UUID) -> None:
    """Give a session up; the row stays, so that epochs grow."""
    conn.execute(_SQL.release, {"phone_id": phone_id, "worker_id": worker_id})
    _unlock(lock_conn, phone_id)


def fence(conn: Connection, phone_id: int, worker_id: UUID, epoch: int) -> None:
    """Keep the lease from changing hands during this transaction; raises LeaseLost where it already did.

    It may be renewed meanwhile, however long the transaction waits for something else: a renewal changes no key of the
    row, and who takes the lease locks all of it.
    Raises Contended where nobody else has it: its worker is about to take it anew, under another epoch.
    """
    row = conn.execute(_SQL.fence, {"phone_id": phone_id}).fetchone()
    if row is None or (row["worker_id"] == worker_id and row["epoch"] != epoch):
        raise Contended(f"the lease of phone #{phone_id} is being taken anew: run it again")
    if row["worker_id"] != worker_id:
        raise LeaseLost(f"the session of phone #{phone_id} has another owner by now")


def owner(conn: Connection, phone_id: int) -> WorkerInfo | None:
    """Who owns a session right now."""
    row = conn.execute(_SQL.owners, {"phone_id": phone_id}).fetchone()
    return WorkerInfo(**row) if row else None


def owners(conn: Connection) -> dict[int, WorkerInfo]:
    """All live owners by phone id."""
    return {row["phone_id"]: WorkerInfo(**row) for row in conn.execute(_SQL.owners, {"phone_id": None})}


def _lock(lock_conn: Connection, phone_id: int) -> bool:
    with _link():
        row = lock_conn.execute(_SQL.try_lock, {"class": LOCK_CLASS, "phone_id": phone_id}).fetchone()
    return bool(row and row["locked"])


@contextlib.contextmanager
def _link() -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        reason = next(iter(str(error).splitlines()), "no reason given")
        raise DatabaseError(f"the connection that holds the locks is lost: {reason}") from None


def _outlive_own_connection(lock_conn: Connection, conn: Connection, phone_id: int, worker_id: UUID) -> bool:
    """Lock what a lost connection of this same worker still holds, as its server has not noticed the loss yet."""
    row = conn.execute(_SQL.current, {"phone_id": phone_id}).fetchone()
    if row is None or row["worker_id"] != worker_id:
        return False
    conn.execute(_SQL.end_holder, {"class": LOCK_CLASS, "phone_id": phone_id})
    deadline = time.monotonic() + HOLDER_TIMEOUT
    while not (locked := _lock(lock_conn, phone_id)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return locked


def _unlock(lock_conn: Connection, phone_id: int) -> None:
    """A lost connection holds no lock."""
    with contextlib.suppress(psycopg.OperationalError, psycopg.InterfaceError):
        lock_conn.execute(_SQL.unlock, {"class": LOCK_CLASS, "phone_id": phone_id})


def _held(phone_id: int, holder: WorkerInfo | None) -> str:
    if holder is None:
        return f"the session of phone #{phone_id} is locked by another process"
    where = f"worker {holder.host}/{holder.pid}" if holder.host else f"worker {holder.worker_id}"
    until = f"{holder.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    lease = f"its lease ends at {until} unless renewed"
    return f"phone #{phone_id} is run by {where} ({lease}): wa-sessions stats '#{phone_id}'"
