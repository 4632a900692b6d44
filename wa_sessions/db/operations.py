"""Operations: what was done to phones and their keys, by whom and why. Rows in quarantine belong to one each."""

import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.db.sql import queries
from wa_sessions.errors import Conflict, WaSessionsError
from wa_sessions.health.backend_words import BackendStatus, status_of

_SQL = queries("operations")
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"

ADOPT, RETURN, IMPORT, EXPORT = "adopt", "return", "import", "export"
MOVES: Final = frozenset({ADOPT, RETURN, IMPORT})
"""The operations that put keys where the phone had others or none, and so are undone only while nobody used them."""

DRAIN, DRAIN_UNDONE, INBOX_DROP = "drain", "drain_undone", "inbox_drop"
DRAINS: Final = frozenset({DRAIN, DRAIN_UNDONE})
KEYLESS: Final = DRAINS | {INBOX_DROP}
"""The operations that touch nothing of a phone that could come back: who runs it, or its messages."""

_DRAINED = re.compile(r"drain of (\S+/\d+(?:#\w+)?)(?=:|\s|$)")

UNDONE: Final = {f"undo_{action}": action for action in MOVES}
MOVING: Final = frozenset({*MOVES, *UNDONE, EXPORT})
"""The operations after which a device goes on elsewhere."""


@dataclass(frozen=True, slots=True)
class OperationPart:
    """One phone's part in an operation that is under way."""

    operation_id: str
    phone_id: int


@dataclass(frozen=True, slots=True)
class OperationPhone:
    """What an operation did to one phone; ``keys`` counts the rows that it put into quarantine."""

    operation_id: str
    phone_id: int
    organization_id: int
    number: str
    phone_jid_before: str | None
    status_before: BackendStatus | None
    status_after: BackendStatus | None
    pairing: str | None
    keys: int
    restored_at: datetime | None
    restored_by: str | None
    unlinked_at: datetime | None
    unlinked_by: str | None
    purged_at: datetime | None
    purged_by: str | None

    @property
    def undoable(self) -> bool:
        """Whether its keys are neither back, nor gone, nor of no use any more."""
        return self.restored_at is None and self.unlinked_at is None and self.purged_at is None


@dataclass(frozen=True, slots=True)
class Operation:
    """One act of an operator or worker, on one phone or many."""

    id: str
    at: datetime
    action: str
    reason: str
    actor: str
    phones: tuple[OperationPhone, ...]

    @property
    def worker(self) -> str | None:
        """Which worker was drained, or is not any more; None of any other operation."""
        found = _DRAINED.match(self.reason) if self.action in DRAINS else None
        return found[1] if found else None

    @property
    def keys(self) -> int:
        """How many rows went into quarantine."""
        return sum(phone.keys for phone in self.phones)

    @property
    def restored(self) -> bool:
        """Whether all of it was undone."""
        return bool(self.phones) and all(phone.restored_at for phone in self.phones)

    @property
    def undoable(self) -> bool:
        """Whether ``restore`` has something to bring back."""
        return any(phone.undoable for phone in self.phones)


def drain_reason(worker: str, why: str | None = None, *, undone: bool = False) -> str:
    """The reason of a drain, or of taking it back: it names the worker."""
    return f"drain of {worker}{' taken back' if undone else ''}" + (f": {why}" if why else "")


def open_operation(conn: Connection, *, action: str, reason: str, actor: str) -> str:
    """Open an operation, of no phone yet; returns its id, as in ``op-20261122-7f3k9q``."""
    values = {"action": action, "reason": reason, "actor": actor}
    while True:
        row = conn.execute(_SQL.open, values | {"id": _new_id()}).fetchone()
        if row:
            return str(row["id"])


def begin(
    conn: Connection,
    phone: Phone,
    *,
    action: str,
    reason: str,
    actor: str,
    operation_id: str | None = None,
    status_after: BackendStatus | None = None,
    pairing: str | None = None,
) -> OperationPart:
    """Make a phone part of a new operation, or of ``operation_id``, remembering its status and JID."""
    values = _values(phone, status_after, pairing) | {"action": action, "reason": reason, "actor": actor}
    while True:
        named = {"operation": operation_id or _new_id(), "goes_on": operation_id is not None}
        row = conn.execute(_SQL.begin, values | named).fetchone()
        if row:
            return OperationPart(row["operation_id"], phone.id)


