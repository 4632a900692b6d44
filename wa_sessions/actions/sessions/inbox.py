"""The inbox: what waits for a message handler, having it tried again, and deleting it for good."""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import outdated
from wa_sessions.actions.engine.plan import Scope, Target, differences
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, inbox, migrate, operations, phones
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.inbox import Depth, Listed, RowKey, Selected
from wa_sessions.db.phones import Phone
from wa_sessions.errors import PhoneNotFound
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
    """How many messages of each phone were concerned, or would be. ``operation``: under which they were deleted."""

    messages: dict[int, int]
    phones: dict[int, Phone]
    dry_run: bool = False
    operation: str | None = None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.messages.values())


@dataclass(frozen=True, slots=True)
class DropPlan:
    """Messages that are to be deleted, ``found`` of these phones as they were; what came later is not ``selected``."""

    scope: Scope
    selected: Selected
    dead: bool
    found: InboxChange


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


def plan_drop(
    opened: Opened,
    phone: PhoneRef | None,
    organization_id: int | None = None,
    selected: Selected = EVERYTHING,
    *,
    dead: bool,
) -> DropPlan:
    """What would be deleted; ``dead``: only what is set aside.

    Raises PhoneNotFound, AmbiguousPhone, SchemaMissing, DatabaseError.
    """
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        chosen = _chosen(conn, opened, phone, organization_id)
        counts, newest, at = inbox.count(conn, [one.id for one in chosen], selected, dead=dead)
    until = replace(selected, up_to=newest, until=at)
    return DropPlan(Scope(phone, organization_id), until, dead, _changed(chosen, counts, dry_run=True))


def drop_inbox(opened: Opened, planned: DropPlan, *, reason: str) -> InboxChange:
    """Delete the messages that were planned for good. An operation tells of it, nothing undoes it.

    Raises Conflict, and nothing is deleted, where their phones are not any more what they were; DatabaseError, then
    what was deleted until then stays so.
    """
    chosen = list(planned.found.phones.values())
    phone_ids, selected, dead = [one.id for one in chosen], planned.selected, planned.dead
    with opened.database.transaction() as conn:
        now = _present(conn, opened, planned.scope)
    if differing := differences(map(Target.of, chosen), [target for target in now if target.id in phone_ids]):
        raise outdated(differing)

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


def _present(conn: Connection, opened: Opened, scope: Scope) -> list[Target]:
    with contextlib.suppress(PhoneNotFound):
        return [Target.of(phone) for phone in _chosen(conn, opened, scope.phone, scope.organization_id)]
    return []


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
