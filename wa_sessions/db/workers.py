"""The rows of running workers."""

from uuid import UUID

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries

_SQL = queries("workers")


def register(conn: Connection, worker_id: UUID, host: str, pid: int, version: str) -> None:
    """Make a worker known."""
    conn.execute(_SQL.register, {"worker_id": worker_id, "host": host, "pid": pid, "version": version})


def heartbeat(conn: Connection, worker_id: UUID) -> bool:
    """Say that a worker lives; False where its row is gone and it must register again."""
    return conn.execute(_SQL.heartbeat, {"worker_id": worker_id}).fetchone() is not None


def forget(conn: Connection, worker_id: UUID) -> None:
    """Remove a worker that ends."""
    conn.execute(_SQL.forget, {"worker_id": worker_id})


def forget_stale(conn: Connection, age: float) -> int:
    """Remove workers that were killed: silent for ``age`` seconds and owning nothing. Returns how many."""
    return conn.execute(_SQL.forget_stale, {"age": age}).rowcount
