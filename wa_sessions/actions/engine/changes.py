"""Changes that operators make to phones and their keys: planned, then made, as one operation that can be undone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.change_plan import Change as Change
from wa_sessions.actions.engine.change_plan import Changed as Changed
from wa_sessions.actions.engine.change_plan import ChangedPhone as ChangedPhone
from wa_sessions.actions.engine.change_plan import Failed as Failed
from wa_sessions.actions.engine.change_plan import Plan as Plan
from wa_sessions.actions.engine.change_plan import Planned as Planned
from wa_sessions.actions.node_process import NodeProcess, refuse_running, running_in_node, while_stopped
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import ask, keep_workers_off, live_owners
from wa_sessions.actions.watch import counters
from wa_sessions.db import health, operations, phones, quarantine, rights
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import KEEP, Phone
from wa_sessions.db.quarantine import Taken
from wa_sessions.errors import DatabaseError, OwnedByAnother, PhoneNotFound, UsageError, WaSessionsError, with_words
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.phone_ref import PhoneRef

ANSWER_TIMEOUT = 30.0  # seconds for a worker to close its WebSocket and write everything down
LONGEST_REASON = 500
MOST_PHONES, MOST_KEYS = 100, 50_000
"""How much is changed in one transaction, where many phones are meant."""

Progress = Callable[[int, int], None]


def plan(
    opened: Opened,
    change: Change,
    who: PhoneRef | None,
    organization_id: int | None = None,
    *,
    process_stopped: bool = False,
) -> Plan:
    """Look at the phones that are meant (None: all but those of the official API) and what of theirs is selected.

    Raises PhoneNotFound, AmbiguousPhone, OwnedByAnother (a connected Baileys phone whose process is not said to be
    stopped, or a worker's phone that only its worker may change), UsageError, PermissionMissing, SchemaMissing.
    """
    with opened.database.transaction() as conn:
        if who is None:
            listed = phones.list_phones(conn, opened.backend, organization_id)
            found = [phone for phone in listed if phone.connection_type != "waba"]
            if not found:
                where = f" in organization {organization_id}" if organization_id is not None else ""
                raise PhoneNotFound(f"no phones{where} but those of the official API: wa-sessions sessions lists all")
        else:
            found = [phones.find(conn, opened.backend, who, organization_id)]
        _require_rights(conn, opened, change, found)
        owners = live_owners(conn)
        planned = tuple(Planned(phone, _matched(conn, opened, change, phone), owners.get(phone.id)) for phone in found)
        for one in planned:
            _refuse_foreign(conn, opened.backend, change, one.phone, one.owner)
        whole = Plan(change, planned, who is None, process_stopped)
        if not process_stopped:
            refuse_running(conn, [one.phone for one in whole.beside_node])
    return whole


def carry_out(
    opened: Opened,
    planned: Plan,
    *,
    node: NodeProcess | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Changed:
    """Make a planned change; ``dry_run`` makes it and rolls it back. A worker's phone is changed by its worker.

    Many phones are changed in transactions of at most ``MOST_PHONES`` phones and ``MOST_KEYS`` keys (one phone's keys
    are never divided). ``node`` is stopped meanwhile where rows go that it may have in memory. Raises what ``plan``
    raises and WaSessionsError, for one phone; for many, DatabaseError alone.
    """
    touched, operation = planned.touched, None
    done: list[ChangedPhone] = []
    failed: list[Failed] = []

    def all_of_them() -> None:
        nonlocal operation
        for batch in _batches([one for one in touched if one.owner is None or dry_run]):
            operation = _batch(opened, planned, batch, operation, done, failed, dry_run=dry_run)
            progress(len(done) + len(failed), len(touched))
        for one in [] if dry_run else [one for one in touched if one.owner]:
            with _each(planned, one.phone, failed):
                operation, by_worker = _by_worker(opened, planned, one, operation)
                done.append(by_worker)
            progress(len(done) + len(failed), len(touched))

    try:
        ended = while_stopped(node if planned.touches_node and not dry_run else None, all_of_them)
    except WaSessionsError as error:
        if operation is None or dry_run:
            raise
        undo = f"wa-sessions restore {operation} undoes that"
        raise with_words(error, f"{len(done)} of {len(touched)} phones were changed all the same: {undo}") from None
    return Changed(None if dry_run else operation, tuple(done), tuple(failed), dry_run, ended.down)


def make(
    opened: Opened,
    change: Change,
    who: PhoneRef | None,
    organization_id: int | None = None,
    *,
    process_stopped: bool = False,
    dry_run: bool = False,
) -> Changed:
    """Plan a change and make it at once. Raises what ``plan`` raises, and WaSessionsError where a worker is silent."""
    planned = plan(opened, change, who, organization_id, process_stopped=process_stopped)
    return carry_out(opened, planned, dry_run=dry_run)


def needs_stop(opened: Opened, planned: Plan) -> bool:
    """Whether a Node process, as it runs, would undo it."""
    with opened.database.transaction() as conn:
        return bool(running_in_node(conn, [one.phone for one in planned.beside_node]))


def _require_rights(conn: Connection, opened: Opened, change: Change, found: list[Phone]) -> None:
    on_keys = ("SELECT", "DELETE") if change.selection is not None else ()
    on_phones = (("UPDATE",) if change.status else ()) + (("DELETE",) if change.removes_phone else ())
    rights.require(conn, opened.backend, {phone.connection_type for phone in found}, keys=on_keys, phones=on_phones)


def _refuse_foreign(conn: Connection, backend: Backend, change: Change, phone: Phone, owner: WorkerInfo | None) -> None:
    if change.removes_phone and phone.connection_type != "neonize":
        raise OwnedByAnother(f"{phone.number} is a {phone.connection_type} phone of the Node backend: remove it there")
    if change.removes_phone and (referring := phones.referring_tables(conn, backend)):
        raise UsageError(
            f"{', '.join(referring)} refer to phones and would lose rows: remove {phone.number} in the backend"
        )
    if phone.connection_type == "waba" and change.action != "reset_status":
        raise UsageError(f"{phone.number} is a waba phone (the official API): it has no keys and no session here")
    if owner and change.verb is None:
        raise OwnedByAnother(
            f"{owner.name} runs {phone.number} and writes its row itself: end that worker first, or use "
            "wa-sessions restart, relink or force-close"
        )


def _matched(conn: Connection, opened: Opened, change: Change, phone: Phone) -> dict[str, int]:
    return quarantine.count(conn, opened.backend, phone, change.selection) if change.selection is not None else {}


def _batches(touched: list[Planned]) -> Iterator[list[Planned]]:
    batch: list[Planned] = []
    keys = 0
    for one in sorted(touched, key=lambda planned: planned.phone.id):
        more = sum(one.matched.values())
        if batch and (len(batch) == MOST_PHONES or keys + more > MOST_KEYS):
            yield batch
            batch, keys = [], 0
        batch.append(one)
        keys += more
    if batch:
        yield batch


def _batch(
    opened: Opened,
    planned: Plan,
    batch: list[Planned],
    operation: str | None,
    done: list[ChangedPhone],
    failed: list[Failed],
    *,
    dry_run: bool,
) -> str | None:
    """Change some phones in one transaction; the operation that they are part of."""
    changed: list[ChangedPhone] = []
    with opened.database.transaction() as conn:
        for one in batch:
            with _each(planned, one.phone, failed), conn.transaction():
                phone = one.phone if one.owner else keep_workers_off(conn, opened, one.phone.id)
                if one in planned.beside_node and not planned.process_stopped:
                    refuse_running(conn, [phone])
                _refuse_foreign(conn, opened.backend, planned.change, phone, None)
                operation, part = _apply(
                    conn, opened, planned.change, phone, operation, stopped=planned.process_stopped
                )
                changed.append(part)
        if dry_run:
            conn.rollback()
    done += changed
    return operation


@contextmanager
def _each(planned: Plan, phone: Phone, failed: list[Failed]) -> Iterator[None]:
    """Of many phones, one that cannot be changed does not hold the others."""
    try:
        yield
    except WaSessionsError as error:
        if not planned.everyone or isinstance(error, DatabaseError):
            raise
        failed.append(Failed(phone, error))


def _apply(
    conn: Connection, opened: Opened, change: Change, phone: Phone, operation: str | None, *, stopped: bool
) -> tuple[str | None, ChangedPhone]:
    """Change one phone in the database, and write down that it was done."""
    part, taken = None, Taken()
    if change.undoable:
        part = quarantine.begin(
            conn,
            opened.backend,
            phone,
            action=change.action,
            reason=change.reason,
            actor=operator(),
            status_after=change.status,
            operation_id=operation,
        )
    if part and change.selection is not None:
        taken = quarantine.take(conn, opened.backend, part, phone, change.selection)
    if change.status is not None:
        phones.set_status(conn, opened.backend, phone.id, change.status, qr_code=_qr_code(change.status))
    if change.clears_counters:
        counters.clear(conn, phone, State.FORCE_CLOSED, change.reason)
    if part and change.removes_phone:
        rows = quarantine.phone_row(conn, opened.backend, part)
        taken = replace(taken, matched=taken.matched + 1, by_type=taken.by_type | {"phone": rows})
    if part and not taken.quarantined and change.status is None:
        operations.discard(conn, part)
        part = None
    kept = part.operation_id if part else None
    if part or change.status is not None:
        detail = {"actor": operator(), "reason": change.reason, "keys": taken.quarantined, **change.arguments}
        if change.status:
            runs = not stopped and bool(running_in_node(conn, [phone]))
            detail |= {"status_before": phone.status, "status": change.status, "node_runs": runs}
        health.record_event(conn, phone.id, phone.organization_id, change.event, detail, operation_id=kept)
    return operation or kept, ChangedPhone(phone, taken, change.status or phone.status, None)


def _by_worker(opened: Opened, planned: Plan, one: Planned, operation: str | None) -> tuple[str | None, ChangedPhone]:
    assert one.owner
    change = planned.change
    if change.verb is None:
        raise OwnedByAnother(f"{one.owner.name} runs {one.phone.number}")
    arguments = {"reason": change.reason, "operation": operation, **change.arguments}
    answer = ask(opened, one.phone, one.owner, change.verb, ANSWER_TIMEOUT, **arguments)
    taken = Taken(**answer["taken"])
    status = change.status or one.phone.status
    return operation or answer["operation"], ChangedPhone(one.phone, taken, status, one.owner.worker_id)


def _qr_code(status: str) -> Any:
    """A QR is for a phone that is being paired; any other known status ends that."""
    return None if status in set(Status) - {Status.PENDING} else KEEP
