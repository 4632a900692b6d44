"""What a session reads and writes in the database: each write one whole transaction that begins with the fence."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential, wait_random

from wa_sessions.db import alerts, commands, leases, whatsmeow
from wa_sessions.db import health as health_rows
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.phones import Phone
from wa_sessions.errors import (
    BackendChanged,
    DatabaseAway,
    DatabaseError,
    PermissionMissing,
    SchemaMissing,
    StoreAway,
    TryAgain,
    WaSessionsError,
)
from wa_sessions.health.alerting import is_clear
from wa_sessions.keys.phone_ref import device_of
from wa_sessions.worker import mapping, records
from wa_sessions.worker.commands import answered_meanwhile
from wa_sessions.worker.effect_context import EffectContext
from wa_sessions.worker.effects import Keep, Note, Record, SetStatus
from wa_sessions.worker.metrics import Work, timed
from wa_sessions.worker.session import Event, Session

T = TypeVar("T")

TRY_AGAIN = (TryAgain, PermissionMissing, SchemaMissing, BackendChanged)
"""What goes away by itself: a deadlock, a lock, a right or a table that is missing for a moment."""
TRY_FOR = 30.0  # seconds
STORE_AWAY = (StoreAway, DatabaseError, *TRY_AGAIN)
"""What is waited for without a socket: a database that does not answer, or that is not as it must be, for longer."""


@dataclass(slots=True)
class Lease:
    """The epoch under which a worker writes; another one after the lease was taken anew."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A session as the database has it. ``went_through``: the last write stands, though its commit seemed to fail."""

    session: Session
    went_through: bool


class SessionRepository:
    """The rows of one phone."""

    def __init__(self, database: Database, backend: Backend, phone: Phone, worker_id: UUID, lease: Lease) -> None:
        self.phone = phone
        self.lease = lease
        self._database = database
        self._backend = backend
        self._worker_id = worker_id
        self._version = 0

    async def load(self, session: Session) -> Reloaded:
        """The session with what is stored of it, and without the commands that were answered meanwhile."""
        asked = [command.id for command in session.unanswered]

        def read(conn: Connection) -> tuple[health_rows.HealthRow | None, list[health_rows.MessageRow], set[int]]:
            row = health_rows.load(conn, self.phone.id)
            messages = health_rows.remembered_messages(conn, self.phone.id) if row else []
            return row, messages, commands.finished(conn, asked) if asked else set()

        row, messages, answered = await self._transaction(read)
        went_through = row is not None and row.version == self._version + 1
        self._version = row.version if row else self._version
        loaded = mapping.with_stored(session, row, messages)
        return Reloaded(answered_meanwhile(loaded, answered), went_through)

    async def commit(self, before: Session, after: Session, written: Sequence[Record]) -> list[Event]:
        """Write what a step has brought, as one transaction; what came of it in the database.

        Raises StoreAway (nothing is known of what stands until ``load``), TryAgain, LeaseLost,
        PhoneNotFound; what else it raises is a fault.
        """
        version, now = self._version + 1, datetime.now(UTC)
        phone = _with_jid(self.phone, written)
        known = before.health.messages
        changed = [m for m in after.health.messages.values() if known.get(m.message_id) is not m]

        def write(conn: Connection) -> EffectContext:
            context = self._context(after.device or before.device, phone)
            leases.fence(conn, phone.id, self._worker_id, self.lease.epoch)
            for message in changed:
                health_rows.save_message(conn, mapping.message_row(phone.id, message))
            for record in written:
                records.write(conn, context, record)
            row = mapping.health_row(phone, after, version, now)
            health_rows.save(conn, row)
            if is_clear(after.state, row.bad_mac_errors, row.bad_decrypt_errors):
                alerts.clear(conn, phone)
            return context

        context = await self._transaction(write)
        self._version, self.phone = version, phone
        for line in context.lines:
            line()
        return context.outcomes

    async def find_device(self) -> str | None:
        """The device of the number whose keys are in the store; the one that the phone is known by, if it is there."""
        devices = await self._transaction(lambda conn: whatsmeow.device_of(conn, self.phone.number))
        if not devices or self.phone.phone_jid in devices:
            return self.phone.phone_jid if devices else None
        return max(devices, key=lambda jid: device_of(jid) or 0)

    async def versions(self, device: str) -> dict[str, int]:
        """The app-state versions in the store, by collection."""
        return await self._transaction(lambda conn: whatsmeow.app_state_versions(conn, device))

    async def session_mark(self, device: str, sender: str, chat: str, *, is_group: bool) -> str | None:
        """The state of the sender's session (in a group: sender key), None where there is none."""
        if is_group:
            return await self._transaction(lambda conn: whatsmeow.sender_key_mark(conn, device, chat, sender))
        return await self._transaction(lambda conn: whatsmeow.session_mark(conn, device, sender))

    async def answer(self, command_id: int, result: Mapping[str, Any] | WaSessionsError) -> None:
        """Answer a command of a phone that is not ours any more."""
        await self._transaction(lambda conn: records.answer(conn, command_id, result))

    async def note(self, *notes: Note) -> None:
        """Write entries that belong to no step of the session."""

        def write(conn: Connection) -> EffectContext:
            context = self._context(None, self.phone)
            leases.fence(conn, self.phone.id, self._worker_id, self.lease.epoch)
            for note in notes:
                records.write(conn, context, note)
            return context

        for line in (await self._transaction(write)).lines:
            line()

    def _context(self, device: str | None, phone: Phone) -> EffectContext:
        return EffectContext(phone, device, self._backend, self._worker_id, self._database.target)

    async def _transaction(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` in a transaction of its own, again while what stands in its way may go away by itself."""

        def work() -> T:
            with timed(Work.TRANSACTION), self._database.transaction() as conn:
                return query(conn)

        waits = wait_exponential(multiplier=0.1, max=3) + wait_random(0, 0.1)
        again = retry_if_exception_type(TRY_AGAIN)
        async for attempt in AsyncRetrying(wait=waits, retry=again, stop=stop_after_delay(TRY_FOR), reraise=True):
            with attempt:
                return await asyncio.to_thread(work)
        raise DatabaseAway("no attempt was made")


def _with_jid(phone: Phone, written: Sequence[Record]) -> Phone:
    jids = [record.phone_jid for record in written if isinstance(record, SetStatus)]
    return next((replace(phone, phone_jid=jid) for jid in reversed(jids) if not isinstance(jid, Keep)), phone)
