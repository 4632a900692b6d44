"""The inbox: what waits for a message handler, having it tried again, and deleting it for good."""

from collections.abc import Sequence
from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, inbox, migrate, operations, phones
from wa_sessions.db.gateway import Connection
from wa_sessions.db.inbox import Depth, Listed
from wa_sessions.db.phones import Phone
from wa_sessions.keys.phone_ref import PhoneRef

ACTION = "inbox_drop"


@dataclass(frozen=True, slots=True)
class Selected:
    """Which messages of a phone are meant: all, those of one ``chat``, or the one with an id."""

    chat: str | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class InboxListing:
    """What stands in the inbox, the oldest first, and how much there is of each phone."""

    phones: dict[int, Phone]
    depths: dict[int, Depth]
    rows: list[Listed]


@dataclass(frozen=True, slots=True)
class InboxChange:
    """How many messages of each phone were concerned, or would be. ``operation``: under which they were deleted."""

    messages: dict[int, int]
    phones: dict[int, Phone]
    dry_run: bool = False
    operation: str | None = None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.messages.values())


def list_inbox(
    opened: Opened, phone: PhoneRef | None, organization_id: int | None = None, *, dead: bool = False, limit: int = 50
) -> InboxListing:
    """What waits of one phone or of all; ``dead``: only what is set aside. Never a text.

    Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        chosen = {one.id: one for one in _chosen(conn, opened, phone, organization_id)}
        depths = {id_: depth for id_, depth in inbox.depths(conn).items() if id_ in chosen}
        return InboxListing(chosen, depths, inbox.rows(conn, chosen, dead=dead, limit=limit))


def retry_inbox(
    opened: Opened,
    phone: PhoneRef | None,
    organization_id: int | None = None,
    selected: Selected = Selected(),  # frozen
) -> InboxChange:
    """Have messages tried again that failed or are set aside; their attempts count anew.

    A worker sees it within 5 s. Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        chosen = _chosen(conn, opened, phone, organization_id)
        counts = {one.id: inbox.retry(conn, one.id, selected.chat, selected.message_id) for one in chosen}
        for one in chosen:
            if counts[one.id]:
                _note(conn, one, "inbox_retried", counts[one.id])
    return _changed(chosen, counts)


def drop_inbox(
    opened: Opened,
    phone: PhoneRef | None,
    organization_id: int | None = None,
    selected: Selected = Selected(),  # frozen
    *,
    dead: bool,
    reason: str,
    dry_run: bool = False,
) -> InboxChange:
    """Delete messages for good; ``dead``: only those that are set aside. An operation tells of it, nothing undoes it.

    Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        chosen = _chosen(conn, opened, phone, organization_id)
        counts = {one.id: inbox.drop(conn, one.id, selected.chat, selected.message_id, dead=dead) for one in chosen}
        if dry_run:
            conn.rollback()
        dropped = [one for one in chosen if counts[one.id]]
        if dry_run or not dropped:
            return _changed(chosen, counts, dry_run=dry_run)
        operation = operations.open_operation(conn, action=ACTION, reason=reason, actor=operator())
        for one in dropped:
            part = operations.add_phone(conn, operation, one)
            operations.mark_gone(conn, part, operator())
            _note(conn, one, "inbox_dropped", counts[one.id], reason, operation)
    return _changed(chosen, counts, operation=operation)


def _chosen(conn: Connection, opened: Opened, phone: PhoneRef | None, organization_id: int | None) -> list[Phone]:
    if phone is not None:
        return [phones.find(conn, opened.backend, phone, organization_id)]
    return phones.list_phones(conn, opened.backend, organization_id)


def _note(
    conn: Connection, phone: Phone, kind: str, messages: int, reason: str | None = None, operation: str | None = None
) -> None:
    detail = {"actor": operator(), "messages": messages} | ({"reason": reason} if reason else {})
    health.record_event(conn, phone.id, phone.organization_id, kind, detail, operation_id=operation)


def _changed(
    chosen: Sequence[Phone], counts: dict[int, int], *, dry_run: bool = False, operation: str | None = None
) -> InboxChange:
    concerned = {id_: count for id_, count in counts.items() if count}
    return InboxChange(concerned, {one.id: one for one in chosen if one.id in concerned}, dry_run, operation)
