"""What follows from an event: records, which go into one transaction, and calls, which are made once that stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from wa_sessions.errors import WaSessionsError
from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import EventDetail
from wa_sessions.health.model import Action, ErrorKind
from wa_sessions.health.reconnect import Status
from wa_sessions.worker.session import Command, Session, nothing

# ------------------------------------------------------------------------------------------------------ records


class Keep(StrEnum):
    """Marks a column that is to stay as it is, since None means NULL."""

    KEEP = "keep"


Level = Literal["info", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Note:
    """An entry of the history, and its line in the log where it has a message."""

    detail: EventDetail
    message: str | None = None
    level: Level = "info"

    @property
    def kind(self) -> EventKind:
        """What happened, in a word."""
        return self.detail.kind


@dataclass(frozen=True, slots=True)
class SetStatus:
    """The phone's row in the backend's table. ``connected_now`` sets lastConnectedAt."""

    status: Status
    qr_code: str | Keep | None = Keep.KEEP
    phone_jid: str | Keep = Keep.KEEP
    connected_now: bool = False


@dataclass(frozen=True, slots=True)
class CloseAtLimit:
    """All keys into quarantine, as the limit of this kind is reached."""

    kind: ErrorKind
    count: int
    limit: int


@dataclass(frozen=True, slots=True)
class ForgetDevice:
    """Delete what a device of another number has left in the store."""

    device: str


@dataclass(frozen=True, slots=True)
class ForceClose:
    """Close as an operator asked, and answer."""

    command: Command


@dataclass(frozen=True, slots=True)
class CleanKeys:
    """Put the selected keys into quarantine, and answer."""

    command: Command


@dataclass(frozen=True, slots=True)
class CheckRestore:
    """See whether the keys of an operation can come back; where not, answer so."""

    command: Command


@dataclass(frozen=True, slots=True)
class RestoreKeys:
    """Bring the keys of an operation back, and answer."""

    command: Command


@dataclass(frozen=True, slots=True)
class AnswerCommand:
    """Tell an operator what became of a command."""

    command_id: int
    result: Mapping[str, Any] | WaSessionsError


Asked = ForceClose | CleanKeys | CheckRestore | RestoreKeys
"""What an operator asked for: done, or refused with an answer."""

Record = Action | Asked | Note | SetStatus | CloseAtLimit | ForgetDevice | AnswerCommand


# -------------------------------------------------------------------------------------------------------- calls


@dataclass(frozen=True, slots=True)
class FindDevice:
    """Look which device of the number has its keys in the store; ``DeviceFound`` follows."""


@dataclass(frozen=True, slots=True)
class LookAtVersions:
    """Look at the app-state versions in the store; ``VersionsSeen`` follows."""


@dataclass(frozen=True, slots=True)
class OpenClient:
    """Begin a login for the keys of ``device``, or to pair; ``ClientOpened`` follows at once."""

    device: str | None


@dataclass(frozen=True, slots=True)
class CloseClient:
    """End the login: socket closed, what had arrived told. ``Stopped`` or ``ClientLost`` follows."""

    client: int


@dataclass(frozen=True, slots=True)
class DropClient:
    """End the login at once."""

    client: int


@dataclass(frozen=True, slots=True)
class SendText:
    """Send a text; ``RequestAnswered`` follows."""

    client: int
    request: int
    to: str
    text: str


@dataclass(frozen=True, slots=True)
class UnlinkDevice:
    """Have WhatsApp remove the device of this login; ``RequestAnswered`` follows."""

    client: int
    request: int


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Give the phone back to whoever takes it next, and answer; ``Released`` follows."""

    command: Command


@dataclass(frozen=True, slots=True)
class SuspectStore:
    """Look whether the database answers; ``StoreBack`` follows if it does."""


@dataclass(frozen=True, slots=True)
class ShowQr:
    """A code to scan."""

    code: str


@dataclass(frozen=True, slots=True)
class Notify:
    """For whoever watches this run: an event of the session and its fields."""

    event: str
    fields: Mapping[str, Any] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the log that is true before anything can be written."""

    event: str
    message: str
    level: Level = "warn"


Shown = ShowQr | Notify | LogLine
Unanswered = CloseClient | DropClient | SendText | UnlinkDevice | SuspectStore | Shown
"""Calls of which no event comes at once."""

Call = FindDevice | LookAtVersions | OpenClient | ReleaseLease | Unanswered


@dataclass(frozen=True, slots=True)
class Effects:
    """What follows from an event: ``records`` go into one transaction, then ``calls`` are made, each in order."""

    records: tuple[Record, ...] = ()
    calls: tuple[Call, ...] = ()

    def __add__(self, more: "Effects") -> "Effects":
        return Effects(self.records + more.records, self.calls + more.calls)


Step = tuple[Session, Effects]
NO_EFFECTS = Effects()
