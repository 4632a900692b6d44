"""One transaction of the inbox: what it is to do, what it has brought, and how messages and rows are each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from wa_sessions.db import alerts, health, inbox
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.inbox import Failure, InboxMessage, InboxRow, RowKey
from wa_sessions.db.phones import Phone
from wa_sessions.health.alerting import after_event
from wa_sessions.health.events.workers import HandlerDead
from wa_sessions.wording import counted
from wa_sessions.worker import log
from wa_sessions.worker.delivery.retries import PAUSE_MOST
from wa_sessions.worker.delivery.unwritten import Told
from wa_sessions.worker.delivery.window import CHAT, CHAT_BYTES, Key, Stored
from wa_sessions.worker.message import IncomingMessage

LOOK = 2_000
"""Chats that are looked at in one transaction."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one transaction is to do: write, let go, note failures; look for chats behind these, load some."""

    told: tuple[Told, ...] = ()
    handled: tuple[RowKey, ...] = ()
    failed: tuple[Failure, ...] = ()
    look: tuple[Key, ...] = ()
    wanted: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return any((self.told, self.handled, self.failed, self.look, self.wanted))


@dataclass(frozen=True, slots=True)
class Done:
    """What it has brought. ``chats``: those that were found, and whether they may be handled now, None for never."""

    written: dict[inbox.Identity, int]
    chats: list[tuple[Key, bool | None]]
    rows: list[InboxRow]


def carry_out(database: Database, work: Work, phones: Mapping[int, Phone], worker_id: UUID, *, hold: bool) -> Done:
    """Do it. Raises what a transaction raises."""
    with database.transaction() as conn:
        written = inbox.write(conn, [one.message for one in work.told]) if work.told else {}
        if work.handled:
            inbox.delete(conn, work.handled)
        if work.failed:
            _record(conn, work.failed, phones, worker_id)
        chats = inbox.chats(conn, work.look, LOOK, longest=PAUSE_MOST, hold=hold) if work.look else []
        rows = inbox.load(conn, work.wanted, CHAT, CHAT_BYTES, longest=PAUSE_MOST, hold=hold) if work.wanted else []
    return Done(written, chats, rows)


def _record(conn: Connection, failed: Sequence[Failure], phones: Mapping[int, Phone], worker_id: UUID) -> None:
    """Note failures; what is set aside has its entry in the history, and the phone's first one its alert."""
    dead = [one for one in failed if one.dead]
    before = inbox.with_dead(conn, [one.key.phone_id for one in dead]) if dead else set()
    inbox.fail(conn, failed)
    for one in dead:
        if (phone := phones.get(one.key.phone_id)) is None:
            continue
        detail = HandlerDead(one.message_id, one.error, one.attempts)
        health.record_event(conn, phone.id, phone.organization_id, detail, worker_id=worker_id)
        alert = after_event(detail, phone.number)
        if alert and phone.id not in before:
            alerts.leave(conn, phone, alert)
        before.add(phone.id)


def key_of(row: Stored) -> RowKey:
    """Which row a message stands in."""
    return RowKey(row.phone_id, row.message.chat, row.id)


def told(phone_id: int, message: IncomingMessage, client: int) -> Told:
    """A message that a client told, as it is to be written."""
    row = InboxMessage(
        phone_id,
        message.chat,
        message.sender,
        message.id,
        message.sender_alt,
        message.from_me,
        message.is_group,
        message.timestamp,
        message.kind,
        message.text,
        message.raw,
    )
    return Told(row, message, client)


def stored(row: InboxRow, phones: Mapping[int, Phone]) -> Stored:
    """A row as the message that it keeps."""
    kept = row.message
    phone = phones.get(kept.phone_id)
    message = IncomingMessage(
        id=kept.message_id,
        chat=kept.chat,
        sender=kept.sender,
        sender_alt=kept.sender_alt,
        from_me=kept.from_me,
        is_group=kept.is_group,
        timestamp=kept.sent_at,
        kind=kept.kind,
        text=kept.text,
        raw=kept.raw,
        phone=phone.number if phone else "",
    )
    return Stored(row.id, kept.phone_id, message, row.attempts, row.pause)


def say_set_aside(failed: Sequence[Failure], phones: Mapping[int, Phone]) -> None:
    """Log what is handed to no handler any more, until an operator says so."""
    for failure in (one for one in failed if one.dead):
        phone = phones.get(failure.key.phone_id)
        named = phone.number if phone else f"'#{failure.key.phone_id}'"
        attempts = counted(failure.attempts, "attempt")
        log.error(
            f"message {failure.message_id} is set aside after {attempts}: {failure.error}; "
            f"wa-sessions inbox retry {named}, or wa-sessions inbox drop {named} --dead",
            phone=phone.number if phone else None,
            event="handler_dead",
            message_id=failure.message_id,
            error=failure.error,
        )