def add_phone(
    conn: Connection,
    operation_id: str,
    phone: Phone,
    *,
    status_after: BackendStatus | None = None,
    pairing: str | None = None,
) -> OperationPart:
    """Make a phone part of an operation that is there, remembering its status and JID."""
    conn.execute(_SQL.add_phone, _values(phone, status_after, pairing) | {"operation": operation_id})
    return OperationPart(operation_id, phone.id)


def _values(phone: Phone, status_after: BackendStatus | None, pairing: str | None) -> dict[str, object]:
    return {
        "phone_id": phone.id,
        "organization_id": phone.organization_id,
        "number": phone.number,
        "phone_jid": phone.phone_jid or None,
        "status": phone.status,
        "status_after": status_after,
        "pairing": pairing,
    }


def undoable(conn: Connection, phone_id: int, operation_ids: Collection[str]) -> set[str]:
    """Those of these operations whose part of a phone can still be undone."""
    rows = conn.execute(_SQL.undoable, {"phone_id": phone_id, "ids": list(operation_ids)})
    return {row["operation_id"] for row in rows}


def discard(conn: Connection, part: OperationPart) -> None:
    """Forget a phone's part that changed nothing, and the operation if nothing is left of it."""
    conn.execute(_SQL.discard_phone, {"operation": part.operation_id, "phone_id": part.phone_id})
    discard_empty(conn, part.operation_id)


def forget_phone(conn: Connection, part: OperationPart) -> None:
    """Forget a phone's part that took no keys, whatever else it was to note."""
    conn.execute(_SQL.forget_phone, {"operation": part.operation_id, "phone_id": part.phone_id})


def discard_empty(conn: Connection, operation_id: str) -> None:
    """Forget an operation without phones."""
    conn.execute(_SQL.discard, {"id": operation_id})


def lock_phone(conn: Connection, part: OperationPart) -> OperationPhone:
    """A phone's part, kept from changing until this transaction ends."""
    row = conn.execute(_SQL.lock_phone, {"operation": part.operation_id, "phone_id": part.phone_id}).fetchone()
    if row is None:
        raise WaSessionsError(f"{part.operation_id} has no part of phone #{part.phone_id}")
    return _phone(row)


def mark_restored(conn: Connection, part: OperationPart, actor: str) -> None:
    """Note that a phone's part was undone."""
    conn.execute(_SQL.restored, {"operation": part.operation_id, "phone_id": part.phone_id, "actor": actor})


def mark_unlinked(conn: Connection, part: OperationPart, actor: str) -> None:
    """Note that the device whose keys were taken from a phone was logged out at WhatsApp."""
    conn.execute(_SQL.unlinked, {"operation": part.operation_id, "phone_id": part.phone_id, "actor": actor})


def mark_gone(conn: Connection, part: OperationPart, actor: str) -> None:
    """Note that what an operation took from a phone is nowhere any more."""
    conn.execute(_SQL.gone, {"operation": part.operation_id, "phone_id": part.phone_id, "actor": actor})


def operation(conn: Connection, operation_id: str) -> Operation:
    """An operation by its id; raises WaSessionsError where there is none."""
    rows = conn.execute(_SQL.operation, {"id": operation_id}).fetchall()
    if not rows:
        raise WaSessionsError(f"no operation is called {operation_id[:40]!r}: wa-sessions operations lists them")
    return _with_phones(conn, rows)[0]


def require_keys(done: Operation) -> None:
    """Raise Conflict for an operation that was only about who runs phones, or about messages."""
    if done.action == INBOX_DROP:
        raise Conflict(f"{done.id} deleted messages, which nothing brings back; it took no keys")
    if done.action in DRAINS:
        again = f"wa-sessions drain {done.worker or 'WORKER'}"
        raise Conflict(f"{done.id} took no keys: {again}, with or without --undo, takes it back")


