"""The values of the health policy: a session's state, what can happen to it, and what is to be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.limits import ErrorKind as ErrorKind
from wa_sessions.health.limits import Limits as Limits
from wa_sessions.health.limits import Severity as Severity
from wa_sessions.health.limits import severity as severity


class Outcome(StrEnum):
    """How a message that did not decrypt ended."""

    RECOVERED = "recovered"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class FailedMessage:
    """A message that did not decrypt, from its first failure until it is forgotten a day after its end.

    ``connection`` names the WebSocket on which the last copy came, ``session_mark`` the state of the sender's
    session (in a group: sender key) when the first copy failed, ``sender_worked`` that another message of that
    sender has decrypted since.
    """

    message_id: str
    sender: str
    chat: str
    is_group: bool
    cause: Cause
    encryption: Encryption
    connection: str
    first_failed_at: datetime
    last_failed_at: datetime
    session_mark: str | None = None
    copies: int = 1
    counted: bool = False
    sender_worked: bool = False
    ended_at: datetime | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one session's health. ``closing``: a limit was reached and the close is not done yet."""

    bad_mac: int = 0
    bad_decrypt: int = 0
    counted_senders: frozenset[str] = frozenset()
    messages: Mapping[str, FailedMessage] = field(default_factory=lambda: MappingProxyType({}))
    recovered: int = 0
    lost: int = 0
    closing: ErrorKind | None = None
    last_error_at: datetime | None = None
    last_error_kind: ErrorKind | None = None

    def errors(self, kind: ErrorKind) -> int:
        return self.bad_mac if kind is ErrorKind.BAD_MAC else self.bad_decrypt

    @property
    def pending(self) -> tuple[FailedMessage, ...]:
        return tuple(m for m in self.messages.values() if m.outcome is None)


# --------------------------------------------------------------------------------------------- what happens


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is logged in. ``for_repair``: it only came back from a stop that a repair asked for."""

    at: datetime
    for_repair: bool = False


@dataclass(frozen=True, slots=True)
class MessageFailed:
    """A copy of a message did not decrypt; ``session_mark`` is the sender's session as the store has it now."""

    at: datetime
    message_id: str
    sender: str
    chat: str
    is_group: bool
    cause: Cause
    encryption: Encryption
    connection: str
    session_mark: str | None = None


@dataclass(frozen=True, slots=True)
class MessageDecrypted:
    """A message decrypted, at the first try or later."""

    at: datetime
    message_id: str
    sender: str
    chat: str


@dataclass(frozen=True, slots=True)
class MessageGivenUp:
    """whatsmeow asks for this message no more."""

    at: datetime
    message_id: str


@dataclass(frozen=True, slots=True)
class CollectionFailed:
    """An app-state collection did not sync."""

    at: datetime
    collection: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class CollectionSynced:
    """An app-state collection synced."""

    at: datetime
    collection: str


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened until ``at``."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Closed:
    """The close that a limit asked for is done."""

    at: datetime


HealthEvent = (
    Connected
    | MessageFailed
    | MessageDecrypted
    | MessageGivenUp
    | CollectionFailed
    | CollectionSynced
    | TimePassed
    | Closed
)


# ----------------------------------------------------------------------------------------- what is to be done


@dataclass(frozen=True, slots=True)
class RecordError:
    """An error was counted. ``count`` is the counter after it."""

    kind: ErrorKind
    count: int
    limit: int
    message_id: str | None = None
    sender: str | None = None
    collection: str | None = None


@dataclass(frozen=True, slots=True)
class RecordPending:
    """A message waits for its retry."""

    message: FailedMessage


@dataclass(frozen=True, slots=True)
class RecordEnd:
    """A message that had failed has ended as ``message.outcome`` says."""

    message: FailedMessage


@dataclass(frozen=True, slots=True)
class RecordReset:
    """A counter that was not 0 is 0 again."""

    kind: ErrorKind


@dataclass(frozen=True, slots=True)
class QuarantineSession:
    """Take the sender's session away, but only while it is the one that ``only_mark`` names."""

    sender: str
    only_mark: str
    message_id: str


@dataclass(frozen=True, slots=True)
class QuarantineSenderKey:
    """Take the sender's key in that group away, but only while it is the one that ``only_mark`` names."""

    chat: str
    sender: str
    only_mark: str
    message_id: str


@dataclass(frozen=True, slots=True)
class QuarantineCollection:
    """Take the version row of an app-state collection away, so that it syncs anew."""

    collection: str


@dataclass(frozen=True, slots=True)
class CloseSession:
    """The limit of this kind is reached."""

    kind: ErrorKind


@dataclass(frozen=True, slots=True)
class LeaveStore:
    """Close the socket at once and come back when the key store answers."""


Action = (
    RecordError
    | RecordPending
    | RecordEnd
    | RecordReset
    | QuarantineSession
    | QuarantineSenderKey
    | QuarantineCollection
    | CloseSession
    | LeaveStore
)
