"""Giving a phone another name."""

from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.actions.sessions.add import tidy_name
from wa_sessions.db import health, migrate, phones
from wa_sessions.db.phones import Phone
from wa_sessions.health.events import operators as events
from wa_sessions.keys.phone_ref import PhoneRef


@dataclass(frozen=True, slots=True)
class Renamed:
    """What a phone is called now; ``phone`` is as it was before."""

    phone: Phone
    display_name: str | None


def rename(opened: Opened, phone: PhoneRef, display_name: str, organization_id: int | None = None) -> Renamed:
    """Change the display name, whoever runs the phone; an empty one takes the name away.

    Raises UsageError (too long a name), PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    name = tidy_name(display_name)
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        found = phones.find(conn, opened.backend, phone, organization_id)
        if name != found.display_name:
            phones.rename(conn, opened.backend, found.id, name)
            detail = events.Renamed(operator(), found.display_name, name)
            health.record_event(conn, found.id, found.organization_id, detail)
    return Renamed(found, name)
