"""Operations: what was done to a phone's keys, by whom and why. Rows in quarantine belong to one each."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.db.sql import queries
from wa_sessions.errors import WaSessionsError

_SQL = queries("operations")
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Operation:
    """One act of an operator or worker that took keys away; ``keys`` counts the rows in quarantine."""

    id: str
    at: datetime
    phone_id: int
    organization_id: int
    number: str
    action: str
    reason: str
    actor: str
    keys: int
    status_before: str | None
    phone_jid_before: str | None
    restored_at: datetime | None
    restored_by: str | None


def new_operation(conn: Connection, *, phone: Phone, action: str, reason: str, actor: str) -> str:
    """Open an operation, remembering the phone's status and JID; returns its id, as in ``op-20261122-7f3k9q``."""
    values = {
        "phone_id": phone.id,
        "organization_id": phone.organization_id,
        "number": phone.number,
        "action": action,
        "reason": reason,
        "actor": actor,
        "status": phone.status,
        "phone_jid": phone.phone_jid,
    }
    while True:
        row = conn.execute(_SQL.new_operation, values | {"id": _new_id()}).fetchone()
        if row:
            return str(row["id"])


def discard(conn: Connection, operation_id: str) -> None:
    """Forget an operation that found nothing to take; one that has rows in quarantine stays."""
    conn.execute(_SQL.discard, {"id": operation_id})


def mark_restored(conn: Connection, operation_id: str, actor: str) -> None:
    """Note that an operation was undone."""
    conn.execute(_SQL.restored, {"id": operation_id, "actor": actor})


def operation(conn: Connection, operation_id: str, *, lock: bool = False) -> Operation:
    """An operation by its id; raises WaSessionsError where there is none."""
    statement = _SQL.operation_locked if lock else _SQL.operation
    row = conn.execute(statement, {"id": operation_id}).fetchone()
    if row is None:
        raise WaSessionsError(f"no operation is called {operation_id[:40]!r}: see wa-sessions restore --help")
    return Operation(**row)


def operations(conn: Connection, phone_id: int, limit: int = 20) -> list[Operation]:
    """A phone's operations, the newest first."""
    rows = conn.execute(_SQL.operations, {"phone_id": phone_id, "limit": limit})
    return [Operation(**row) for row in rows]


def _new_id() -> str:
    return f"op-{datetime.now(UTC):%Y%m%d}-" + "".join(secrets.choice(_ALPHABET) for _ in range(6))
