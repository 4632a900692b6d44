"""Adding a phone that our worker is to run."""

from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, migrate, phones
from wa_sessions.db.phones import Phone
from wa_sessions.errors import UsageError
from wa_sessions.health.events import operators as events
from wa_sessions.keys.phone_ref import parse_phone

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Added:
    """The new phone; ``doubt`` says why its number looks mistyped, if it does."""

    phone: Phone
    doubt: str | None


def add_phone(opened: Opened, number: str, organization_id: int, display_name: str | None = None) -> Added:
    """Add a ``neonize`` phone to an organization.

    Raises UsageError (no number, or there already), SchemaMissing, DatabaseError.
    """
    digits, name = digits_of(number), tidy_name(display_name or "")
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        phone = phones.add(conn, opened.backend, digits, organization_id, name)
        health.record_event(conn, phone.id, phone.organization_id, events.Added(operator()))
    return Added(phone, _doubt(digits))


def digits_of(number: str) -> str:
    """The digits of a number that may be added. Raises UsageError for what is none."""
    digits = parse_phone(number).digits
    if digits is None:
        raise UsageError(f"{number} is an id that the database gives: add takes a number, as in +7 705 123-45-67")
    return digits


def tidy_name(text: str) -> str | None:
    """A display name with single spaces, None where nothing is left of it. Raises UsageError for too long a one."""
    name = " ".join(text.split())
    if len(name) > LONGEST_NAME:
        raise UsageError(f"the name has {len(name)} characters; {LONGEST_NAME} are enough")
    return name or None


def _doubt(digits: str) -> str | None:
    import phonenumbers

    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse(f"+{digits}"))
    except phonenumbers.NumberParseException:
        return f"no country's numbers start like {digits}"
    return None if possible else f"numbers of that country have another length than {digits}"
