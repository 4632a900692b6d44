"""The inbox: messages that hosts told of, until their handler has taken them. A queue: what is handled is deleted."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.sql import SQL

from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries

_SQL = queries("inbox")

Chat = tuple[int, str]
"""A phone's id and the JID of one of its chats."""

Identity = tuple[int, str, str, str]
"""What a message is known by: phone id, chat, sender, message id."""


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """A message as the inbox keeps it: the fields of ``worker.message.IncomingMessage``, and whose it is."""

    phone_id: int
    chat: str
    sender: str
    message_id: str
    sender_alt: str | None
    from_me: bool
    is_group: bool
    sent_at: int
    kind: str
    text: str
    raw: bytes

    @property
    def identity(self) -> Identity:
        return self.phone_id, self.chat, self.sender, self.message_id


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A row with its message. ``attempts``: those that failed; ``pause``: seconds until it may be tried again."""

    id: int
    message: InboxMessage
    attempts: int
    pause: float


@dataclass(frozen=True, slots=True)
class RowKey:
    """Which row."""

    phone_id: int
    chat: str
    id: int


FIRST = RowKey(0, "", 0)
"""Before every row."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Which messages of a phone are meant: all, those of one ``chat``, or the one with an id.

    ``up_to``: no row that is newer than this one. ``until``: of those that are set aside none that was later.
    """

    chat: str | None = None
    message_id: str | None = None
    up_to: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """What became of an attempt: ``attempts`` failed by now, ``pause`` seconds until the next, or it is ``dead``."""

    key: RowKey
    message_id: str
    attempts: int
    error: str
    pause: float
    dead: bool


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits of a phone. ``oldest_seconds``: age of the oldest that is not dead; None where there is none."""

    waiting: int = 0
    dead: int = 0
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A row as operators see it: never a text.

    ``behind``: an earlier message of its chat is ``waiting``, so this one waits for it; or an earlier one is ``dead``,
    which stops it where its worker runs with ``--on-dead hold``.
    """

    id: int
    phone_id: int
    chat: str
    sender: str
    message_id: str
    kind: str
    received_at: datetime
    attempts: int
    next_at: datetime | None
    error: str | None
    dead_at: datetime | None
    behind: Literal["waiting", "dead"] | None


def write(conn: Connection, messages: Sequence[InboxMessage]) -> dict[Identity, int]:
    """Write messages in their order; the ids of those that were not there already."""
    columns: dict[str, list[Any]] = {
        "phone_ids": [one.phone_id for one in messages],
        "chats": [one.chat for one in messages],
        "senders": [one.sender for one in messages],
        "message_ids": [one.message_id for one in messages],
        "senders_alt": [one.sender_alt for one in messages],
        "from_me": [one.from_me for one in messages],
        "is_group": [one.is_group for one in messages],
        "sent_at": [one.sent_at for one in messages],
        "kinds": [one.kind for one in messages],
        "texts": [one.text for one in messages],
        "raws": [one.raw for one in messages],
    }
    rows = conn.execute(_SQL.write, columns)
    return {(row["phone_id"], row["chat"], row["sender"], row["message_id"]): row["id"] for row in rows}


def delete(conn: Connection, keys: Sequence[RowKey]) -> None:
    """Let go of what is handled."""
    conn.execute(_SQL.delete, _columns(keys))


def fail(conn: Connection, failures: Sequence[Failure]) -> None:
    """Note how attempts failed, and when the next may be made, or that there is none."""
    columns = _columns([one.key for one in failures]) | {
        "attempts": [one.attempts for one in failures],
        "errors": [one.error for one in failures],
        "pauses": [one.pause for one in failures],
        "dead": [one.dead for one in failures],
    }
    conn.execute(_SQL.fail, columns)


def chats(
    conn: Connection, asked: Sequence[Chat], most: int, *, longest: float, hold: bool = False
) -> list[tuple[Chat, bool | None]]:
    """Of each phone the chats that come after the one beside it, phone by phone, in order, ``most`` of all together.

    With each whether it may be handled now: whether its first message that is not dead waits for nothing; None if all
    are dead, and with ``hold`` if one is. A pause of over ``longest`` seconds is that of a clock which was put back.
    """
    values = {"phone_ids": [one[0] for one in asked], "after": [one[1] for one in asked]}
    rows = conn.execute(_SQL.chats, values | {"most": most, "longest": longest, "hold": hold})
    return [((row["phone_id"], row["chat"]), row["due"]) for row in rows]


def load(
    conn: Connection, wanted: Sequence[Chat], most: int, bytes_: int, *, longest: float, hold: bool = False
) -> list[InboxRow]:
    """The first messages of each of these chats, in order: ``most`` of each, or as many as it takes to have ``bytes_``.

    ``longest`` as for ``chats``; ``hold``: none of a chat that has a dead one.
    """
    values = {"phone_ids": [one[0] for one in wanted], "chats": [one[1] for one in wanted]}
    limits = {"most": most, "bytes": bytes_, "longest": longest, "hold": hold}
    return [_row(row) for row in conn.execute(_SQL.load, values | limits)]


def with_dead(conn: Connection, phone_ids: Collection[int]) -> set[int]:
    """Those of these phones of which a message is set aside."""
    return {row["phone_id"] for row in conn.execute(_SQL.has_dead, {"phone_ids": list(phone_ids)})}


def depths(conn: Connection, phone_id: int | None = None) -> dict[int, Depth]:
    """What waits of each phone of which anything does."""
    rows = conn.execute(_SQL.depths, {"phone_id": phone_id})
    return {row["phone_id"]: Depth(row["waiting"], row["dead"], row["oldest_seconds"]) for row in rows}


def rows(conn: Connection, phone_ids: Collection[int] | None, *, dead: bool, limit: int) -> list[Listed]:
    """What stands in the inbox, in order, of all phones or of these; ``dead``: only what is set aside."""
    values = {"phone_ids": None if phone_ids is None else list(phone_ids), "dead": dead, "limit": limit}
    return [Listed(**row) for row in conn.execute(_SQL.rows, values)]


def count(
    conn: Connection, phone_ids: Collection[int], selected: Selected, *, dead: bool
) -> tuple[dict[int, int], int, datetime | None]:
    """How many messages are meant, by phone, of ``dead`` only those that are set aside; the newest row, and when.

    Without any there is no time.
    """
    rows = conn.execute(_SQL.count, {"phone_ids": list(phone_ids), "dead": dead} | asdict(selected)).fetchall()
    newest, at = max((row["newest"] for row in rows), default=0), rows[0]["at"] if rows else None
    return {row["phone_id"]: row["messages"] for row in rows}, newest, at


def retry(
    conn: Connection, phone_ids: Collection[int], selected: Selected, after: RowKey, most: int, *, dead: bool = False
) -> list[RowKey]:
    """Have the first ``most`` messages after a row tried again now that failed or are set aside; which, in order.

    ``dead``: only those that are set aside. Attempts count anew. What a worker is writing at this moment is left alone,
    so nobody waits for the other.
    """
    return _changed(conn, _SQL.retry, phone_ids, selected, after, {"most": most, "dead": dead})


def drop(
    conn: Connection, phone_ids: Collection[int], selected: Selected, after: RowKey, most: int, *, dead: bool
) -> list[RowKey]:
    """Delete the first ``most`` messages after a row for good; ``dead``: only those that are set aside. Likewise."""
    return _changed(conn, _SQL.drop, phone_ids, selected, after, {"most": most, "dead": dead})


def _changed(
    conn: Connection, query: SQL, phone_ids: Collection[int], selected: Selected, after: RowKey, more: dict[str, Any]
) -> list[RowKey]:
    where = {"after_phone": after.phone_id, "after_chat": after.chat, "after_id": after.id}
    rows = conn.execute(query, {"phone_ids": list(phone_ids)} | asdict(selected) | where | more)
    return [RowKey(**row) for row in rows]


def _columns(keys: Sequence[RowKey]) -> dict[str, list[Any]]:
    return {
        "phone_ids": [key.phone_id for key in keys],
        "chats": [key.chat for key in keys],
        "ids": [key.id for key in keys],
    }


def _row(row: dict[str, Any]) -> InboxRow:
    names = ("phone_id", "chat", "sender", "message_id", "sender_alt", "from_me", "is_group", "sent_at", "kind", "text")
    message = InboxMessage(**{name: row[name] for name in names}, raw=bytes(row["raw"]))
    return InboxRow(row["id"], message, row["attempts"], row["pause"] or 0.0)
