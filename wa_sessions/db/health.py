"""Counters, undecryptable messages and history of each phone."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg.types.json import Jsonb

from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.db.sql import queries
from wa_sessions.health.backend_words import SessionState, session_state_of
from wa_sessions.health.reconnect import State

if TYPE_CHECKING:
    from wa_sessions.health.events.detail import EventDetail, UnknownDetail
    from wa_sessions.health.events.every import Detail

_SQL = queries("health")


@dataclass(frozen=True, slots=True)
class HealthRow:
    """A row of ``wa_sessions.health``; the database sets ``updated_at`` when it is saved.

    ``version`` grows with each write of the worker that owns the phone.
    """

    phone_id: int
    organization_id: int
    bad_mac_errors: int
    bad_decrypt_errors: int
    counted_senders: tuple[str, ...]
    last_error_at: datetime | None
    last_error_kind: str | None
    messages_recovered: int
    messages_lost: int
    state: SessionState
    state_detail: str | None
    state_since: datetime
    retry_at: datetime | None
    closing: str | None
    max_bad_mac: int = 3
    max_bad_decrypt: int = 5
    version: int = 0
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A row of ``wa_sessions.message``: a message that did not decrypt; pending while ``outcome`` is None."""

    phone_id: int
    message_id: str
    sender: str
    chat: str
    is_group: bool
    cause: str
    encryption: str
    connection: str
    copies: int
    counted: bool
    sender_worked: bool
    session_mark: str | None
    first_failed_at: datetime
    last_failed_at: datetime
    ended_at: datetime | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the append-only history. ``stored`` is its detail as it stands there, whatever wrote it."""

    id: int
    at: datetime
    phone_id: int
    organization_id: int
    detail: "Detail | UnknownDetail"
    stored: dict[str, Any]
    operation_id: str | None
    worker_id: UUID | None

    @property
    def kind(self) -> str:
        """What happened, in a word: an ``EventKind`` if this program knows it."""
        return self.detail.kind


@dataclass(frozen=True, slots=True)
class ForcedClose:
    """That somebody closed a session on purpose."""

    at: datetime
    actor: str | None
    reason: str | None


def load(conn: Connection, phone_id: int) -> HealthRow | None:
    """A phone's counters; None where nobody ever observed it."""
    row = conn.execute(_SQL.load, {"phone_id": phone_id}).fetchone()
    return _health(row) if row else None


def load_all(conn: Connection) -> dict[int, HealthRow]:
    """The counters of all observed phones by phone id."""
    return {row["phone_id"]: _health(row) for row in conn.execute(_SQL.load, {"phone_id": None})}


def save(conn: Connection, row: HealthRow) -> None:
    """Write a phone's counters."""
    conn.execute(_SQL.save, asdict(row) | {"counted_senders": list(row.counted_senders)})


def clear_counters(conn: Connection, phone: Phone, state: State, detail: str) -> None:
    """Set both counters of a phone that no worker runs to 0, and note what became of its session."""
    now = datetime.now(UTC)
    blank = HealthRow(phone.id, phone.organization_id, 0, 0, (), None, None, 0, 0, state, None, now, None, None)
    row = replace(
        load(conn, phone.id) or blank,
        bad_mac_errors=0,
        bad_decrypt_errors=0,
        counted_senders=(),
        state=state,
        state_detail=detail,
        state_since=now,
        retry_at=None,
        closing=None,
    )
    save(conn, row)


def pending_messages(conn: Connection, phone_id: int) -> list[MessageRow]:
    """Messages that did not decrypt and have no outcome yet, the oldest first."""
    return [MessageRow(**row) for row in conn.execute(_SQL.pending_messages, {"phone_id": phone_id})]


def pending_counts(conn: Connection) -> dict[int, int]:
    """How many messages are pending, by phone id; phones without any are left out."""
    return {row["phone_id"]: row["pending"] for row in conn.execute(_SQL.pending_counts)}


