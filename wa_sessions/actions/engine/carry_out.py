"""One way for all that changes phones: planned, confirmed, carried out exactly as it was confirmed, undone as one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Generic

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.plan import (
    Change,
    Changed,
    D,
    F,
    Failed,
    Plan,
    PlanItem,
    Progress,
    Scope,
    T,
    Target,
    differences,
)
from wa_sessions.actions.node_process import NodeProcess, refuse_running, running_in_node
from wa_sessions.actions.ownership import ask, fence_out_workers, live_owner, live_owners
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Conflict, DatabaseError, PhoneNotFound, StoreAway, WaSessionsError, with_words

MOST_PHONES, MOST_KEYS = 100, 50_000
"""How much is changed in one transaction, where many phones are meant."""


def plan(opened: Opened, change: Change[T, F, D], scope: Scope, *, process_stopped: bool = False) -> Plan[T, F, D]:
    """Look at those who are meant, each once; nothing is changed.

    Of many those that cannot be changed are ``failed``. Raises what ``change`` raises, and OwnedByAnother where the
    Node process runs a phone that it may not run (``process_stopped``: it does not run, whatever statuses say).
    """
    with opened.database.transaction() as conn:
        targets = change.targets(conn, opened, scope)
        if change.never_beside_node and not process_stopped:
            refuse_running(conn, [target.phone for target in targets if target.phone])
        owners = _owners(conn, targets)
        items: list[PlanItem[T, F]] = []
        others: list[Target] = []
        failed: list[Failed] = []
        for target in targets:
            with _each(target, failed, alone=len(targets) == 1 or change.at_once):
                item = change.look(conn, opened, target, owners.get(target.phone.id) if target.phone else None)
                if scope.phone is not None or change.concerns(item):
                    items.append(item)
                else:
                    others.append(target)
        planned = Plan(change, scope, tuple(items), tuple(others), tuple(failed), process_stopped)
        if not process_stopped:
            refuse_running(conn, planned.beside_node)
    return planned


def carry_out(
    opened: Opened,
    planned: Plan[T, F, D],
    *,
    node: NodeProcess | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Changed[D]:
    """Change exactly those who were planned, as they were planned; ``dry_run`` does it and rolls it back.

    Raises Conflict, and nothing is changed, where they are not any more who they were. Many phones are changed in
    transactions of at most ``MOST_PHONES`` phones and ``MOST_KEYS`` keys (one phone's keys are never divided); a
    worker's phone by its worker. ``node`` is stopped meanwhile where the change needs that. Of many those that cannot
    be changed are ``failed``, but for DatabaseError. Raises what ``change`` raises.
    """
    if not dry_run:
        planned = _as_now(opened, planned)
        planned.change.prepare(opened, planned.items)
    carrying = _Carrying(opened, planned, dry_run, progress)
    stopping = node if not dry_run and planned.change.stops_node(planned.items) else None
    down = None
    try:
        if stopping:
            down = stopping.around(carrying.all).down
        else:
            carrying.all()
    except WaSessionsError as error:
        if carrying.operation is None or dry_run:
            raise
        undo = planned.change.undone_by(carrying.operation)
        raise all_the_same(error, undo, len(carrying.done), len(planned.items)) from None
    failed = (*planned.failed, *carrying.failed)
    return Changed(None if dry_run else carrying.operation, tuple(carrying.done), failed, dry_run, down)


def make(
    opened: Opened,
    change: Change[T, F, D],
    scope: Scope,
    *,
    process_stopped: bool = False,
    node: NodeProcess | None = None,
    dry_run: bool = False,
) -> Changed[D]:
    """Plan a change and make it at once. Raises what ``plan`` and ``carry_out`` raise."""
    planned = plan(opened, change, scope, process_stopped=process_stopped or node is not None)
    return carry_out(opened, planned, node=node, dry_run=dry_run)


def all_the_same(error: WaSessionsError, undo: str, done: int, meant: int) -> WaSessionsError:
    """The error of something that went wrong after phones were changed; ``undo`` is the command that undoes that."""
    who = "it was" if meant == 1 else f"{done} of {meant} phones were"
    return with_words(error, f"{who} changed all the same: {undo} undoes that")


def needs_stop(opened: Opened, planned: Plan[Any, Any, Any]) -> bool:
    """Whether a Node process, as it runs, would undo it."""
    with opened.database.transaction() as conn:
        return bool(running_in_node(conn, planned.beside_node))


def fenced(conn: Connection, opened: Opened, item: PlanItem[Any, Any], *, stopped: bool) -> Phone:
    """The phone of an item as it is now, which no worker can own until the transaction ends.

    One with an owner is read alone, for a dry run. Raises OwnedByAnother, also where the Node process runs it and is
    not ``stopped``; Conflict where it is not what was planned.
    """
    try:
        phone = item.phone if item.owner else fence_out_workers(conn, opened, item.phone.id)
    except PhoneNotFound:
        raise outdated(differences([item.target], [])) from None
    if differing := differences([item.target], [Target.of(phone)]):
        raise outdated(differing)
    if not stopped:
        refuse_running(conn, [phone])
    return phone


def after_release(
    opened: Opened, change: Change[T, F, D], item: PlanItem[T, F], operation: str | None, *, reason: str, stopped: bool
) -> tuple[str | None, D | None]:
    """Have the worker that owns a phone end its session and let it go, then change it here."""
    assert item.owner
    ask(opened, item.phone, item.owner, "release", reason=reason)
    try:
        with opened.database.transaction() as conn:
            made = change.apply(conn, opened, replace(item, owner=None), operation, stopped=stopped)
            change.finish(conn, opened, [item])
    except WaSessionsError as error:
        number = item.phone.number
        raise with_words(error, f"its worker has let {number} go: wa-sessions run {number} runs it again") from None
    return made


@dataclass(slots=True)
class _Carrying(Generic[T, F, D]):
    """A plan that is being carried out, and what has become of it so far."""

    opened: Opened
    planned: Plan[T, F, D]
    dry_run: bool
    progress: Progress
    operation: str | None = None
    done: list[D] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def all(self) -> None:
        """First what is changed here, then what workers change."""
        items, handled = self.planned.items, 0
        for batch in _batches(self.planned, [item for item in items if item.owner is None or self.dry_run]):
            self._batch(batch)
            handled += len(batch)
            self.progress(handled, len(items))
        for item in [] if self.dry_run else [item for item in items if item.owner]:
            with _each(item.target, self.failed, alone=not self.planned.many):
                self._keep(self.planned.change.by_worker(self.opened, item, self.operation))
            handled += 1
            self.progress(handled, len(items))

    def _batch(self, batch: list[PlanItem[T, F]]) -> None:
        """Change some in one transaction; none of them is changed where it cannot be committed."""
        change, alone = self.planned.change, not self.planned.many
        operation, made = self.operation, []
        failed: list[Failed] = []
        stopped = self.planned.process_stopped
        with self.opened.database.transaction() as conn:
            for item in batch:
                with _each(item.target, failed, alone=alone), nullcontext() if alone else conn.transaction():
                    operation, one = change.apply(conn, self.opened, item, operation, stopped=stopped)
                    made.append((item, one))
            change.finish(conn, self.opened, [item for item, _ in made])
            if self.dry_run:
                conn.rollback()
        self.failed += failed
        for _, one in made:
            self._keep((operation, one))

    def _keep(self, made: tuple[str | None, D | None]) -> None:
        operation, one = made
        self.operation = self.operation or operation
        if one is not None:
            self.done.append(one)


def _as_now(opened: Opened, planned: Plan[T, F, D]) -> Plan[T, F, D]:
    """The plan with the workers that have its phones now. Raises Conflict where they are not who they were.

    One phone that is changed here is looked at when it is.
    """
    if not planned.everyone and not any(item.owner for item in planned.items):
        return planned
    with opened.database.transaction() as conn:
        owners = live_owners(conn)
        rest = {target.id for target in planned.others} | {failed.target.id for failed in planned.failed}
        now = [target for target in _targets_now(conn, opened, planned) if target.id not in rest]
        if differing := differences([item.target for item in planned.items], now):
            raise outdated(differing)
    items = (replace(one, owner=owners.get(one.phone.id) if one.target.phone else None) for one in planned.items)
    return replace(planned, items=tuple(items))


def _targets_now(conn: Connection, opened: Opened, planned: Plan[T, F, D]) -> Sequence[Target]:
    try:
        return planned.change.targets(conn, opened, planned.scope)
    except PhoneNotFound as error:
        raise outdated([str(error)]) from None


def outdated(differing: list[str]) -> Conflict:
    """What is raised where what is there is not what was confirmed."""
    more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
    return Conflict(
        f"nothing was changed, as it is not any more what was asked about: {differing[0]}{more}; look again"
    )


def _owners(conn: Connection, targets: Sequence[Target]) -> dict[int, WorkerInfo]:
    """The workers that own their phones, by phone id."""
    phones = [target.phone for target in targets if target.phone]
    if len(phones) > 1:
        return live_owners(conn)
    return {phone.id: owner for phone in phones if (owner := live_owner(conn, phone.id))}


@contextmanager
def _each(target: Target, failed: list[Failed], *, alone: bool) -> Iterator[None]:
    """Of many, one that cannot be changed does not hold the others."""
    try:
        yield
    except WaSessionsError as error:
        if alone or isinstance(error, DatabaseError | StoreAway):
            raise
        failed.append(Failed(target, error))


def _batches(planned: Plan[T, F, D], items: list[PlanItem[T, F]]) -> Iterator[list[PlanItem[T, F]]]:
    items = sorted(items, key=lambda item: item.target.id)
    if planned.change.at_once:
        if items:
            yield items
        return
    most = 1 if planned.change.singly else MOST_PHONES
    batch: list[PlanItem[T, F]] = []
    keys = 0
    for item in items:
        if batch and (len(batch) == most or keys + item.keys > MOST_KEYS):
            yield batch
            batch, keys = [], 0
        batch.append(item)
        keys += item.keys
    if batch:
        yield batch
