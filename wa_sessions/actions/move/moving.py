"""What ``adopt``, ``return``, ``import`` and ``export`` share: keys go, others come; and undoing that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, key_transfer, phones, quarantine
from wa_sessions.db.gateway import Connection
from wa_sessions.db.operations import ADOPT, EXPORT, RETURN, Operation, OperationPart, alternative_for
from wa_sessions.db.phones import KEEP, Phone
from wa_sessions.db.quarantine import QuarantineResult
from wa_sessions.errors import Conflict, WaSessionsError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events.detail import EventDetail
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.conversion.remarks import Remark
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING

STORES: Final = (ConnectionType.BAILEYS, ConnectionType.NEONIZE)
_SIDES: Final = {ADOPT: ("neonize", "baileys"), RETURN: ("baileys", "neonize")}
"""Whose a phone is after them and before."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """A phone's keys as they will stand in a store, and what is to be said of them. ``put`` puts them there.

    ``device``: the JID of the linked device; ``keys``: how many, by type.
    """

    device: str
    keys: dict[str, int]
    put: Callable[[Connection, Phone], None]
    left_out: tuple[Remark, ...] = ()
    notices: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaving:
    """A phone whose keys are in quarantine, as a part of an operation, and what has gone."""

    phone: Phone
    part: OperationPart
    taken: QuarantineResult


@dataclass(frozen=True, slots=True)
class MovedPhone:
    """A phone that was moved, or with ``dry_run`` would be: keys by type before and after, and what is to be said."""

    phone: Phone
    device: str
    keys_before: dict[str, int]
    keys_after: dict[str, int]
    left_out: tuple[Remark, ...]
    notices: tuple[Remark, ...]
    taken: QuarantineResult

    @classmethod
    def of(cls, phone: Phone, leaving: Leaving, arriving: Arriving) -> Self:
        """A phone that was moved between two stores."""
        before = leaving.taken.by_type
        said = arriving.left_out, arriving.notices
        return cls(phone, arriving.device, before, arriving.keys, *said, leaving.taken)

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


class Refused(WaSessionsError):
    """A phone's keys cannot be moved; the message has every reason."""

    def __init__(self, phone: Phone, reasons: tuple[Remark, ...]) -> None:
        self.reasons = reasons
        super().__init__(f"{phone.number} stays as it is: {'; '.join(reason.what for reason in reasons)}")


def let_go(
    conn: Connection,
    opened: Opened,
    phone: Phone,
    *,
    action: str,
    reason: str,
    operation: str | None,
    stores: Sequence[ConnectionType] | None = None,
) -> Leaving:
    """Put all keys of a phone into quarantine, those of its own store or of ``stores``.

    Until the end of the transaction others see them, but cannot change them. Raises Conflict where somebody does.
    """
    part = quarantine.begin(
        conn,
        opened.backend,
        phone,
        action=action,
        reason=reason,
        actor=operator(),
        status_after=Status.DISCONNECTED,
        operation_id=operation,
    )
    taken = quarantine.together(
        quarantine.take(conn, opened.backend, part, _in_store(phone, store), EVERYTHING) for store in stores or (None,)
    )
    if taken.left:
        raise Conflict(f"keys of {phone.number} were written meanwhile: stop what runs it; nothing was changed")
    return Leaving(phone, part, taken)


def settle(
    conn: Connection,
    opened: Opened,
    leaving: Leaving,
    arriving: Arriving,
    connection_type: ConnectionType,
    *,
    said: str,
    detail: Callable[[str | None, str], EventDetail],
) -> Phone:
    """Put other keys in the place of those that went; the phone is disconnected, and of ``connection_type``.

    ``said``: of its session. Its history has the ``detail`` that is made of its pairing and a digest of its keys.
    """
    phone = leaving.phone
    phones.assign(conn, opened.backend, phone, connection_type)
    phones.set_status(conn, opened.backend, phone.id, Status.DISCONNECTED, qr_code=None, phone_jid=arriving.device)
    health.clear_counters(conn, phone, State.IDLE, said)
    ours = phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))
    arriving.put(conn, ours)
    told = detail(
        quarantine.pairing_of(conn, opened.backend, ours), key_transfer.fingerprint(conn, opened.backend, ours)
    )
    operation = leaving.part.operation_id
    health.record_event(conn, phone.id, phone.organization_id, told, operation_id=operation)
    return ours


def unmake(conn: Connection, opened: Opened, done: Operation, phone: Phone) -> Phone:
    """Put what a move has made into quarantine, so that what it took can come back; the phone as it is then.

    Raises Conflict where the phone has moved on or its keys were used since: with the old keys the session would be
    broken.
    """
    noted = key_transfer.move_record(conn, done.id, phone.id)
    made, before = owner_before_and_after(conn, done, phone)
    if phone.connection_type != made:
        raise Conflict(f"{phone.number} is a {phone.connection_type} phone by now: {done.id} has nothing to undo")
    if key_transfer.fingerprint(conn, opened.backend, phone) != noted.get("mark"):
        raise Conflict(
            f"the session of {phone.number} went on since {done.id}, and its old keys would break it: "
            f"{alternative_for(done.action, phone.number)}"
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


def owner_before_and_after(conn: Connection, done: Operation, phone: Phone) -> tuple[str, str]:
    """Whose a phone was after a move, and before: ``neonize`` or ``baileys``."""
    noted = key_transfer.move_record(conn, done.id, phone.id)
    return _SIDES.get(done.action) or (str(noted.get("connection_type")), str(noted.get("connection_type_before")))


def _in_store(phone: Phone, store: ConnectionType | None) -> Phone:
    return replace(phone, connection_type=store) if store else phone


def _plain(remark: Remark) -> dict[str, Any]:
    return {"key": remark.key, "what": remark.what, "count": remark.count}
