"""The outbox of alerts: left in the transaction of what they tell of, taken by one sender a target, in order."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from wa_sessions.db.gateway import Connection
from wa_sessions.db.health import storable
from wa_sessions.db.phones import Phone
from wa_sessions.db.sql import queries
from wa_sessions.health.alerting import Alert, all_clear
from wa_sessions.wording.alert_texts import payload

LEASE = 120.0  # seconds after which another sender may take over what a killed one had claimed
LARGEST = 1000  # alerts in one message
KEPT = 30 * 86_400.0  # seconds

_SQL = queries("alerts")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is ours to send now. ``attempts`` and ``failures`` are those before."""

    target: str
    holder: UUID
    message_id: int
    key: str
    attempts: int
    failures: int
    alerts: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an alert at one target; waiting while both times are None."""

    target: str
    attempts: int
    sent_at: datetime | None
    given_up_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class LeftAlert:
    """An alert in the outbox. ``payload`` is what its receivers get."""

    id: int
    at: datetime
    phone_id: int
    kind: str
    payload: dict[str, Any]
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetState:
    """How it goes with a target: alerts that wait, failed attempts in a row, when the next may be made."""

    name: str
    failures: int
    next_at: datetime | None
    last_error: str | None
    waiting: int


def leave(conn: Connection, phone: Phone, alert: Alert) -> bool:
    """Leave an alert to be sent; False where the phone's last one says the same already."""
    values = _row(phone, alert) | {
        "repeatable": alert.repeatable,
        "error_type": alert.error_type.value if alert.error_type else None,
    }
    return conn.execute(_SQL.leave, values).fetchone() is not None


def clear(conn: Connection, phone: Phone) -> bool:
    """Leave the all-clear, if the phone's last alert was none."""
    return conn.execute(_SQL.leave_if_open, _row(phone, all_clear())).fetchone() is not None


def claim(conn: Connection, target: str, gather: float) -> Claimed | None:
    """The next message to a target, if one is due and nobody else has it; a failed one comes again as it was.

    ``gather``: seconds that an alert waits for others. A target that is new gets alerts of the last hour.
    """
    holder = uuid4()
    conn.execute(_SQL.register, {"target": target})
    values = {"target": target, "holder": holder, "lease": LEASE, "gather": gather}
    claimed = conn.execute(_SQL.claim, values).fetchone()
    if claimed is None:
        return None
    message = conn.execute(_SQL.open_message, {"target": target}).fetchone()
    if message is None:
        _make(conn, target)
        message = conn.execute(_SQL.open_message, {"target": target}).fetchone()
    assert message
    rows = conn.execute(_SQL.contents, {"message_id": message["id"]}).fetchall()
    alerts = tuple({"id": row["id"], **row["payload"]} for row in rows)
    return Claimed(target, holder, message["id"], str(message["key"]), message["attempts"], claimed["failures"], alerts)


def sent(conn: Connection, claimed: Claimed, pause: float) -> None:
    """The message has arrived; the target's next one may go after ``pause`` seconds."""
    conn.execute(_SQL.sent, {"message_id": claimed.message_id})
    _release(conn, claimed, pause, None)


def failed(conn: Connection, claimed: Claimed, pause: float, error: str, *, give_up: bool = False) -> None:
    """The message has not arrived; it is tried again after ``pause`` seconds, unless it is given up."""
    values = {"message_id": claimed.message_id, "error": error, "give_up": give_up}
    conn.execute(_SQL.failed, values)
    _release(conn, claimed, pause, error)


def newest(
    conn: Connection, *, phone_id: int | None = None, organization_id: int | None = None, limit: int = 20
) -> list[LeftAlert]:
    """The newest alerts first, with what became of them."""
    values = {"phone_id": phone_id, "organization_id": organization_id, "limit": limit}
    rows = conn.execute(_SQL.newest, values).fetchall()
    deliveries: dict[int, list[Delivery]] = {}
    for row in conn.execute(_SQL.deliveries, {"alert_ids": [row["id"] for row in rows]}):
        deliveries.setdefault(row.pop("alert_id"), []).append(Delivery(**row))
    return [LeftAlert(**row, deliveries=tuple(deliveries.get(row["id"], ()))) for row in rows]


def targets(conn: Connection) -> list[TargetState]:
    """All targets that were ever sent to."""
    return [TargetState(**row) for row in conn.execute(_SQL.targets)]


def forget_old(conn: Connection, age: float = KEPT) -> int:
    """Delete alerts that are ``age`` seconds old, sent or not; returns how many."""
    gone = conn.execute(_SQL.forget_old, {"age": age}).rowcount
    conn.execute(_SQL.forget_old_messages, {"age": age})
    return gone


def _make(conn: Connection, target: str) -> None:
    row = conn.execute(_SQL.make_message, {"target": target, "key": uuid4()}).fetchone()
    assert row
    values = {"target": target, "message_id": row["id"], "limit": LARGEST}
    if conn.execute(_SQL.fill_message, values).rowcount < LARGEST:
        conn.execute(_SQL.advance, {"target": target})


def _release(conn: Connection, claimed: Claimed, pause: float, error: str | None) -> None:
    values = {"target": claimed.target, "holder": claimed.holder, "pause": pause, "error": error}
    conn.execute(_SQL.release, values)


def _row(phone: Phone, alert: Alert) -> dict[str, Any]:
    told = payload(
        alert,
        datetime.now(UTC),
        phone_id=phone.id,
        number=phone.number,
        organization_id=phone.organization_id,
        display_name=phone.display_name,
    )
    return {"phone_id": phone.id, "kind": alert.kind.value, "payload": Jsonb(storable(told))}
