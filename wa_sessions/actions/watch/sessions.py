"""The fleet: the stats of every phone, and what stands in its key store."""

from dataclasses import dataclass
from typing import Any

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import live_owners
from wa_sessions.actions.watch.advice import messages_stuck
from wa_sessions.actions.watch.keys import BAILEYS, WHATSMEOW, in_order, store_of
from wa_sessions.actions.watch.stats import SessionErrorStats, Standing, Watch, judge
from wa_sessions.db import auth_keys, health, inbox, log_reading, operations, phones, whatsmeow
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.inbox import Depth
from wa_sessions.db.phones import Phone
from wa_sessions.errors import PermissionMissing, SchemaMissing, UsageError
from wa_sessions.health.limits import Limits
from wa_sessions.health.reconnect import Status
from wa_sessions.health.unknown import Because
from wa_sessions.keys.phone_ref import spellings

_ILL = (Standing.DOWN, Standing.CRITICAL, Standing.WARNING)


@dataclass(frozen=True, slots=True)
class Session:
    """A phone's stats and its keys. ``store`` and ``keys`` are None for the official API.

    ``keys`` is None too where the store cannot be read.
    """

    stats: SessionErrorStats
    store: str | None
    keys_by_type: dict[str, int] | None

    @property
    def keys(self) -> int | None:
        """How many keys there are."""
        return None if self.keys_by_type is None else sum(self.keys_by_type.values())

    @property
    def standing(self) -> Standing:
        """Its severity, unless it is known to be down."""
        return Standing(self.stats.standing)

    @property
    def unhealthy(self) -> bool:
        """Whether somebody should look at it: it is down, errors are counted, or messages are set aside or stuck."""
        return self.standing in _ILL or messages_stuck(self.stats)

    @property
    def urgency(self) -> tuple[int, float]:
        """What phones are sorted by, the worst first; among equals the one that is nearer to its limit."""
        stats = self.stats
        near = max(
            stats.bad_mac_errors / max(stats.max_bad_mac_errors, 1),
            stats.bad_decrypt_errors / max(stats.max_bad_decrypt_errors, 1),
        )
        return list(Standing).index(self.standing), -near

    def as_dict(self) -> dict[str, Any]:
        """The fields of the stats, then those of the keys; times are ISO 8601 in UTC."""
        return self.stats.as_dict() | {"store": self.store, "keys": self.keys, "keys_by_type": self.keys_by_type}


def fleet(
    opened: Opened,
    *,
    organization_id: int | None = None,
    status: str | None = None,
    unhealthy: bool = False,
    few_keys: int | None = None,
    limits: Limits | None = None,
    with_keys: bool = True,
) -> list[Session]:
    """The phones to which every filter applies, in order of organization and id.

    ``few_keys``: fewer keys than that; phones of the official API have none to lose and are left out. Without
    ``with_keys`` no key is counted. Raises UsageError for a status that is none and that no phone has, DatabaseError,
    and with ``few_keys`` also PermissionMissing.
    """
    status = status.lower() if status is not None and status.lower() in set(Status) else status
    with opened.database.transaction() as conn:
        listed = phones.list_phones(conn, opened.backend, organization_id)
        if status is not None and status not in {*Status, *(phone.status for phone in listed)}:
            raise UsageError(f"{status[:40]!r} is no status: write one of {', '.join(Status)}")
    listed = [phone for phone in listed if status in (None, phone.status)]
    watches, otherwise = _watches(opened)
    keys = _keys(opened, listed, organization_id, must=few_keys is not None) if with_keys else {}
    sessions = [
        Session(
            judge(phone, watches.get(phone.id, otherwise), limits),
            store_of(phone.connection_type),
            keys.get(phone.id),
        )
        for phone in listed
    ]
    return [session for session in sessions if _asked_for(session, few_keys, unhealthy=unhealthy)]


def left_out(opened: Opened) -> list[str]:
    """What to tell of phones that no list has, as their rows are of a shape that is not supported."""
    with opened.database.transaction() as conn:
        return phones.left_out(conn, opened.backend)


def _asked_for(session: Session, few_keys: int | None, *, unhealthy: bool) -> bool:
    few = few_keys is None or (session.keys is not None and session.keys < few_keys)
    return few and (session.unhealthy or not unhealthy)


def _keys(opened: Opened, listed: list[Phone], organization_id: int | None, *, must: bool) -> dict[int, dict[str, int]]:
    """Keys by type, by phone id. A store that cannot be read is left out; if it ``must`` be, its error is raised."""
    found: dict[int, dict[str, int]] = {}
    for store, count in ((BAILEYS, _in_baileys), (WHATSMEOW, _in_whatsmeow)):
        members = [phone for phone in listed if store_of(phone.connection_type) == store]
        absent = store == BAILEYS and opened.backend.auth is None
        if not members or (absent and not must):
            continue
        try:
            with opened.database.transaction() as conn:
                found |= count(conn, opened.backend, members, organization_id)
        except PermissionMissing:
            if must:
                raise
    return found


def _in_baileys(
    conn: Connection, backend: Backend, members: list[Phone], organization_id: int | None
) -> dict[int, dict[str, int]]:
    counted = auth_keys.counts(conn, backend, organization_id)
    return {phone.id: in_order(counted.get((phone.organization_id, phone.number), {})) for phone in members}


def _in_whatsmeow(
    conn: Connection, _backend: Backend, members: list[Phone], _organization_id: int | None
) -> dict[int, dict[str, int]]:
    counted = whatsmeow.counts_by_number(conn)
    found = {phone.id: [counted[one] for one in spellings(phone.number) if one in counted] for phone in members}
    return {phone.id: in_order(found[phone.id][0] if found[phone.id] else {}) for phone in members}


def _watches(opened: Opened) -> tuple[dict[int, Watch], Watch]:
    """What is known by phone id, and what holds for all others."""
    try:
        with opened.database.transaction() as conn:
            rows, owners, pending = health.load_all(conn), live_owners(conn), health.pending_counts(conn)
            logs, depths, closes = log_reading.watches(conn), inbox.depths(conn), operations.closes(conn)
            closed_at, forced = health.closed_in_logs(conn), health.forced_closes(conn)
            again = log_reading.failing_again(conn)
    except SchemaMissing:
        return {}, Watch(missing=Because.NO_SCHEMA)
    except PermissionMissing:
        return {}, Watch(missing=Because.NO_PERMISSION)
    known = rows.keys() | owners.keys() | logs.keys() | depths.keys() | closes.keys()
    return {
        id_: Watch(
            *(rows.get(id_), owners.get(id_), pending.get(id_, 0)),
            logs=logs.get(id_),
            inbox=depths.get(id_, Depth()),
            closed_by=closes.get(id_),
            closed_in_logs_at=closed_at.get(id_),
            forced=forced.get(id_),
            failing_again=again.get(id_),
        )
        for id_ in known
    }, Watch()
