"""A verdict for a monitor: one phone, or many."""

from datetime import timedelta

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch import keys
from wa_sessions.actions.watch.sessions import fleet
from wa_sessions.actions.watch.stats import SessionErrorStats, session_stats
from wa_sessions.db import monitoring
from wa_sessions.errors import PermissionMissing, SchemaMissing
from wa_sessions.health import checking
from wa_sessions.health.checking import Known, PhoneVerdict, Thresholds
from wa_sessions.health.limits import Limits
from wa_sessions.keys.phone_ref import PhoneRef


def check(opened: Opened, phone: PhoneRef, organization_id: int | None, thresholds: Thresholds) -> PhoneVerdict:
    """Judge one phone. Raises PhoneNotFound, AmbiguousPhone, PermissionMissing, DatabaseError."""
    stats = session_stats(opened, phone, organization_id)
    count = None
    if thresholds.few_keys is not None and keys.store_of(stats.connection_type) is not None:
        count = keys.keys(opened, PhoneRef(phone_id=stats.phone_id)).total
    age = _ages(opened, stats.phone_id).get(stats.phone_id)
    return checking.phone_verdict(known_of(stats, age, count), thresholds)


def check_fleet(opened: Opened, organization_id: int | None, thresholds: Thresholds) -> list[PhoneVerdict]:
    """Judge all phones, or those of an organization. Raises PermissionMissing, DatabaseError."""
    counted = thresholds.few_keys is not None
    listed = fleet(opened, organization_id=organization_id, with_keys=counted)
    if counted and (uncounted := next((one for one in listed if one.store and one.keys is None), None)):
        raise PermissionMissing(
            f"the keys of {uncounted.stats.phone} cannot be counted: GRANT this role SELECT on the {uncounted.store} "
            "store, or leave --few-keys out"
        )
    ages = _ages(opened, None)
    return [
        checking.phone_verdict(known_of(one.stats, ages.get(one.stats.phone_id), one.keys), thresholds)
        for one in listed
    ]


def _ages(opened: Opened, phone_id: int | None) -> dict[int, timedelta]:
    """Empty where our schema cannot be read, as nobody observes anything then."""
    try:
        with opened.database.transaction() as conn:
            return monitoring.ages(conn, phone_id)
    except (SchemaMissing, PermissionMissing):
        return {}


def known_of(stats: SessionErrorStats, age: timedelta | None, key_count: int | None) -> Known:
    return Known(
        phone=stats.phone,
        connection_type=stats.connection_type,
        status=stats.status,
        state=stats.state,
        severity=stats.severity,
        unknown_because=stats.unknown_because,
        unknown_reason=stats.unknown_reason,
        bad_mac=stats.bad_mac_errors,
        bad_decrypt=stats.bad_decrypt_errors,
        uncounted_reason=stats.uncounted_reason,
        limits=Limits(stats.max_bad_mac_errors, stats.max_bad_decrypt_errors),
        pending=stats.messages_pending,
        lost=stats.messages_lost,
        age=age,
        keys=key_count,
        inbox_age=None if stats.inbox_oldest_seconds is None else timedelta(seconds=stats.inbox_oldest_seconds),
        inbox_dead=stats.inbox_dead,
        inbox_waiting=stats.inbox_waiting,
        closed_in_logs=stats.closed_in_logs_at is not None,
    )
