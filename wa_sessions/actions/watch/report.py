"""A window of the history in figures, of each phone and of all."""

from dataclasses import dataclass
from datetime import datetime

from wa_sessions.actions.connection import Opened
from wa_sessions.db import migrate, phones, reporting
from wa_sessions.db.phones import Phone
from wa_sessions.health.availability import spans
from wa_sessions.health.statistics import Figures, Window, figures, total, window
from wa_sessions.keys.phone_ref import PhoneRef


@dataclass(frozen=True, slots=True)
class PhoneReport:
    """One phone's figures by step; ``phone`` is None where its row was removed."""

    phone_id: int
    organization_id: int
    phone: Phone | None
    steps: list[Figures]

    @property
    def total(self) -> Figures:
        return total(self.steps)

    @property
    def number(self) -> str:
        """The number, or ``#id`` of a phone that was removed."""
        return self.phone.number if self.phone else f"#{self.phone_id}"


@dataclass(frozen=True, slots=True)
class Report:
    """``kept_since`` is set where older entries of the window were pruned: the figures begin there."""

    window: Window
    kept_since: datetime | None
    phones: list[PhoneReport]

    @property
    def steps(self) -> list[Figures]:
        """The figures of all phones together, by step."""
        return [total(one.steps[n] for one in self.phones) for n in range(len(self.window.starts))]

    @property
    def total(self) -> Figures:
        return total(one.total for one in self.phones)


def report(
    opened: Opened, phone: PhoneRef | None, organization_id: int | None, *, since: datetime, until: datetime
) -> Report:
    """The figures of one phone, an organization or all, and of phones that were removed but have entries.

    Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    over = window(since, until)
    with opened.database.transaction() as conn:
        found = phones.find(conn, opened.backend, phone, organization_id) if phone else None
        migrate.require_current(conn)
        listed = [found] if found else phones.list_phones(conn, opened.backend, organization_id)
        only = {"phone_id": found.id if found else None, "organization_id": organization_id}
        counts = reporting.counts(conn, over, **only)
        places: dict[int, tuple[int, Phone | None]] = {one.id: (one.organization_id, one) for one in listed}
        for count in counts:
            places.setdefault(count.phone_id, (count.organization_id, None))
        changes = reporting.changes(conn, over, list(places))
        signs = reporting.signs(conn, over.since)
        gone = reporting.pruned_until(conn, **only)
    counted: dict[int, list[tuple[int, str, int]]] = {phone_id: [] for phone_id in places}
    for count in counts:
        counted[count.phone_id].append((count.step, count.kind, count.times))
    reports = []
    for phone_id, (organization, row) in places.items():
        seen = list(spans(changes.get(phone_id, []), signs))
        reports.append(PhoneReport(phone_id, organization, row, figures(over, counted[phone_id], seen)))
    return Report(over, gone if gone and gone > over.since else None, reports)
