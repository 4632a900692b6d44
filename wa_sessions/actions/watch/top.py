"""The fleet as it is this moment, for a view that is drawn again and again."""

from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.sessions import Session, fleet
from wa_sessions.actions.watch.stats import SessionErrorStats, Standing
from wa_sessions.db import health, monitoring
from wa_sessions.db.health import Event
from wa_sessions.errors import PermissionMissing, SchemaMissing
from wa_sessions.health.reconnect import State, Status

MINUTES = 30
"""How far back errors a minute go."""

MOST_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Row:
    """A phone's session, and its counted errors in each of the last ``MINUTES`` minutes, the oldest first."""

    session: Session
    errors: tuple[int, ...] = (0,) * MINUTES

    @property
    def stats(self) -> SessionErrorStats:
        """The stats of the phone."""
        return self.session.stats

    @property
    def standing(self) -> Standing:
        """How the phone stands."""
        return self.session.standing

    @property
    def condition(self) -> str:
        """What it is doing in a word or two: what its worker says, else the backend's status."""
        stats = self.stats
        if stats.unknown_because == "no_worker" and stats.status != Status.LOGGED_OUT:
            return "no worker"
        state = stats.state if stats.observed and stats.state not in (None, State.IDLE) else stats.status
        return (state or "").replace("_", " ")


def snapshot(opened: Opened, organization_id: int | None = None) -> list[Row]:
    """All phones, in order of organization and id. It needs no right but SELECT on the backend's tables.

    Raises DatabaseError.
    """
    listed = fleet(opened, organization_id=organization_id, with_keys=False)
    try:
        with opened.database.transaction() as conn:
            errors = monitoring.errors_by_minute(conn, MINUTES, organization_id)
    except (SchemaMissing, PermissionMissing):
        errors = {}
    return [Row(one, errors.get(one.stats.phone_id, (0,) * MINUTES)) for one in listed]


def entries(opened: Opened, phone_id: int) -> list[Event]:
    """The newest ``MOST_ENTRIES`` entries of a phone's history, in order.

    Raises SchemaMissing, PermissionMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        return health.last_events(conn, phone_id, MOST_ENTRIES)
