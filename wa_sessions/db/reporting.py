"""What a report is made of: the history of a window, counted, and when which worker saw a session."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.health.availability import Change
from wa_sessions.health.event_kinds import DOWN, UNSEEN, UP, EventKind
from wa_sessions.health.statistics import COUNTED, NODE_QR, Window

_SQL = queries("reporting")
_CHANGES = [str(kind) for kind in (*UP, *DOWN, *UNSEEN)]
_KINDS = list({kind.partition(".")[0] for kind in COUNTED})


@dataclass(frozen=True, slots=True)
class Count:
    """How often entries of a kind (``error_counted.bad_mac`` where it has an error kind) were written in a step."""

    phone_id: int
    organization_id: int
    step: int
    kind: str
    times: int


def counts(conn: Connection, over: Window, *, phone_id: int | None, organization_id: int | None) -> list[Count]:
    """Entries by phone, step and kind."""
    values = {
        "starts": list(over.starts),
        "since": over.since,
        "until": over.until,
        "kinds": _KINDS,
        "node_qr": NODE_QR,
        "phone_id": phone_id,
        "organization_id": organization_id,
    }
    return [Count(**row) for row in conn.execute(_SQL.counts, values)]


def changes(conn: Connection, over: Window, phone_ids: Sequence[int]) -> dict[int, list[Change]]:
    """What a worker noted of each phone's connection, in order: the last before the window, and those in it."""
    values = {"since": over.since, "until": over.until, "kinds": _CHANGES, "phones": list(phone_ids)}
    found: dict[int, list[Change]] = {}
    for row in conn.execute(_SQL.changes, values):
        change = Change(row["at"], EventKind(row["kind"]), row["worker_id"], float(row["down_seconds"]))
        found.setdefault(row["phone_id"], []).append(change)
    return found


def signs(conn: Connection, since: datetime) -> dict[Hashable, datetime]:
    """The last sign of life of each worker that gave one since then: an entry, or its heartbeat."""
    return {row["worker_id"]: row["at"] for row in conn.execute(_SQL.signs, {"since": since})}


def pruned_until(conn: Connection, *, phone_id: int | None, organization_id: int | None) -> datetime | None:
    """When the newest entry was written that was pruned; None where none was."""
    row = conn.execute(_SQL.pruned, {"phone_id": phone_id, "organization_id": organization_id}).fetchone()
    return row["until"] if row else None
