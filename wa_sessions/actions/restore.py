"""Undoing an operation that took keys away."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import alone, ask, live_owner
from wa_sessions.db import health, migrate, operations, phones, restoring
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import Operation
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, UsageError
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.phone_ref import PhoneRef

ANSWER_TIMEOUT = 30.0  # seconds for a worker to close its WebSocket, put the rows back and write it down


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back: ``counts`` are rows by table, ``worker_id`` who did it and connects now (None: we)."""

    operation: str
    phone: Phone
    keys: int
    counts: dict[str, int]
    worker_id: UUID | None


def restore(opened: Opened, operation_id: str, *, process_stopped: bool = False) -> Restored:
    """Bring an operation's keys back, byte for byte.

    Raises WaSessionsError for an unknown operation, Conflict where something newer stands, OwnedByAnother for a
    connected Baileys phone unless ``process_stopped``, SchemaMissing.
    """
    operation_id = operation_id.strip()
    done, phone, owner = _find(opened, operation_id)
    if phone.connection_type == "baileys" and phone.status == "connected" and not process_stopped:
        raise OwnedByAnother(
            f"{phone.number} is a baileys phone and connected: its Node process would overwrite what comes back; "
            "stop that process first, then say --process-stopped"
        )
    if owner:
        answer = ask(opened, phone, owner, "restore", ANSWER_TIMEOUT, operation=done.id)
        return Restored(done.id, phone, int(answer["keys"]), dict(answer["counts"]), owner.worker_id)
    with alone(opened, phone.id) as (conn, current):
        counts = _restore(conn, opened, done, current)
    return Restored(done.id, phone, sum(counts.values()), counts, None)


def _find(opened: Opened, operation_id: str) -> tuple[Operation, Phone, WorkerInfo | None]:
    if not operation_id:
        raise UsageError("which operation? Its id was printed by what took the keys, as in op-20260115-7f3k9q")
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        done = operations.operation(conn, operation_id)
        phone = phones.find(conn, opened.backend, PhoneRef(phone_id=done.phone_id))
        return done, phone, live_owner(conn, phone.id)


def _restore(conn: Connection, opened: Opened, done: Operation, phone: Phone) -> dict[str, int]:
    counts = restoring.restore(conn, opened.backend, done.id, actor=operator()).counts
    if phone.status in (Status.LOGGED_OUT, Status.PENDING):
        phones.set_status(conn, opened.backend, phone.id, Status.DISCONNECTED.value, qr_code=None)
    if row := health.load(conn, phone.id):
        detail = f"restored {done.id}"
        back = replace(row, state=State.IDLE.value, state_detail=detail, state_since=datetime.now(UTC), closing=None)
        health.save(conn, back)
    detail_of_event = {"actor": operator(), "keys": sum(counts.values())}
    health.record_event(conn, phone.id, phone.organization_id, "restored", detail_of_event, operation_id=done.id)
    return counts
