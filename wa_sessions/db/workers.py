"""The rows of running workers."""

import socket
from pathlib import Path
from uuid import UUID

from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
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


def was_killed(worker: WorkerInfo) -> bool:
    """Whether a worker of this very machine is gone without having said so; of others nothing is known."""
    if worker.host != socket.gethostname() or worker.pid is None:
        return False
    try:
        state = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in {"Z", "X"}
