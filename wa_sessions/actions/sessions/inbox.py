"""The inbox: what waits for a message handler, having it tried again, and deleting it for good."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, inbox, migrate, operations, phones
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.inbox import Depth, Listed, RowKey, Selected
from wa_sessions.db.phones import Phone
from wa_sessions.health.events.operators import InboxDetail, InboxDropped, InboxRetried
from wa_sessions.keys.phone_ref import PhoneRef

EVERYTHING = Selected()
"""All of a phone."""

MOST = 5_000
"""Messages that are changed in one transaction."""


@dataclass(frozen=True, slots=True)
class InboxListing:
    """What stands in the inbox, the oldest first, and how much there is of each phone."""

    phones: dict[int, Phone]
    depths: dict[int, Depth]
    rows: list[Listed]


@dataclass(frozen=True, slots=True)
class InboxChange:
    """How many messages of each phone were concerned, or would be. ``operation``: under which they were deleted.

    ``newest``: the last row that was planned for; what came later is not meant.
    """

    messages: dict[int, int]
    phones: dict[int, Phone]
    dry_run: bool = False
    operation: str | None = None
    newest: int = 0

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
    selected: Selected = EVERYTHING,
    *,
    dead: bool = False,
) -> InboxChange:
    """Have messages tried again that failed or are set aside, or with ``dead`` the latter alone; attempts count anew.

    A worker sees it within 5 s. Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        chosen = _chosen(conn, opened, phone, organization_id)

    def step(conn: Connection, after: RowKey) -> list[RowKey]:
        retried = inbox.retry(conn, [one.id for one in chosen], selected, after, MOST, dead=dead)
        counts = Counter(key.phone_id for key in retried)
        for one in chosen:
            if counts[one.id]:
                _record(conn, one, InboxRetried(operator(), counts[one.id]))
        return retried

    return _changed(chosen, _in_steps(opened.database, step))


def drop_inbox(
    opened: Opened,
    phone: PhoneRef | None,
    organization_id: int | None = None,
    selected: Selected = EVERYTHING,
    *,
    dead: bool,
    reason: str,
    dry_run: bool = False,
) -> InboxChange:
    """Delete messages for good; ``dead``: only those that are set aside. An operation tells of it, nothing undoes it.

    Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError; then what was deleted until then stays so.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        chosen = _chosen(conn, opened, phone, organization_id)
        phone_ids = [one.id for one in chosen]
        if dry_run:
            counts, newest = inbox.count(conn, phone_ids, selected, dead=dead)
            return replace(_changed(chosen, counts, dry_run=True), newest=newest)

    operation: str | None = None
    concerned: set[int] = set()

    def step(conn: Connection, after: RowKey) -> list[RowKey]:
        nonlocal operation
        dropped = inbox.drop(conn, phone_ids, selected, after, MOST, dead=dead)
        counts = Counter(key.phone_id for key in dropped)
        if counts and operation is None:
            operation = operations.open_operation(conn, action=operations.INBOX_DROP, reason=reason, actor=operator())
        for one in chosen:
            if not counts[one.id]:
                continue
            if one.id not in concerned:
                concerned.add(one.id)
                assert operation
                operations.mark_gone(conn, operations.add_phone(conn, operation, one), operator())
            _record(conn, one, InboxDropped(operator(), counts[one.id], reason), operation)
        return dropped

    counts = _in_steps(opened.database, step)
    return _changed(chosen, counts, operation=operation)


def _in_steps(database: Database, step: Callable[[Connection, RowKey], list[RowKey]]) -> Counter[int]:
    """Change rows in short transactions, ``MOST`` after those before; how many of each phone.

    A worker writes into the same table all the time, and closes sockets where it has to wait for a second.
    """
    counts: Counter[int] = Counter()
    after = inbox.FIRST
    while True:
        with database.transaction() as conn:
            changed = step(conn, after)
        counts.update(key.phone_id for key in changed)
        if len(changed) < MOST:
            return counts
        after = changed[-1]


def _chosen(conn: Connection, opened: Opened, phone: PhoneRef | None, organization_id: int | None) -> list[Phone]:
    if phone is not None:
        return [phones.find(conn, opened.backend, phone, organization_id)]
    return phones.list_phones(conn, opened.backend, organization_id)


def _record(conn: Connection, phone: Phone, detail: InboxDetail, operation: str | None = None) -> None:
    health.record_event(conn, phone.id, phone.organization_id, detail, operation_id=operation)


def _changed(
    chosen: Sequence[Phone], counts: Mapping[int, int], *, dry_run: bool = False, operation: str | None = None
) -> InboxChange:
    concerned = {id_: count for id_, count in counts.items() if count}
    return InboxChange(concerned, {one.id: one for one in chosen if one.id in concerned}, dry_run, operation)
