"""Ending a session on purpose: by its worker, or in the database where none runs it."""

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import alone, ask, find
from wa_sessions.db import health, operations, phones, quarantine, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.health import HealthRow
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, UsageError
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.phone_ref import PhoneRef

ANSWER_TIMEOUT = 20.0  # seconds for a worker to close its WebSocket and write it down
DEFAULT_REASON = "closed by an operator"
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Closed:
    """A close that is done. ``operation`` names what ``restore`` undoes; None where no key was touched."""

    phone: Phone
    status: str
    operation: str | None
    keys: int
    worker_id: UUID | None
    node_restart: bool
    dry_run: bool = False


class _DryRun(Exception):
    """Rolls back what was only to be looked at."""


def check(
    opened: Opened, phone: PhoneRef, organization_id: int | None = None, *, process_stopped: bool = False
) -> tuple[Phone, WorkerInfo | None]:
    """The phone that would be closed and the worker that would do it (None: we, in the database).

    Raises OwnedByAnother for a connected Baileys phone (its process would write deleted rows back) unless
    ``process_stopped``, UsageError for waba phones, PhoneNotFound, AmbiguousPhone, SchemaMissing.
    """
    found, owner = find(opened, phone, organization_id)
    _refuse(found, process_stopped=process_stopped)
    return found, owner


def force_close(
    opened: Opened,
    phone: PhoneRef,
    organization_id: int | None = None,
    *,
    reason: str = DEFAULT_REASON,
    logout: bool = False,
    process_stopped: bool = False,
    dry_run: bool = False,
) -> Closed:
    """Close the session: WebSocket closed, counters cleared, status ``disconnected``, keys kept.

    With ``logout`` all its keys go into quarantine and the status is ``logged_out``. ``dry_run`` does the database part
    and rolls it back. Raises what ``check`` raises, and WaSessionsError where the worker does not answer.
    """
    found, owner = check(opened, phone, organization_id, process_stopped=process_stopped)
    reason = " ".join(reason.split())[:LONGEST_REASON] or DEFAULT_REASON
    status = Status.LOGGED_OUT if logout else Status.DISCONNECTED
    if dry_run:
        return _tried(opened, found, owner, reason, status)
    operation: str | None
    if owner:
        answer = ask(opened, found, owner, "force_close", ANSWER_TIMEOUT, reason=reason, logout=logout)
        operation = answer.get("operation")
    else:
        with alone(opened, found.id) as (conn, current):
            _refuse(current, process_stopped=process_stopped)
            operation = _close(conn, opened, current, reason, status)
    keys, worker_id = _keys(opened, operation), owner.worker_id if owner else None
    return Closed(found, status.value, operation, keys, worker_id, found.connection_type == "baileys")


def _tried(opened: Opened, phone: Phone, owner: WorkerInfo | None, reason: str, status: Status) -> Closed:
    keys, worker_id = 0, owner.worker_id if owner else None
    with contextlib.suppress(_DryRun), opened.database.transaction() as conn:
        if operation := _close(conn, opened, phone, reason, status):
            keys = operations.operation(conn, operation).keys
        raise _DryRun
    return Closed(phone, status.value, None, keys, worker_id, phone.connection_type == "baileys", dry_run=True)


def _refuse(phone: Phone, *, process_stopped: bool) -> None:
    if phone.connection_type == "waba":
        raise UsageError(f"{phone.number} is a waba phone (the official API): it has no session to close")
    if phone.connection_type == "baileys" and phone.status == "connected" and not process_stopped:
        raise OwnedByAnother(
            f"{phone.number} is a baileys phone and connected: its Node process would write everything back for 300 s; "
            "stop that process first, then say --process-stopped"
        )


def _close(conn: Connection, opened: Opened, phone: Phone, reason: str, status: Status) -> str | None:
    logout = status is Status.LOGGED_OUT
    operation = _quarantine(conn, opened, phone, reason) if logout else None
    phones.set_status(conn, opened.backend, phone.id, status.value, qr_code=None)
    health.save(conn, _cleared(health.load(conn, phone.id), phone, reason))
    detail = {"reason": reason, "actor": operator(), "logout": logout}
    health.record_event(conn, phone.id, phone.organization_id, "force_closed", detail, operation_id=operation)
    return operation


def _quarantine(conn: Connection, opened: Opened, phone: Phone, reason: str) -> str | None:
    """Take all keys of the phone; None if there were none."""
    operation = operations.new_operation(conn, phone=phone, action="force_close", reason=reason, actor=operator())
    if phone.connection_type == "baileys":
        keys = quarantine.baileys(conn, opened.backend, operation, phone.organization_id, phone.number)
    else:
        keys = sum(quarantine.device(conn, operation, jid) for jid in whatsmeow.device_of(conn, phone.number))
    if keys:
        return operation
    operations.discard(conn, operation)
    return None


def _cleared(row: HealthRow | None, phone: Phone, reason: str) -> HealthRow:
    now = datetime.now(UTC)
    blank = HealthRow(
        phone.id, phone.organization_id, 0, 0, (), None, None, 0, 0, State.IDLE.value, None, now, None, None
    )
    return replace(
        row or blank,
        bad_mac_errors=0,
        bad_decrypt_errors=0,
        counted_senders=(),
        state=State.FORCE_CLOSED.value,
        state_detail=reason,
        state_since=now,
        retry_at=None,
        closing=None,
    )


def _keys(opened: Opened, operation: str | None) -> int:
    if operation is None:
        return 0
    with opened.database.transaction() as conn:
        return operations.operation(conn, operation).keys
