"""The error counters and how they came about."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.sessions import fleet
from wa_sessions.actions.watch.stats import SessionErrorStats, session_stats
from wa_sessions.db import migrate, monitoring, phones
from wa_sessions.db.health import Event
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.event_kinds import KEPT, REPAIRED, EventKind
from wa_sessions.keys.phone_ref import PhoneRef

KINDS = (
    EventKind.ERROR_COUNTED,
    EventKind.COUNTER_RESET,
    EventKind.MESSAGE_PENDING,
    EventKind.MESSAGE_RECOVERED,
    EventKind.MESSAGE_LOST,
    *REPAIRED,
    *KEPT,
    EventKind.SESSION_CLOSED,
    EventKind.BACKEND_CLOSED,
)
"""The entries of the history that are about errors."""

LOOK_EVERY = 1.0  # seconds between looks for new entries
SETTLED = 10.0
"""Seconds; the longest that a transaction of ours may take: until then an entry may still appear before newer ones."""

MOST_UNSETTLED = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the history with the number of its phone; ``phone`` is None for a phone that was removed."""

    event: Event
    phone: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values in one object."""
        event = self.event
        at = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        place = {"phone_id": event.phone_id, "phone": self.phone, "organization_id": event.organization_id}
        return {"at": at, **place, "kind": event.kind, "detail": event.stored, "operation": event.operation_id}


@dataclass(frozen=True, slots=True)
class Errors:
    """Phones that have, or had, an error of any kind (a phone that was named always), and the history of it.

    ``unseen``: of how many phones, of ``asked`` ones, nobody sees whether they have errors.
    """

    phones: list[SessionErrorStats]
    history: list[Entry]
    unseen: int
    asked: int


def errors(
    opened: Opened, phone: PhoneRef | None, organization_id: int | None, *, since: datetime, limit: int
) -> Errors:
    """The counters now, and the newest entries since then, in order.

    Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    phone_id, numbers = _whose(opened, phone, organization_id)
    with opened.database.transaction() as conn:
        found = monitoring.history(
            conn, KINDS, since=since, phone_id=phone_id, organization_id=organization_id, limit=limit
        )
    if phone_id is not None:
        everyone = listed = [session_stats(opened, PhoneRef(phone_id=phone_id))]
    else:
        everyone = [one.stats for one in fleet(opened, organization_id=organization_id, with_keys=False)]
        seen = {event.phone_id for event in found}
        listed = [one for one in everyone if one.phone_id in seen or _any(one)]
    can_fail = [one for one in everyone if one.connection_type != ConnectionType.WABA]
    unseen = sum(not one.observed for one in can_fail)
    return Errors(listed, [Entry(event, numbers.get(event.phone_id)) for event in found], unseen, len(can_fail))


def follow(
    opened: Opened,
    phone: PhoneRef | None,
    organization_id: int | None,
    *,
    since: datetime,
    kinds: Collection[str] | None = KINDS,
) -> Iterator[Entry]:
    """Entries since then, and each new one within a second of its commit, once, for ever; of all ``kinds`` with None.

    Raises what ``errors`` raises.
    """
    phone_id, numbers = _whose(opened, phone, organization_id)
    floor, told = 0, dict[int, float]()
    while True:
        with opened.database.transaction() as conn:
            found = monitoring.history(
                conn,
                kinds,
                since=since,
                since_id=floor,
                phone_id=phone_id,
                organization_id=organization_id,
                limit=MOST_UNSETTLED,
            )
        for event in found:
            if event.id not in told:
                yield Entry(event, numbers.get(event.phone_id))
        now = time.monotonic()
        told = {event.id: told.get(event.id, now) for event in found}
        floor = max((id_ for id_, seen in told.items() if now - seen > SETTLED), default=floor)
        time.sleep(LOOK_EVERY)


def _whose(opened: Opened, phone: PhoneRef | None, organization_id: int | None) -> tuple[int | None, dict[int, str]]:
    """The id of the phone that is meant, and all numbers by id."""
    with opened.database.transaction() as conn:
        found = phones.find(conn, opened.backend, phone, organization_id) if phone else None
        migrate.require_current(conn)
        listed = [found] if found else phones.list_phones(conn, opened.backend, organization_id)
    return found.id if found else None, {one.id: one.number for one in listed}


def _any(stats: SessionErrorStats) -> bool:
    return bool(stats.bad_mac_errors or stats.bad_decrypt_errors or stats.messages_pending)
