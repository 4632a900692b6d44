"""How far the Node backend's logs were read, which phones that observes, and which messages failed lately."""

import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import Contended

_SQL = queries("log_reading")


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Where reading a log of this machine ended. ``version`` is 0 for one that was never read."""

    device: int = 0
    inode: int = 0
    read_to: int = 0
    tail: bytes = b""
    zone: int | None = None
    waiting: Mapping[str, Any] | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class LogWatch:
    """A phone whose logs are read. ``own_lines``: the backend has written counter lines of it."""

    own_lines: bool
    read_at: datetime


def positions(conn: Connection, paths: Sequence[str]) -> dict[str, ReadLog]:
    """How far logs of this machine were read, by path; those that never were are left out."""
    rows = conn.execute(_SQL.positions, {"host": socket.gethostname(), "paths": list(paths)})
    return {
        row["path"]: ReadLog(
            **{name: value for name, value in row.items() if name not in {"path", "device", "inode"}},
            device=int(row["device"]),
            inode=int(row["inode"]),
        )
        for row in rows
    }


def advance(conn: Connection, path: str, log: ReadLog) -> None:
    """Write how far a log was read, from ``log.version``. Raises Contended where another has read it meanwhile."""
    values = {
        "host": socket.gethostname(),
        "path": path,
        "device": log.device,
        "inode": log.inode,
        "read_to": log.read_to,
        "tail": log.tail,
        "zone": log.zone,
        "waiting": Jsonb(dict(log.waiting or {})),
        "version": log.version,
    }
    row = conn.execute(_SQL.advance, values).fetchone()
    if row is None or row["version"] != log.version + 1:
        raise Contended(f"another command records {path} at this moment: one is enough")


def watch(conn: Connection, phone_id: int, *, own_lines: bool) -> None:
    """Say that a phone's logs were read up to now."""
    conn.execute(_SQL.watch, {"phone_id": phone_id, "own_lines": own_lines})


def watches(conn: Connection, phone_id: int | None = None) -> dict[int, LogWatch]:
    """The phones whose logs are, or were, read, by phone id."""
    rows = conn.execute(_SQL.watches, {"phone_id": phone_id})
    return {row["phone_id"]: LogWatch(row["own_lines"], row["read_at"]) for row in rows}


def failures(conn: Connection, phone_id: int, messages: Collection[int]) -> dict[int, bool]:
    """Which of these messages failed lately, and whether they were counted."""
    rows = conn.execute(_SQL.failures, {"phone_id": phone_id, "messages": list(messages)})
    return {row["message"]: row["counted"] for row in rows}


def save_failures(conn: Connection, phone_id: int, rows: Mapping[int, tuple[datetime, bool]]) -> None:
    """Remember messages that failed: when, and whether they were counted."""
    with conn.cursor() as cursor:
        cursor.executemany(
            _SQL.save_failure,
            [
                {"phone_id": phone_id, "message": message, "failed_at": at, "counted": counted}
                for message, (at, counted) in rows.items()
            ],
        )


def forget_failures(conn: Connection, before: datetime) -> None:
    """Forget messages whose retried copy would have come long ago."""
    conn.execute(_SQL.forget_failures, {"before": before})
