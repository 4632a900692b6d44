"""What ``adopt``, ``return`` and ``import`` have in common: what is told of a phone that moves, and undoing it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.plan import Progress
from wa_sessions.actions.node_process import NodeProcess, while_stopped
from wa_sessions.actions.operator import operator
from wa_sessions.db import phones, quarantine, takeover
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import ADOPT, EXPORT, RETURN, Operation, way_on
from wa_sessions.db.phones import KEEP, Phone
from wa_sessions.errors import Conflict, DatabaseError, StoreAway, WaSessionsError, with_words
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.keys.takeover.remarks import Remark

_SIDES: Final = {ADOPT: ("neonize", "baileys"), RETURN: ("baileys", "neonize")}
"""Whose a phone is after them and before."""


@dataclass(frozen=True, slots=True)
class MovedPhone:
    """A phone that was moved, or with ``dry_run`` would be: keys by type before and after, and what is to be said."""

    phone: Phone
    device: str
    keys_before: dict[str, int]
    keys_after: dict[str, int]
    left_out: tuple[Remark, ...]
    notices: tuple[Remark, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "phone_id": self.phone.id,
            "phone": self.phone.number,
            "organization_id": self.phone.organization_id,
            "device": self.device,
            "keys_before": self.keys_before,
            "keys_after": self.keys_after,
            "left_out": [_plain(remark) for remark in self.left_out],
            "notices": [_plain(remark) for remark in self.notices],
        }


@dataclass(frozen=True, slots=True)
class NotMoved:
    """A phone that stayed as it was, and why."""

    phone: Phone
    error: WaSessionsError

    @property
    def why(self) -> str:
        """The reason, with the phone's number."""
        text = str(self.error)
        return text if self.phone.number in text else f"{self.phone.number} stays as it is: {text}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"phone_id": self.phone.id, "phone": self.phone.number, "error": str(self.error)}


@dataclass(frozen=True, slots=True)
class Moved:
    """Phones that were moved, as one operation that ``restore`` undoes while nobody has used the keys since.

    ``down``: why the Node process could not be started again, where it could not.
    """

    operation: str | None
    phones: tuple[MovedPhone, ...]
    failed: tuple[NotMoved, ...]
    dry_run: bool
    down: WaSessionsError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "operation": self.operation,
            "dry_run": self.dry_run,
            "undo": f"wa-sessions restore {self.operation}" if self.operation else None,
            "phones": [phone.as_dict() for phone in self.phones],
            "failed": [phone.as_dict() for phone in self.failed],
        }


def each(
    found: Sequence[Phone],
    move: Callable[[Phone, str | None], tuple[str, MovedPhone]],
    *,
    alone: bool,
    node: NodeProcess | None,
    dry_run: bool,
    progress: Progress,
) -> Moved:
    """Move phones one after another, as one operation, while ``node`` is stopped.

    ``move`` is given a phone and the operation to go on with, if there is one, and answers with its id. Of many phones
    those that cannot be moved are ``failed``; where one is meant ``alone``, its error is raised.
    """
    operation: str | None = None
    done: list[MovedPhone] = []
    failed: list[NotMoved] = []

    def all_of_them() -> None:
        nonlocal operation
        for number, phone in enumerate(found, 1):
            try:
                operation, moved = move(phone, operation)
                done.append(moved)
            except WaSessionsError as error:
                if alone or isinstance(error, DatabaseError | StoreAway):
                    raise
                failed.append(NotMoved(phone, error))
            progress(number, len(found))

    try:
        ended = while_stopped(None if dry_run else node, all_of_them)
    except WaSessionsError as error:
        if operation is None or dry_run:
            raise
        raise moved_all_the_same(error, [moved.phone.number for moved in done], operation) from None
    return Moved(None if dry_run else operation, tuple(done), tuple(failed), dry_run, ended.down)


def moved_all_the_same(error: WaSessionsError, numbers: Sequence[str], operation: str) -> WaSessionsError:
    """The error of something that went wrong after phones had moved, and which."""
    who = f"{numbers[0]} was" if len(numbers) == 1 else f"{len(numbers)} phones ({numbers[0]}, …) were"
    return with_words(error, f"{who} moved all the same: wa-sessions restore {operation} undoes that")


class Refused(WaSessionsError):
    """A phone's keys cannot be moved; the message has every reason."""

    def __init__(self, phone: Phone, reasons: tuple[Remark, ...]) -> None:
        self.reasons = reasons
        super().__init__(f"{phone.number} stays as it is: {'; '.join(reason.what for reason in reasons)}")


def unmake(conn: Connection, opened: Opened, done: Operation, phone: Phone) -> Phone:
    """Put what a move has made into quarantine, so that what it took can come back; the phone as it is then.

    Raises Conflict where the phone has moved on or its keys were used since: with the old keys the session would be
    broken.
    """
    noted = takeover.noted(conn, done.id, phone.id)
    made, before = sides(conn, done, phone)
    if phone.connection_type != made:
        raise Conflict(f"{phone.number} is a {phone.connection_type} phone by now: {done.id} has nothing to undo")
    if takeover.mark(conn, opened.backend, phone) != noted.get("mark"):
        raise Conflict(
            f"the session of {phone.number} went on since {done.id}, and its old keys would break it: "
            f"{way_on(done.action, phone.number)}"
        )
    reason = f"made way for {done.id}"
    part = quarantine.begin(conn, opened.backend, phone, action=f"undo_{done.action}", reason=reason, actor=operator())
    quarantine.take(conn, opened.backend, part, phone, EVERYTHING)
    phones.assign(conn, opened.backend, phone, ConnectionType(before))
    was = next((part.phone_jid_before for part in done.phones if part.phone_id == phone.id), None)
    phones.set_status(conn, opened.backend, phone.id, KEEP, phone_jid=was or KEEP)
    return phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))


def refuse_exported(done: Operation) -> None:
    """Raise Conflict for an operation that let phones go to another machine, which may use their keys by now."""
    if done.action == EXPORT:
        raise Conflict(
            f"{done.id} let the phone go: where its file was imported, these keys are old and would break the session. "
            "Export it there and import it here; only where the file was never imported, say --overwrite"
        )


def sides(conn: Connection, done: Operation, phone: Phone) -> tuple[str, str]:
    """Whose a phone was after a move, and before: ``neonize`` or ``baileys``."""
    noted = takeover.noted(conn, done.id, phone.id)
    return _SIDES.get(done.action) or (str(noted.get("connection_type")), str(noted.get("connection_type_before")))


def _plain(remark: Remark) -> dict[str, Any]:
    return {"key": remark.key, "what": remark.what, "count": remark.count}
