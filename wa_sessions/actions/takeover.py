"""What ``adopt`` and ``return`` have in common: what is told of a phone that moves, and undoing the move."""

from dataclasses import dataclass
from typing import Any, Final

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.db import phones, quarantine, takeover
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import Operation
from wa_sessions.db.phones import Phone
from wa_sessions.errors import Conflict, WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.keys.takeover.remarks import Remark

ADOPT, RETURN = "adopt", "return"
MADE: Final = {ADOPT: "neonize", RETURN: "baileys"}
"""The operations that move a phone, and whose it is after them."""

BACK: Final = {ADOPT: RETURN, RETURN: ADOPT}
UNDONE: Final = {f"undo_{action}": action for action in MADE}


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

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"phone_id": self.phone.id, "phone": self.phone.number, "error": str(self.error)}


@dataclass(frozen=True, slots=True)
class Moved:
    """Phones that were moved, as one operation that ``restore`` undoes while nobody has used the keys since."""

    operation: str | None
    phones: tuple[MovedPhone, ...]
    failed: tuple[NotMoved, ...]
    dry_run: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "operation": self.operation,
            "dry_run": self.dry_run,
            "undo": f"wa-sessions restore {self.operation}" if self.operation else None,
            "phones": [phone.as_dict() for phone in self.phones],
            "failed": [phone.as_dict() for phone in self.failed],
        }


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
    back = f"wa-sessions {BACK[done.action]} {phone.number} converts the keys as they are now"
    if phone.connection_type != MADE[done.action]:
        raise Conflict(f"{phone.number} is a {phone.connection_type} phone by now: {done.id} has nothing to undo")
    if takeover.mark(conn, opened.backend, phone) != takeover.mark_of(conn, done.id, phone.id):
        raise Conflict(
            f"the session of {phone.number} went on since {done.id}, and its old keys would break it: {back}"
        )
    reason = f"made way for {done.id}"
    part = quarantine.begin(conn, opened.backend, phone, action=f"undo_{done.action}", reason=reason, actor=operator())
    quarantine.take(conn, opened.backend, part, phone, EVERYTHING)
    phones.assign(conn, opened.backend, phone, MADE[BACK[done.action]])
    return phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))


def _plain(remark: Remark) -> dict[str, Any]:
    return {"key": remark.key, "what": remark.what, "count": remark.count}