def latest(
    conn: Connection,
    *,
    phone_id: int | None = None,
    organization_id: int | None = None,
    since: datetime | None = None,
    limit: int = 20,
) -> list[Operation]:
    """The newest operations first: all, or those of a phone or organization."""
    values = {"phone_id": phone_id, "organization_id": organization_id, "since": since, "limit": limit}
    return _with_phones(conn, conn.execute(_SQL.latest, values).fetchall())


@dataclass(frozen=True, slots=True)
class Later:
    """A later operation on the same pairing."""

    id: str
    action: str


def closes(conn: Connection, phone_id: int | None = None) -> dict[int, str]:
    """The operation that closed each phone's session last and has its keys, while they can come back, by phone id."""
    return {row["phone_id"]: row["operation_id"] for row in conn.execute(_SQL.closes, {"phone_id": phone_id})}


def later_operation(conn: Connection, done: Operation, number: str, pairings: Iterable[str]) -> Later | None:
    """The last operation after ``done``, and not undone, that met or made one of these pairings of a number.

    One that moved it before any other; what undid a move met keys that nobody had used, and does not count.
    """
    values = {
        "operation": done.id,
        "at": done.at,
        "number": number,
        "pairings": list(pairings),
        "moving": sorted(MOVING),
    }
    row = conn.execute(_SQL.later_operation, values).fetchone()
    return Later(row["id"], row["action"]) if row else None


def alternative_for(action: str, number: str) -> str:
    """What to do instead of bringing keys back that were used since an operation that moved them."""
    match action:
        case "import":
            return f"wa-sessions export {number} FILE takes them along as they are now"
        case "adopt":
            return f"wa-sessions return {number} converts the keys as they are now"
        case "export":
            return f"export {number} where it is now, and import it here"
        case _:
            return f"wa-sessions adopt {number} converts the keys as they are now"


def now(conn: Connection) -> datetime:
    """What the database's clock says."""
    row = conn.execute(_SQL.now).fetchone()
    assert row
    return cast("datetime", row["now"])


def purgeable(conn: Connection, at: datetime, age: float, organization_id: int | None = None) -> list[tuple[str, int]]:
    """Operations older than ``age`` seconds ``at`` a time with keys in quarantine, the oldest first, and how many."""
    rows = conn.execute(_SQL.purgeable, {"at": at, "age": age, "organization_id": organization_id})
    return [(row["id"], row["keys"]) for row in rows]


def purge(conn: Connection, operation_id: str, actor: str, organization_id: int | None = None) -> int:
    """Delete an operation's quarantined keys for good, all or an organization's; returns how many.

    The history keeps the operation.
    """
    locked = conn.execute(_SQL.lock_parts, {"id": operation_id, "organization_id": organization_id})
    parts = [row["phone_id"] for row in locked]
    row = conn.execute(_SQL.purge, {"id": operation_id, "phones": parts, "actor": actor}).fetchone()
    return int(row["keys"]) if row else 0


def kept_keys(conn: Connection, organization_id: int | None = None) -> int:
    """How many keys are in quarantine."""
    row = conn.execute(_SQL.kept_keys, {"organization_id": organization_id}).fetchone()
    return int(row["keys"]) if row else 0


def _with_phones(conn: Connection, rows: "list[dict[str, object]]") -> list[Operation]:
    parts: dict[str, list[OperationPhone]] = {str(row["id"]): [] for row in rows}
    for row in conn.execute(_SQL.phones_of, {"ids": list(parts)}):
        parts[row["operation_id"]].append(_phone(row))
    return [Operation(**row, phones=tuple(parts[str(row["id"])])) for row in rows]  # type: ignore[arg-type]


def _new_id() -> str:
    return f"op-{datetime.now(UTC):%Y%m%d}-" + "".join(secrets.choice(_ALPHABET) for _ in range(6))


def _phone(row: Mapping[str, Any]) -> OperationPhone:
    words = {name: row[name] and status_of(row[name]) for name in ("status_before", "status_after")}
    return OperationPhone(**{**row, **words})
