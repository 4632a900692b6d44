"""All that a session writes to the database, in order and in whole transactions.

What happened is decided at once and kept here until it is written: when the database is away nothing is forgotten.
Every transaction begins by making sure that the lease is still ours.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from wa_sessions.db import alerts, leases, operations, phones, quarantine, restoring
from wa_sessions.db import health as health_rows
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.phones import KEEP, Keep, Phone
from wa_sessions.db.quarantine import Taken
from wa_sessions.health.alerting import is_clear
from wa_sessions.health.decide import decide
from wa_sessions.health.model import Action, Closed, ErrorKind, Event, Health, Limits
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.selection import EVERYTHING, Selection
from wa_sessions.worker import entries, log, stored
from wa_sessions.worker.entries import Context, Line
from wa_sessions.worker.metrics import Work, timed

T = TypeVar("T")

Write = Callable[[Connection], list[Line]]

_COMING_BACK = {
    State.CONNECTING,
    State.RECONNECTING,
    State.NO_ANSWER,
    State.WAITING_FOR_STORE,
    State.UNREACHABLE,
    State.CRASHED,
}


class Journal:
    """The health of one phone, and what is still to be written of it."""

    def __init__(
        self, database: Database, backend: Backend, phone: Phone, worker_id: UUID, epoch: int, limits: Limits
    ) -> None:
        self.phone = phone
        self.epoch = epoch
        self.limits = limits
        self.health = Health()
        self.device: str | None = None
        self.state = State.IDLE
        self.banned_until: datetime | None = None
        self._database = database
        self._backend = backend
        self._worker_id = worker_id
        self._state_detail: str | None = None
        self._state_since = datetime.now(UTC)
        self._down_since: float | None = None
        self._retry_at: datetime | None = None
        self._queue: list[Write] = []

    async def load(self) -> None:
        """Go on from what an earlier worker has written."""
        loaded = await self.read(lambda conn: health_rows.load(conn, self.phone.id))
        if loaded is None:
            return
        messages = await self.read(lambda conn: health_rows.remembered_messages(conn, self.phone.id))
        self.health = stored.health_of(loaded, messages)
        if loaded.state == State.BANNED and loaded.retry_at and loaded.retry_at > datetime.now(UTC):
            self.set_state(State.BANNED, loaded.state_detail, retry_at=loaded.retry_at)
            log.warn(f"{loaded.state_detail}; waiting for that", phone=self.phone.number, event="banned")

    # ------------------------------------------------------------------------------------------ what happens

    def happened(self, event: Event) -> tuple[Action, ...]:
        """Decide what follows from ``event``, and queue what is to be written of it."""
        before = self.health
        self.health, actions = decide(before, event, self.limits)
        changed = [m for m in self.health.messages.values() if before.messages.get(m.message_id) is not m]
        if not actions and not changed and _counters(before) == _counters(self.health):
            return actions

        def write(conn: Connection) -> list[Line]:
            for message in changed:
                health_rows.save_message(conn, stored.message_row(self.phone.id, message))
            context = self._context()
            return [line for action in actions for line in entries.write(conn, context, action)]

        self._queue.append(write)
        return actions

    def note(
        self, kind: str, message: str | None = None, *, level: Callable[..., None] = log.info, **detail: Any
    ) -> None:
        """Queue an entry for the history; ``message`` goes to the log when it is written."""

        def write(conn: Connection) -> list[Line]:
            context = self._context()
            context.event(conn, kind, detail)
            return [context.line(level, message, kind, **detail)] if message else []

        self._queue.append(write)

    def set_state(self, state: State, detail: str | None = None, *, retry_at: datetime | None = None) -> None:
        """Queue what the session is doing now."""
        if state is not self.state:
            self._state_since = datetime.now(UTC)
        self.state, self._state_detail, self._retry_at = state, detail, retry_at
        self.banned_until = retry_at if state is State.BANNED else None
        self._down_since = (self._down_since or time.monotonic()) if state in _COMING_BACK else None
        self._queue.append(lambda _conn: [])

    def down_seconds(self) -> int:
        """How long the session has tried to come back."""
        return int(time.monotonic() - self._down_since) if self._down_since else 0

    def set_status(
        self, status: Status, *, qr_code: str | Keep | None = KEEP, phone_jid: str | Keep = KEEP, now: bool = False
    ) -> None:
        """Queue the status for the backend's table; ``now`` sets lastConnectedAt."""

        def write(conn: Connection) -> list[Line]:
            phones.set_status(
                conn,
                self._backend,
                self.phone.id,
                status.value,
                qr_code=qr_code,
                phone_jid=phone_jid,
                connected_now=now,
            )
            return []

        self._queue.append(write)

    def close(self, kind: ErrorKind, done: Callable[[], None] = lambda: None) -> None:
        """Queue the close at a limit: keys away, status, counters, history and alert, all or nothing.

        ``done`` is called when it is written.
        """
        count, limit = self.health.errors(kind), self.limits.of(kind)
        reason = f"{kind.label} limit reached ({count} of {limit})"

        def write(conn: Connection) -> list[Line]:
            context = self._context()
            part = context.operation(conn, "close", reason, status_after=Status.LOGGED_OUT)
            quarantine.take(conn, self._backend, part, self.phone, EVERYTHING)
            operation = part.operation_id
            phones.set_status(conn, self._backend, self.phone.id, Status.LOGGED_OUT.value, qr_code=None)
            detail = {"error_kind": kind.value, "count": count, "limit": limit}
            context.event(conn, "session_closed", detail, operation)
            message = (
                f"session closed: {reason}. Its keys are in quarantine and nothing was unlinked at WhatsApp: "
                f"`wa-sessions restore {operation}` brings it back without a QR. After a new pairing the old entry "
                f"stays under Linked devices on the phone: `wa-sessions unlink {operation}` removes it."
            )
            return [context.line(log.error, message, "session_closed", operation=operation, **detail), done]

        self._queue.append(write)
        self.happened(Closed(datetime.now(UTC)))
        self.set_state(State.CLOSING, reason)

    def force_close(
        self, reason: str, actor: str, *, logout: bool, operation_id: str | None = None
    ) -> Callable[[], tuple[str | None, Taken]]:
        """Queue a close that an operator asked for. The result gives the operation's id and what it took, once written.

        With ``operation_id`` it is part of that operation.
        """
        operation: str | None = None
        taken = Taken()

        def write(conn: Connection) -> list[Line]:
            nonlocal operation, taken
            context = self._context()
            if logout:
                part = context.operation(
                    conn, "force_close", reason, actor, status_after=Status.LOGGED_OUT, operation_id=operation_id
                )
                taken = quarantine.take(conn, self._backend, part, self.phone, EVERYTHING)
                operation = part.operation_id
            status = Status.LOGGED_OUT if logout else Status.DISCONNECTED
            phones.set_status(conn, self._backend, self.phone.id, status.value, qr_code=None)
            context.event(conn, "force_closed", {"reason": reason, "actor": actor, "logout": logout}, operation)
            return []

        self._queue.append(write)
        self.health = replace(self.health, bad_mac=0, bad_decrypt=0, counted_senders=frozenset(), closing=None)
        self.set_state(State.FORCE_CLOSED, reason)
        return lambda: (operation, taken)

    async def clean(
        self, selection: Selection, action: str, reason: str, actor: str, operation_id: str | None
    ) -> tuple[str | None, Taken]:
        """Put selected keys into quarantine, now; the operation's id (None: there were none) and what it took."""

        def write(conn: Connection) -> tuple[str | None, Taken]:
            leases.fence(conn, self.phone.id, self.epoch)
            context = self._context()
            part = context.operation(conn, action, reason, actor, operation_id=operation_id)
            taken = quarantine.take(conn, self._backend, part, self.phone, selection)
            if not taken.quarantined:
                operations.discard(conn, part)
                return None, taken
            detail = {"action": action, "actor": actor, "keys": taken.quarantined}
            context.event(conn, "keys_quarantined", detail, part.operation_id)
            return part.operation_id, taken

        return await self.read(write)

    async def restore(
        self, operation: str, actor: str, *, overwrite: str | None = None, dry_run: bool = False
    ) -> restoring.Restored:
        """Bring an operation's keys back, now, or only see whether that can be done.

        Raises Conflict if it would overwrite something newer, unless ``overwrite`` names the operation that takes it.
        """

        def write(conn: Connection) -> restoring.Restored:
            leases.fence(conn, self.phone.id, self.epoch)
            done = operations.operation(conn, operation)
            restored = restoring.restore(conn, self._backend, done, self.phone.id, actor=actor, overwrite=overwrite)
            self._context().event(conn, "restored", {"actor": actor, "keys": restored.keys}, operation)
            if dry_run:
                conn.rollback()
            return restored

        return await self.read(write)

    # ----------------------------------------------------------------------------------------------- the database

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` in a transaction of its own."""

        def work() -> T:
            with timed(Work.TRANSACTION), self._database.transaction() as conn:
                return query(conn)

        return await asyncio.to_thread(work)

    async def flush(self) -> None:
        """Write everything that is queued, as one transaction.

        Raises DatabaseError (the queue is kept) or OwnedByAnother (the lease is lost).
        """
        if not self._queue:
            return
        queue, row = list(self._queue), self._row()

        def write(conn: Connection) -> list[Line]:
            leases.fence(conn, self.phone.id, self.epoch)
            lines = [line for step in queue for line in step(conn)]
            health_rows.save(conn, row)
            if is_clear(State(row.state), row.bad_mac_errors, row.bad_decrypt_errors):
                alerts.clear(conn, self.phone)
            return lines

        lines = await self.read(write)
        del self._queue[: len(queue)]
        for line in lines:
            line()

    def _context(self) -> Context:
        return Context(self.phone, self.device, self._backend, self._worker_id)

    def _row(self) -> health_rows.HealthRow:
        return stored.health_row(
            self.phone,
            self.health,
            self.limits,
            state=self.state.value,
            state_detail=self._state_detail,
            state_since=self._state_since,
            retry_at=self._retry_at,
        )


def _counters(health: Health) -> tuple[object, ...]:
    return health.bad_mac, health.bad_decrypt, health.counted_senders, health.closing, health.recovered, health.lost
