"""How each decided action is written: its repair, its entry in the history, its line in the log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from wa_sessions.db import alerts, operations, phones, quarantine
from wa_sessions.db import health as health_rows
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import Part
from wa_sessions.db.phones import Phone
from wa_sessions.health.alerting import after_event
from wa_sessions.health.model import (
    Action,
    FailedMessage,
    Outcome,
    QuarantineCollection,
    QuarantineSenderKey,
    QuarantineSession,
    RecordEnd,
    RecordError,
    RecordPending,
    RecordReset,
)
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker import log
from wa_sessions.worker.metrics import Work, timed

ACTOR = "worker"

Line = Callable[[], None]
Repair = QuarantineSession | QuarantineSenderKey | QuarantineCollection


@dataclass(frozen=True, slots=True)
class Context:
    """Whose entries these are. ``device`` is the JID that the session is logged in as."""

    phone: Phone
    device: str | None
    backend: Backend
    worker_id: UUID

    def event(self, conn: Connection, kind: str, detail: dict[str, Any], operation: str | None = None) -> None:
        """Write an entry of the history, and the alert that it is worth."""
        health_rows.record_event(
            conn,
            self.phone.id,
            self.phone.organization_id,
            kind,
            {key: value for key, value in detail.items() if value is not None},
            operation_id=operation,
            worker_id=self.worker_id,
        )
        if alert := after_event(kind, detail, self.phone.number, operation):
            alerts.leave(conn, self.phone, alert)

    def operation(
        self,
        conn: Connection,
        action: str,
        reason: str,
        actor: str = ACTOR,
        *,
        status_after: Status | None = None,
        operation_id: str | None = None,
    ) -> Part:
        """Open an operation, or go on with one; quarantined keys belong to it."""
        return quarantine.begin(
            conn,
            self.backend,
            phones.find(conn, self.backend, PhoneRef(phone_id=self.phone.id)),
            action=action,
            reason=reason,
            actor=actor,
            status_after=status_after.value if status_after else None,
            operation_id=operation_id,
        )

    def line(self, level: Callable[..., None], message: str, kind: str, **fields: Any) -> Line:
        """A line for the log, to be said when the transaction stands."""
        return lambda: level(message, phone=self.phone.number, event=kind, **fields)


def write(conn: Connection, context: Context, action: Action) -> list[Line]:
    """Carry out and record one action; the lines to log once it stands."""
    match action:
        case RecordError():
            return [_error(conn, context, action)]
        case RecordPending(message):
            return [_pending(conn, context, message)]
        case RecordEnd(message):
            return [_end(conn, context, message)]
        case RecordReset(kind):
            context.event(conn, "counter_reset", {"error_kind": kind.value})
            return [context.line(log.info, f"{kind.label} counter reset", "counter_reset", error_kind=kind.value)]
        case QuarantineSession() | QuarantineSenderKey() | QuarantineCollection():
            with timed(Work.REPAIR):
                return [_repair(conn, context, action, context.device)] if context.device else []
        case _:
            return []


def _error(conn: Connection, context: Context, action: RecordError) -> Line:
    detail = {
        "error_kind": action.kind.value,
        "count": action.count,
        "limit": action.limit,
        "message_id": action.message_id,
        "sender": action.sender,
        "collection": action.collection,
    }
    context.event(conn, "error_counted", detail)
    number = context.phone.number
    message = f"{action.kind.label} error #{action.count} for {number}@s.whatsapp.net (closed at {action.limit})"
    return context.line(log.warn, message, "error_counted", **detail)


def _pending(conn: Connection, context: Context, message: FailedMessage) -> Line:
    detail = {"message_id": message.message_id, "cause": message.cause.value, "sender": message.sender}
    context.event(conn, "message_pending", detail)
    text = f"message {message.message_id} did not decrypt ({message.cause.value}); its sender is asked again"
    return context.line(log.info, text, "message_pending", **detail)


def _end(conn: Connection, context: Context, message: FailedMessage) -> Line:
    assert message.ended_at
    assert message.outcome
    seconds = round((message.ended_at - message.first_failed_at).total_seconds(), 3)
    detail = {"message_id": message.message_id, "seconds": seconds, "copies": message.copies}
    kind = f"message_{message.outcome.value}"
    context.event(conn, kind, detail)
    level = log.info if message.outcome is Outcome.RECOVERED else log.warn
    return context.line(
        level, f"message {message.message_id} {message.outcome.value} after {seconds:.1f} s", kind, **detail
    )


def _repair(conn: Connection, context: Context, repair: Repair, device: str) -> Line:
    part, keys, what, detail = _quarantine(conn, context, repair, device)
    subject = what.replace("_", " ")
    if keys == 0:
        operations.discard(conn, part)
        context.event(conn, f"{what}_kept", detail)
        why = "it syncs from its start anyway" if what == "collection" else "it is not the one that failed any more"
        return context.line(log.info, f"{subject} kept: {why}", f"{what}_kept", **detail)
    detail["keys"] = keys
    context.event(conn, f"{what}_quarantined", detail, part.operation_id)
    message = f"{subject} quarantined, the session goes on; undo: wa-sessions restore {part.operation_id}"
    return context.line(log.warn, message, f"{what}_quarantined", operation=part.operation_id, **detail)


def _quarantine(
    conn: Connection, context: Context, repair: Repair, device: str
) -> tuple[Part, int, str, dict[str, Any]]:
    match repair:
        case QuarantineSession(sender, mark):
            part = context.operation(conn, "repair_session", f"Bad MAC from {sender}")
            keys = quarantine.session(conn, part, device, sender, only_mark=mark)
            return part, keys, "session", {"sender": sender}
        case QuarantineSenderKey(chat, sender, mark):
            part = context.operation(conn, "repair_sender_key", f"Bad MAC from {sender} in {chat}")
            keys = quarantine.sender_key(conn, part, device, chat, sender, only_mark=mark)
            return part, keys, "sender_key", {"chat": chat, "sender": sender}
        case QuarantineCollection(collection):
            part = context.operation(conn, "repair_collection", f"Bad Decrypt of {collection}")
            keys = quarantine.app_state_version(conn, part, device, collection)
            return part, keys, "collection", {"collection": collection}