def remembered_messages(conn: Connection, phone_id: int) -> list[MessageRow]:
    """Messages that are pending, or that ended within a day and may still come again."""
    return [MessageRow(**row) for row in conn.execute(_SQL.remembered_messages, {"phone_id": phone_id})]


def save_message(conn: Connection, row: MessageRow) -> None:
    """Write a message's state."""
    conn.execute(_SQL.save_message, asdict(row))


def statuses_given(conn: Connection, phone_ids: list[int]) -> dict[int, str]:
    """The statuses that commands of ours gave last, by phone, where a Node process ran the phone then."""
    rows = conn.execute(_SQL.statuses_given, {"phones": phone_ids})
    return {row["phone_id"]: row["status"] for row in rows}


def closed_in_logs(conn: Connection, phone_id: int | None = None) -> dict[int, datetime]:
    """When the Node backend's logs said that it closed a session, of phones that show no sign of life there since.

    The resets that the close itself brings are none: those of the next 5 seconds. What stands further back than the
    newest 20 entries is over.
    """
    rows = conn.execute(_SQL.closed_in_logs, {"phone_id": phone_id})
    return {row["phone_id"]: row["at"] for row in rows}


def forced_closes(conn: Connection, phone_id: int | None = None) -> dict[int, ForcedClose]:
    """Who closed sessions on purpose, of those whose state still says so.

    What stands further back than the newest 50 entries of a phone is not told.
    """
    rows = conn.execute(_SQL.forced_closes, {"phone_id": phone_id})
    return {row["phone_id"]: ForcedClose(row["at"], row["actor"], row["reason"]) for row in rows}


def record_event(
    conn: Connection,
    phone_id: int,
    organization_id: int,
    detail: "EventDetail",
    *,
    operation_id: str | None = None,
    worker_id: UUID | None = None,
    at: datetime | None = None,
) -> int:
    """Add to a phone's history, as of now or of ``at``; returns the entry's id."""
    values = {
        "phone_id": phone_id,
        "organization_id": organization_id,
        "kind": detail.KIND.value,
        "detail": Jsonb(storable(detail.as_json())),
        "operation_id": operation_id,
        "worker_id": worker_id,
        "at": at,
    }
    row = conn.execute(_SQL.record_event, values).fetchone()
    return int(row["id"]) if row else 0


def record_events(
    conn: Connection, phone_id: int, organization_id: int, entries: "Iterable[tuple[datetime, EventDetail]]"
) -> None:
    """Add many entries to a phone's history: when, and what happened."""
    same = {"phone_id": phone_id, "organization_id": organization_id, "operation_id": None, "worker_id": None}
    with conn.cursor() as cursor:
        cursor.executemany(
            _SQL.record_event,
            [
                same | {"at": at, "kind": detail.KIND.value, "detail": Jsonb(storable(detail.as_json()))}
                for at, detail in entries
            ],
        )


def last_events(conn: Connection, phone_id: int, limit: int) -> list[Event]:
    """The newest entries of a phone's history, in order."""
    return [event_of(row) for row in conn.execute(_SQL.last_events, {"phone_id": phone_id, "limit": limit})]


def event_of(row: Mapping[str, Any]) -> Event:
    """A row of the history; its detail is read as far as this program knows its kind."""
    from wa_sessions.health.events.every import read  # thousandths of a second that stats need not spend

    values = {name: value for name, value in row.items() if name not in ("kind", "detail")}
    return Event(**values, detail=read(row["kind"], row["detail"]), stored=row["detail"])


def storable(value: Any) -> Any:
    """The same value without what ``jsonb`` cannot hold: NUL and half surrogates in strings."""
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode(errors="replace").decode()
        case Mapping():
            return {storable(str(key)): storable(part) for key, part in value.items()}
        case list() | tuple():
            return [storable(part) for part in value]
        case _:
            return value


def _health(row: Mapping[str, Any]) -> HealthRow:
    read = {"counted_senders": tuple(row["counted_senders"]), "state": session_state_of(row["state"])}
    return HealthRow(**{**row, **read})
