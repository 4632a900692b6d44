"""What is told of pairing, of the connection, and of the database behind it."""

from dataclasses import dataclass
from typing import ClassVar

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import EventDetail


@dataclass(frozen=True, slots=True)
class PairingStarted(EventDetail):
    """A pairing window opens."""

    KIND: ClassVar = EventKind.PAIRING_STARTED


@dataclass(frozen=True, slots=True)
class PairingExpired(EventDetail):
    """A pairing window ends in vain."""

    KIND: ClassVar = EventKind.PAIRING_EXPIRED


@dataclass(frozen=True, slots=True)
class PairingFailed(EventDetail):
    """One attempt of pairing ended without a device."""

    KIND: ClassVar = EventKind.PAIRING_FAILED
    reason: str | None


@dataclass(frozen=True, slots=True)
class WrongNumber(EventDetail):
    """Another account scanned the QR; `unlinked`: the device that it made was removed again."""

    KIND: ClassVar = EventKind.WRONG_NUMBER
    unlinked: bool | None


@dataclass(frozen=True, slots=True)
class Paired(EventDetail):
    """A device was made."""

    KIND: ClassVar = EventKind.PAIRED


@dataclass(frozen=True, slots=True)
class Connected(EventDetail):
    """Logged in."""

    KIND: ClassVar = EventKind.CONNECTED


@dataclass(frozen=True, slots=True)
class Disconnected(EventDetail):
    """The connection was lost."""

    KIND: ClassVar = EventKind.DISCONNECTED


@dataclass(frozen=True, slots=True)
class StreamError(EventDetail):
    """WhatsApp ended the stream for a reason that whatsmeow does not know; `disconnected` follows when it closes the
    socket too."""

    KIND: ClassVar = EventKind.STREAM_ERROR
    code: str | None


@dataclass(frozen=True, slots=True)
class NoAnswer(EventDetail):
    """WhatsApp does not answer pings."""

    KIND: ClassVar = EventKind.NO_ANSWER


@dataclass(frozen=True, slots=True)
class AnswersAgain(EventDetail):
    """WhatsApp answers pings again."""

    KIND: ClassVar = EventKind.ANSWERS_AGAIN


@dataclass(frozen=True, slots=True)
class Replaced(EventDetail):
    """The [state](sessions.md#states) of that name begins."""

    KIND: ClassVar = EventKind.REPLACED
    reason: str | None


@dataclass(frozen=True, slots=True)
class LoggedOut(EventDetail):
    """The [state](sessions.md#states) of that name begins."""

    KIND: ClassVar = EventKind.LOGGED_OUT
    reason: str | None


@dataclass(frozen=True, slots=True)
class Outdated(EventDetail):
    """The [state](sessions.md#states) of that name begins."""

    KIND: ClassVar = EventKind.OUTDATED
    reason: str | None


@dataclass(frozen=True, slots=True)
class LoginRefused(EventDetail):
    """The [state](sessions.md#states) of that name begins."""

    KIND: ClassVar = EventKind.LOGIN_REFUSED
    reason: str | None


@dataclass(frozen=True, slots=True)
class Banned(EventDetail):
    """The [state](sessions.md#states) of that name begins."""

    KIND: ClassVar = EventKind.BANNED
    reason: str | None
    down_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Unreachable(EventDetail):
    """The [state](sessions.md#states) of that name begins; `down_seconds`: since when it tries to come back."""

    KIND: ClassVar = EventKind.UNREACHABLE
    reason: str | None
    down_seconds: int | None


@dataclass(frozen=True, slots=True)
class Crashed(EventDetail):
    """The [state](sessions.md#states) of that name begins; `down_seconds`: since when it tries to come back."""

    KIND: ClassVar = EventKind.CRASHED
    reason: str | None
    down_seconds: int | None


@dataclass(frozen=True, slots=True)
class StoreLost(EventDetail):
    """The database did not answer, for so long, which is written when it answers again; or it does not take what this
    phone alone writes (`reason`, at first without `down_seconds`), until it connects again or a minute goes well; or
    the worker did not renew its leases in time, as after a pause of the machine."""

    KIND: ClassVar = EventKind.STORE_LOST
    down_seconds: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoreBack(EventDetail):
    """The database answers again."""

    KIND: ClassVar = EventKind.STORE_BACK


@dataclass(frozen=True, slots=True)
class Moved(EventDetail):
    """Connected again in another session host (a process of many sessions), which resets nothing."""

    KIND: ClassVar = EventKind.MOVED


@dataclass(frozen=True, slots=True)
class SetAside(EventDetail):
    """A session host of its own ended three times too: it is left alone for half an hour, or until `restart`."""

    KIND: ClassVar = EventKind.SET_ASIDE
    reason: str | None


StaysDown = Replaced | LoggedOut | Outdated | LoginRefused | Banned
ComesBack = Unreachable | Crashed
PairingDetail = PairingStarted | PairingExpired | PairingFailed | WrongNumber | Paired
ConnectionDetail = (
    PairingDetail
    | Connected
    | Disconnected
    | StreamError
    | NoAnswer
    | AnswersAgain
    | StaysDown
    | ComesBack
    | StoreLost
    | StoreBack
    | Moved
    | SetAside
)
