"""Whose records a worker writes, with their entries of the history, alerts and lines of the log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from wa_sessions.db import alerts, phones, quarantine
from wa_sessions.db import health as health_rows
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import OperationPart
from wa_sessions.db.phones import Phone
from wa_sessions.db.settings import Target
from wa_sessions.health.alerting import after_event
from wa_sessions.health.events.detail import EventDetail
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker import log
from wa_sessions.worker.effects import Level
from wa_sessions.worker.session import Event

ACTOR = "worker"

LogRecord = Callable[[], None]


@dataclass(frozen=True, slots=True)
class EffectContext:
    """Whose records these are, and what is told once they stand. ``device`` is the JID of the login."""

    phone: Phone
    device: str | None
    backend: Backend
    worker_id: UUID
    target: Target
    lines: list[LogRecord] = field(default_factory=list)
    outcomes: list[Event] = field(default_factory=list)

    def event(self, conn: Connection, detail: EventDetail, operation: str | None = None) -> None:
        """Write an entry of the history, and the alert that it is worth."""
        health_rows.record_event(
            conn,
            self.phone.id,
            self.phone.organization_id,
            detail,
            operation_id=operation,
            worker_id=self.worker_id,
        )
        if alert := after_event(detail, self.phone.number, operation):
            alerts.leave(conn, self.phone, alert)

    def line(self, level: Level, message: str, detail: EventDetail, **fields: Any) -> None:
        """A line for the log, to be said when the transaction stands."""
        write = {"info": log.info, "warn": log.warn, "error": log.error}[level]
        fields |= detail.as_json()
        self.lines.append(lambda: write(message, phone=self.phone.number, event=detail.kind, **fields))

    def operation(
        self,
        conn: Connection,
        action: str,
        reason: str,
        actor: str = ACTOR,
        *,
        status_after: Status | None = None,
        operation_id: str | None = None,
    ) -> OperationPart:
        """Open an operation, or go on with one; quarantined keys belong to it."""
        return quarantine.begin(
            conn,
            self.backend,
            phones.find(conn, self.backend, PhoneRef(phone_id=self.phone.id)),
            action=action,
            reason=reason,
            actor=actor,
            status_after=status_after,
            operation_id=operation_id,
        )
