"""Which worker owns a phone: asking it for something, or keeping every worker off while the database is changed."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.db import account_leases, leases, migrate, phones
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import Phone
from wa_sessions.errors import (
    DatabaseError,
    ExitCode,
    NotConfirmed,
    OwnedByAnother,
    PhoneNotFound,
    UsageError,
    WaSessionsError,
)
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.phone_ref import PhoneRef

if TYPE_CHECKING:
    from wa_sessions.db.commands import NotAnswered

ANSWER_TIMEOUT = 30.0  # seconds for a worker to close its WebSocket and write everything down

_BY_CODE: dict[int, type[WaSessionsError]] = {
    ExitCode.USAGE: UsageError,
    ExitCode.NO_SUCH_PHONE: PhoneNotFound,
    ExitCode.NO_DATABASE: DatabaseError,
    ExitCode.OWNED: OwnedByAnother,
    ExitCode.NOT_CONFIRMED: NotConfirmed,
}


def find(opened: Opened, phone: PhoneRef, organization_id: int | None = None) -> tuple[Phone, WorkerInfo | None]:
    """The phone that is meant and the live worker that owns it.

    Raises PhoneNotFound, AmbiguousPhone, SchemaMissing.
    """
    with opened.database.transaction() as conn:
        found = phones.find(conn, opened.backend, phone, organization_id)
        migrate.require_current(conn)
        return found, live_owner(conn, found.id)


def live_owner(conn: Connection, phone_id: int) -> WorkerInfo | None:
    """The worker that owns a phone, unless it was killed on this machine."""
    owner = leases.owner(conn, phone_id)
    return None if owner is None or owner.was_killed else owner


def live_owners(conn: Connection) -> dict[int, WorkerInfo]:
    """The workers that own phones, by phone id, but for those that were killed on this machine."""
    return {id_: owner for id_, owner in leases.owners(conn).items() if not owner.was_killed}


def ask(
    opened: Opened, phone: Phone, owner: WorkerInfo, verb: str, timeout: float | None = None, **arguments: Any
) -> dict[str, Any]:
    """Have the owner do something and wait for its answer; its error is raised here with its own exit code."""
    from wa_sessions.db import commands

    with contextlib.closing(opened.database.dedicated()) as waiting:
        with opened.database.transaction() as conn:
            request = commands.ask(conn, phone.id, owner.worker_id, verb, arguments, operator())
        try:
            answer = commands.wait(waiting, request, timeout or ANSWER_TIMEOUT, gone=lambda: owner.was_killed)
        except commands.NotAnswered as silence:
            raise WaSessionsError(_silent(silence, phone, owner)) from None
        except KeyboardInterrupt:
            _withdraw(opened, request)
            raise
    if answer.error is not None:
        raise _BY_CODE.get(answer.exit_code, WaSessionsError)(answer.error)
    return answer.answer or {}


@contextlib.contextmanager
def alone(opened: Opened, phone_id: int) -> Iterator[tuple[Connection, Phone]]:
    """One transaction in which no worker can own the phone, which is read anew; other operators wait for its end.

    Raises OwnedByAnother, PhoneNotFound.
    """
    with opened.database.transaction() as conn:
        yield conn, fence_out_workers(conn, opened, phone_id)


def fence_out_workers(conn: Connection, opened: Opened, phone_id: int) -> Phone:
    """Let no worker own the phone until the transaction ends; the phone as it is now. Raises OwnedByAnother."""
    nobody = leases.hold(conn, phone_id)
    phone = phones.find(conn, opened.backend, PhoneRef(phone_id=phone_id))
    account_leases.block(conn, phone.id, phone.number if phone.phone_jid else None, nobody)
    return phone


def require_owner(phone: Phone, owner: WorkerInfo | None) -> WorkerInfo:
    """The owner; raises OwnedByAnother for a phone that no worker may run, WaSessionsError where none does."""
    require_neonize(phone)
    if owner is None:
        raise WaSessionsError(f"no worker runs {phone.number}: start one with wa-sessions run {phone.number}")
    return owner


def require_neonize(phone: Phone) -> None:
    """Raise OwnedByAnother unless the phone is one that our worker may run, UsageError for one without a number."""
    if not phone.phone_jid:
        raise UsageError(f'phone {phone.number} has no number yet: its "phoneJid" is NULL')
    if phone.connection_type == ConnectionType.WABA:
        raise OwnedByAnother(f"{phone.number} is a waba phone (the official API): it has no session to run")
    if phone.connection_type != ConnectionType.NEONIZE:
        raise OwnedByAnother(
            f"{phone.number} is a {phone.connection_type} phone, which the Node backend runs: restart that to connect "
            f"it again; to have it run here instead: wa-sessions adopt {phone.number} (no QR) or wa-sessions assign "
            f"{phone.number} neonize (a new QR)"
        )


def _withdraw(opened: Opened, request: int) -> None:
    """Take back what nobody waits for any more, unless the worker has begun."""
    from wa_sessions.db import commands

    with contextlib.suppress(WaSessionsError), contextlib.closing(opened.database.dedicated()) as again:
        commands.wait(again, request, 0)


def _silent(silence: "NotAnswered", phone: Phone, owner: WorkerInfo) -> str:
    """What an operator is told of a worker that did not answer."""
    if silence.taken:
        return f"{owner.name}: {silence}; see its log and wa-sessions stats {phone.number}"
    until = f"{owner.expires_at:%H:%M:%S} UTC"
    return f"{owner.name}: {silence}. See its log; if it was killed, its lease ends at {until}, then try again"
