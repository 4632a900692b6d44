"""``export``: a phone leaves this machine as a file; its keys go into quarantine here only once that file is whole."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.move.backup import BackedUp, place_of, written
from wa_sessions.actions.node_process import NodeProcess, refuse_running, while_stopped
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import ask, keep_workers_off, live_owner
from wa_sessions.db import health, leases, phones, quarantine, rights, takeover, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import EXPORT
from wa_sessions.db.phones import Phone
from wa_sessions.db.quarantine import Taken
from wa_sessions.errors import Conflict, DatabaseError, OwnedByAnother, WaSessionsError, with_words
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import operators as events
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING

if TYPE_CHECKING:
    from wa_sessions.actions.move.sealed import Recipient

STORES = (ConnectionType.BAILEYS, ConnectionType.NEONIZE)


@dataclass(frozen=True, slots=True)
class Exported:
    """A phone that left, or with ``dry_run`` would. ``saved`` is its file, None for a dry run.

    ``down``: why the Node process could not be started again, where it could not.
    """

    operation: str | None
    phone: Phone
    taken: Taken
    saved: BackedUp | None
    dry_run: bool
    down: WaSessionsError | None = None


def export_phone(
    opened: Opened,
    who: PhoneRef,
    file: Path,
    organization_id: int | None = None,
    *,
    recipients: "list[Recipient]",
    plain: bool = False,
    force: bool = False,
    reason: str = "moved to another machine",
    process_stopped: bool = False,
    node: NodeProcess | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Exported:
    """Write a phone and its keys to ``file``, as ``backup`` does, and let it go: quarantine has its keys then.

    A worker that runs it is asked to end its session. The file gets its name before the database commits: whenever this
    ends, the phone is here whole or the file is. Raises what ``backup`` raises; OwnedByAnother (its Node process runs,
    or it is a phone of the official API); Conflict where somebody writes its keys meanwhile.
    """
    phone, owner = _meant(opened, who, organization_id, stopped=process_stopped or dry_run or node is not None)
    if dry_run:
        with opened.database.transaction() as conn:
            seen = _let_go(conn, opened, phone, file, reason, owned=owner is not None)
            conn.rollback()
        return replace(seen, operation=None, dry_run=True)
    place_of(file, force=force)
    how: dict[str, Any] = {"recipients": recipients, "plain": plain, "force": force, "progress": progress}
    stopped = process_stopped or node is not None
    ended = while_stopped(
        node if phone.connection_type == ConnectionType.BAILEYS else None,
        lambda: _leave(opened, phone, owner, file, reason, how, stopped=stopped),
    )
    return replace(ended.result, down=ended.down)


def _leave(
    opened: Opened,
    phone: Phone,
    owner: WorkerInfo | None,
    file: Path,
    reason: str,
    how: dict[str, Any],
    *,
    stopped: bool,
) -> Exported:
    """Have its worker let the phone go, take its keys and make the file; only once that is there they are gone."""
    whole = False
    if owner:
        ask(opened, phone, owner, "release", reason=reason)
    try:
        with opened.database.transaction() as conn:
            if not stopped:
                found = phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))
                refuse_running(conn, [found])
            done = _let_go(conn, opened, phone, file, reason)
            with written(opened, PhoneRef(phone_id=phone.id), file, **how) as saved:
                if saved.keys != done.taken.quarantined:
                    raise Conflict(
                        f"keys of {phone.number} were written meanwhile: stop what runs it; nothing was changed"
                    )
            whole = True
    except WaSessionsError as error:
        raise _told(error, phone, file, whole=whole, released=owner is not None) from None
    return replace(done, saved=saved)


def require_stopped(opened: Opened, who: PhoneRef, organization_id: int | None = None) -> None:
    """Raise OwnedByAnother where, by its status, the Node process runs the phone; and what ``export_phone`` raises."""
    _meant(opened, who, organization_id, stopped=False)


def _meant(
    opened: Opened, who: PhoneRef, organization_id: int | None, *, stopped: bool
) -> tuple[Phone, WorkerInfo | None]:
    with opened.database.transaction() as conn:
        phone = phones.find(conn, opened.backend, who, organization_id)
        if phone.connection_type == ConnectionType.WABA:
            raise OwnedByAnother(f"{phone.number} is a waba phone (the official API): it has no keys to export")
        rights.require(conn, opened.backend, STORES, keys=("SELECT", "DELETE"), phones=("UPDATE",))
        if not any(_count(conn, opened, phone, store) for store in STORES):
            raise WaSessionsError(f"{phone.number} has no keys: there is nothing to export")
        if not stopped:
            refuse_running(conn, [phone])
        return phone, live_owner(conn, phone.id)


def _count(conn: Connection, opened: Opened, phone: Phone, store: ConnectionType) -> int:
    counted = quarantine.count(conn, opened.backend, replace(phone, connection_type=store), EVERYTHING)
    return sum(counted.values())


def _let_go(
    conn: Connection, opened: Opened, phone: Phone, file: Path, reason: str, *, owned: bool = False
) -> Exported:
    """Take all keys of both stores. Until the end of the transaction others see them, but cannot change them."""
    if not owned:
        phone = keep_workers_off(conn, opened, phone.id)
    phones.require_alone(conn, opened.backend, phone)
    status = Status.DISCONNECTED
    part = quarantine.begin(
        conn, opened.backend, phone, action=EXPORT, reason=reason, actor=operator(), status_after=status
    )
    devices = {*whatsmeow.device_of(conn, phone.number), *takeover.devices_in_node(conn, opened.backend, phone.number)}
    taken = quarantine.together(
        quarantine.take(conn, opened.backend, part, replace(phone, connection_type=store), EVERYTHING)
        for store in STORES
    )
    phones.set_status(conn, opened.backend, phone.id, status, qr_code=None)
    health.clear_counters(conn, phone, State.IDLE, f"exported to {file.name}")
    leases.reserve(conn, phone.id)  # a worker that shares all phones would show a QR
    detail = events.Exported(operator(), reason, taken.quarantined, file.name, tuple(sorted(devices)))
    health.record_event(conn, phone.id, phone.organization_id, detail, operation_id=part.operation_id)
    gone = phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))
    return Exported(part.operation_id, gone, taken, None, dry_run=False)


def _told(error: WaSessionsError, phone: Phone, file: Path, *, whole: bool, released: bool) -> WaSessionsError:
    """The error, with what it leaves behind."""
    if whole:
        return DatabaseError(
            f"{error}; {file} is whole, but whether {phone.number} was let go is not known: do not import it before "
            f"wa-sessions operations {phone.number} has the export"
        )
    if released:
        return with_words(error, f"its worker has let {phone.number} go: wa-sessions run {phone.number}")
    return error
