"""What monitors ask of our schema: how old its data is, its history by kind, and sums of the history."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_sessions.db.gateway import Connection
from wa_sessions.db.health import Event, event_of
from wa_sessions.db.sql import queries

_SQL = queries("monitoring")
NEWEST = 100_000


@dataclass(frozen=True, slots=True)
class Total:
    """How often an event of a kind (``error_counted.bad_mac`` where it has an error kind) was written of a phone, ever.

    ``seconds`` is the sum of the event's own, where it has them.
    """

    phone_id: int
    kind: str
    times: int
    seconds: float | None


def ages(conn: Connection, phone_id: int | None = None) -> dict[int, timedelta]:
    """How long ago the observer of each phone gave a sign of life: its worker, else the last change of its counters."""
    rows = conn.execute(_SQL.ages, {"phone_id": phone_id})
    return {row["phone_id"]: timedelta(seconds=float(row["seconds"])) for row in rows}


def history(
    conn: Connection,
    kinds: Collection[str] | None,
    *,
    since: datetime,
    since_id: int | None = None,
    phone_id: int | None = None,
    organization_id: int | None = None,
    limit: int,
) -> list[Event]:
    """The newest entries, of these kinds or of all, from a moment, in order of time.

    With ``since_id`` those that were written after that entry, in the order in which they were written.
    """
    values = {
        "kinds": None if kinds is None else [str(kind) for kind in kinds],
        "since": since,
        "since_id": since_id,
        "phone_id": phone_id,
        "organization_id": organization_id,
        "limit": limit,
    }
    statement = _SQL.history if since_id is None else _SQL.history_after
    return [event_of(row) for row in conn.execute(statement, values)]


def errors_by_minute(conn: Connection, minutes: int, organization_id: int | None = None) -> dict[int, tuple[int, ...]]:
    """How many errors were counted in each of the last so many minutes, the oldest first, by phone id.

    The last one ends now. Phones without any are left out. Only the newest ``NEWEST`` entries of the history are read,
    as it has no index by time.
    """
    values = {"minutes": minutes, "organization_id": organization_id, "newest": NEWEST}
    found: dict[int, list[int]] = {}
    for row in conn.execute(_SQL.errors_by_minute, values):
        counts = found.setdefault(row["phone_id"], [0] * minutes)
        counts[minutes - 1 - min(max(row["minutes_ago"], 0), minutes - 1)] += row["errors"]
    return {phone_id: tuple(counts) for phone_id, counts in found.items()}


def totals(conn: Connection) -> list[Total]:
    """Sums of the whole history, of what was pruned too; they never go down, and the history is not read for them."""
    return [Total(**row) for row in conn.execute(_SQL.totals)]
