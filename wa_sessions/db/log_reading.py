"""How far the Node backend's logs were read, which phones that observes, and which messages failed lately."""

import socket
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import Busy
from wa_sessions.health.habit import Habit
from wa_sessions.health.uncounted import STANDS, Failing, NotCounted, Uncounted

_SQL = queries("log_reading")


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Where reading a log ended, on which machine and for which organization (0: all of them).

    ``version`` is 0 for one that was never read.
    """

    path: str
    scope: int
    device: int
    inode: int
    read_to: int
    tail: bytes
    zone: int | None
    waiting: Mapping[str, Any]
    host: str = field(default_factory=socket.gethostname)
    version: int = 0

    @property
    def ours(self) -> bool:
        """Whether it was read on this machine, by its name."""
        return self.host == socket.gethostname()


@dataclass(frozen=True, slots=True)
class LogWatch:
    """A phone whose logs are read. ``own_lines_at``: the backend's last counter line of it, while it writes any.

    ``doubt``: why they do not tell how it is, although they were read; it is about what was written at ``doubt_at``.
    ``seen_at``: when the newest line was written that is the backend's or its library's for certain.
    """

    own_lines_at: datetime | None
    read_at: datetime
    doubt: str | None = None
    doubt_at: datetime | None = None
    seen_at: datetime | None = None


def positions(conn: Connection, paths: Sequence[str]) -> list[ReadLog]:
    """How far logs of these names were read, those of this machine first."""
    rows = conn.execute(_SQL.positions, {"host": socket.gethostname(), "paths": list(paths)})
    return [
        ReadLog(**row | {"device": int(row["device"]), "inode": int(row["inode"]), "tail": bytes(row["tail"])})
        for row in rows
    ]


def advance(conn: Connection, log: ReadLog) -> None:
    """Write how far a log was read, on from ``log.version``; it is this machine's from now on.

    Raises Busy where somebody else has read it meanwhile.
    """
    values = asdict(log) | {"host": socket.gethostname(), "before": log.host, "waiting": Jsonb(dict(log.waiting))}
    if conn.execute(_SQL.advance if log.version else _SQL.begin, values).fetchone() is None:
        raise Busy(f"another command records {log.path} at this moment: one is enough")


def watch(
    conn: Connection,
    phone_id: int,
    own_lines_at: datetime | None,
    doubt: str | None = None,
    *,
    doubt_at: datetime | None = None,
    seen_at: datetime | None = None,
) -> None:
    """Say that a phone's logs were read up to now, and why they do not tell how it is, if they do not."""
    values = {"own_lines_at": own_lines_at, "doubt": doubt, "doubt_at": doubt_at, "seen_at": seen_at}
    conn.execute(_SQL.watch, values | {"phone_id": phone_id})


def watches(conn: Connection, phone_id: int | None = None) -> dict[int, LogWatch]:
    """The phones whose logs are, or were, read, by phone id."""
    rows = conn.execute(_SQL.watches, {"phone_id": phone_id})
    return {
        row["phone_id"]: LogWatch(**{name: value for name, value in row.items() if name != "phone_id"}) for row in rows
    }


def habits(conn: Connection) -> dict[int, Habit]:
    """How often lines name each phone, by phone id."""
    return {
        row.pop("phone_id"): Habit(**row | {"silences": tuple(row["silences"])}) for row in conn.execute(_SQL.habits)
    }


def save_habits(conn: Connection, changed: Mapping[int, Habit]) -> None:
    """Keep what was learned of phones."""
    rows = [asdict(habit) | {"phone_id": phone_id, "silences": list(habit.silences)}
            for phone_id, habit in changed.items()]  # fmt: skip
    with conn.cursor() as cursor:
        cursor.executemany(_SQL.save_habit, rows)


def forget_habits(conn: Connection, phone_ids: Collection[int]) -> None:
    """Forget how often lines named these phones."""
    conn.execute(_SQL.forget_habits, {"phones": list(phone_ids)})


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
    conn.execute(_SQL.forget_uncounted, {"before": before})


def uncounted(conn: Connection, phone_id: int, messages: Collection[int]) -> dict[int, Failing]:
    """Which of these messages failed lately for a reason that counts towards no limit."""
    rows = conn.execute(_SQL.uncounted, {"phone_id": phone_id, "messages": list(messages)})
    return {row["message"]: Failing(row["at"], NotCounted(row["reason"]), row["again"]) for row in rows}


def save_uncounted(conn: Connection, phone_id: int, rows: Mapping[int, Failing]) -> None:
    """Remember messages that failed for such a reason."""
    with conn.cursor() as cursor:
        cursor.executemany(
            _SQL.save_uncounted,
            [asdict(one) | {"phone_id": phone_id, "message": message} for message, one in rows.items()],
        )


def failing_again(conn: Connection, phone_id: int | None = None) -> dict[int, Uncounted]:
    """Messages that failed again lately for such a reason, by phone id."""
    found: dict[int, dict[NotCounted, int]] = defaultdict(dict)
    for row in conn.execute(_SQL.failing_again, {"stands": STANDS, "phone_id": phone_id}):
        found[row["phone_id"]][NotCounted(row["reason"])] = row["messages"]
    return {id_: one for id_, messages in found.items() if (one := Uncounted.of(messages))}
