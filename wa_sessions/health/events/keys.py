"""What is told of messages that did not decrypt, of counted errors, and of what repairs and closes did to keys."""

from dataclasses import dataclass
from typing import ClassVar

from wa_sessions.health.classify import Cause
from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import EventDetail, EventSource
from wa_sessions.health.limits import ErrorKind


@dataclass(frozen=True, slots=True)
class MessagePending(EventDetail):
    """A message did not decrypt, its sender is asked again."""

    KIND: ClassVar = EventKind.MESSAGE_PENDING
    message_id: str | None
    cause: Cause | None
    sender: str | None


@dataclass(frozen=True, slots=True)
class MessageRecovered(EventDetail):
    """A later copy of a message decrypted, after so long."""

    KIND: ClassVar = EventKind.MESSAGE_RECOVERED
    message_id: str | None
    seconds: float | None
    copies: int | None


@dataclass(frozen=True, slots=True)
class MessageLost(EventDetail):
    """No copy of a message decrypted; it becomes `message_recovered` if one does after all."""

    KIND: ClassVar = EventKind.MESSAGE_LOST
    message_id: str | None
    seconds: float | None
    copies: int | None


@dataclass(frozen=True, slots=True)
class ErrorCounted(EventDetail):
    """An error was counted."""

    KIND: ClassVar = EventKind.ERROR_COUNTED
    error_kind: ErrorKind | None
    count: int | None
    limit: int | None
    message_id: str | None = None
    sender: str | None = None
    collection: str | None = None
    source: EventSource | None = None


@dataclass(frozen=True, slots=True)
class CounterReset(EventDetail):
    """A counter that was not 0 is 0 again."""

    KIND: ClassVar = EventKind.COUNTER_RESET
    error_kind: ErrorKind | None
    source: EventSource | None = None


@dataclass(frozen=True, slots=True)
class SessionQuarantined(EventDetail):
    """A repair took the session with one sender."""

    KIND: ClassVar = EventKind.SESSION_QUARANTINED
    sender: str | None
    keys: int | None


@dataclass(frozen=True, slots=True)
class SenderKeyQuarantined(EventDetail):
    """A repair took the key of one sender in a group."""

    KIND: ClassVar = EventKind.SENDER_KEY_QUARANTINED
    chat: str | None
    sender: str | None
    keys: int | None


@dataclass(frozen=True, slots=True)
class CollectionQuarantined(EventDetail):
    """A repair took the version of an app-state collection."""

    KIND: ClassVar = EventKind.COLLECTION_QUARANTINED
    collection: str | None
    keys: int | None


@dataclass(frozen=True, slots=True)
class SessionKept(EventDetail):
    """A repair found nothing to take: the session that failed is not there any more."""

    KIND: ClassVar = EventKind.SESSION_KEPT
    sender: str | None


@dataclass(frozen=True, slots=True)
class SenderKeyKept(EventDetail):
    """A repair found nothing to take: the key that failed is not there any more."""

    KIND: ClassVar = EventKind.SENDER_KEY_KEPT
    chat: str | None
    sender: str | None


@dataclass(frozen=True, slots=True)
class CollectionKept(EventDetail):
    """A repair found nothing to take: the collection syncs from its start anyway."""

    KIND: ClassVar = EventKind.COLLECTION_KEPT
    collection: str | None


@dataclass(frozen=True, slots=True)
class SessionClosed(EventDetail):
    """Closed at a limit."""

    KIND: ClassVar = EventKind.SESSION_CLOSED
    error_kind: ErrorKind | None
    count: int | None
    limit: int | None
    reason: str | None = None
    source: EventSource | None = None


@dataclass(frozen=True, slots=True)
class BackendClosed(EventDetail):
    """The Node backend closed it for another reason."""

    KIND: ClassVar = EventKind.BACKEND_CLOSED
    reason: str | None
    source: EventSource | None


MessageDetail = MessagePending | MessageRecovered | MessageLost
RepairDetail = (
    SessionQuarantined | SenderKeyQuarantined | CollectionQuarantined | SessionKept | SenderKeyKept | CollectionKept
)
KeysDetail = MessageDetail | ErrorCounted | CounterReset | RepairDetail | SessionClosed | BackendClosed
