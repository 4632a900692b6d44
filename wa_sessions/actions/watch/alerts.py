"""Alerts: what is in the outbox, sending what is due from cron, and trying the targets."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from wa_sessions.actions.connection import Opened
from wa_sessions.db import alerts, migrate, phones
from wa_sessions.db.alerts import LeftAlert, TargetState
from wa_sessions.db.gateway import Database
from wa_sessions.errors import UsageError
from wa_sessions.health.alerting import trial
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.wording.alert_texts import payload
from wa_sessions.worker import alert_targets
from wa_sessions.worker.alert_targets import AlertTarget, NotDelivered
from wa_sessions.worker.alerting import Attempt, send_next


@dataclass(frozen=True, slots=True)
class Outbox:
    """The newest alerts, and how it goes with every target. ``configured``: the targets of this environment."""

    alerts: tuple[LeftAlert, ...]
    targets: tuple[TargetState, ...]
    configured: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sending:
    """What ``send`` did. ``targets`` is how it goes with each one afterwards."""

    attempts: tuple[Attempt, ...]
    targets: tuple[TargetState, ...]


def list_alerts(
    opened: Opened, phone: PhoneRef | None = None, organization_id: int | None = None, *, limit: int = 20
) -> Outbox:
    """The newest alerts first. Raises PhoneNotFound, AmbiguousPhone, UsageError for the environment, SchemaMissing."""
    configured = frozenset(target.name for target in alert_targets.configured())
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        phone_id = None
        if phone is not None:
            phone_id = phone.phone_id or phones.find(conn, opened.backend, phone, organization_id).id
        found = alerts.newest(conn, phone_id=phone_id, organization_id=organization_id, limit=limit)
        return Outbox(tuple(found), tuple(alerts.targets(conn)), configured)


def send(opened: Opened) -> Sending:
    """Send all that is due now, as cron does where no worker runs; targets do not wait for each other.

    Raises UsageError without a target, SchemaMissing, DatabaseError.
    """
    targets, pace = _targets(), replace(alert_targets.pace(), gather=0.0)
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        alerts.forget_old(conn)
    with Database.open(opened.database.target, size=len(targets)) as database:

        def all_due(target: AlertTarget) -> list[Attempt]:
            made: list[Attempt] = []
            while not (made and made[-1].error) and (attempt := send_next(database, target, pace)):
                made.append(attempt)
            return made

        with ThreadPoolExecutor(len(targets)) as pool:
            made = [attempt for several in pool.map(all_due, targets) for attempt in several]
        names = {target.name for target in targets}
        with database.transaction() as conn:
            return Sending(tuple(made), tuple(state for state in alerts.targets(conn) if state.name in names))


def try_targets() -> list[Attempt]:
    """Send a test to every target, past the outbox; no database is needed. Raises UsageError without a target."""
    targets, at = _targets(), datetime.now(UTC)
    test = payload(trial(), at)

    def attempt(target: AlertTarget) -> Attempt:
        try:
            target.send(f"test-{at:%Y%m%dT%H%M%S%f}", [{"id": None, **test}])
        except NotDelivered as error:
            return Attempt(target.name, 1, str(error))
        return Attempt(target.name, 1)

    with ThreadPoolExecutor(len(targets)) as pool:
        return list(pool.map(attempt, targets))


def _targets() -> tuple[AlertTarget, ...]:
    alert_targets.check()
    if targets := alert_targets.configured():
        return targets
    raise UsageError(
        "no target of alerts is configured: set WA_SESSIONS_ALERT_WEBHOOK_URL, WA_SESSIONS_ALERT_TELEGRAM_TOKEN and "
        "_CHAT, or WA_SESSIONS_ALERT_SMTP_URL, _EMAIL_FROM and _EMAIL_TO"
    )
