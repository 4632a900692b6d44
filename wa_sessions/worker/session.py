"""A session as a value, and what can happen to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from wa_sessions.errors import WaSessionsError
from wa_sessions.health.model import Health, Limits
from wa_sessions.health.reconnect import State
from wa_sessions.worker.hosts.protocol import ClientEvent, Undecrypted, Unsynced
from wa_sessions.worker.ports import ClientLost, HandlerEvent, MoveAsked, RequestAnswered
from wa_sessions.worker.store_trouble import StoreTrouble


def nothing() -> Mapping[Any, Any]:
    """An empty mapping that stays so."""
    return MappingProxyType({})


class Return(StrEnum):
    """Why a session connects. Only a login of its own accord resets the counters."""

    LOGIN = "login"
    REPAIR = "repair"
    MOVE = "move"


class Verb(StrEnum):
    """What an operator can ask of a session."""

    FORCE_CLOSE = "force_close"
    CLEAN = "clean"
    RESTART = "restart"
    RELINK = "relink"
    RESTORE = "restore"
    SEND = "send"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator asked of this session through the database, and waits for."""

    id: int
    verb: str
    actor: str
    arguments: Mapping[str, Any] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a session is run.

    ``answer_timeout``: without a login, a QR or a reconnect for so long WhatsApp counts as unreachable. ``origin`` is
    unlike that of every other worker: connections are named with it.
    """

    limits: Limits
    pairing_window: timedelta = timedelta(minutes=10)
    answer_timeout: timedelta = timedelta(seconds=90)
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """The life of one phone's session, from one event to the next.

    Stored are ``health``, ``state``, ``detail``, ``since`` and ``retry_at`` (when a pause ends; while pairing, when the
    window does). The rest is what the worker knows of its own doings, and can be found out anew:
    ``client`` is the login that is open in a host, ``ending`` that its end was asked for, ``asked`` that an answer is
    awaited without which nothing can go on; ``device`` the JID of the login; ``returning`` why it connects;
    ``deadline`` when WhatsApp must have been heard of. ``round_at``: while pairing, when the next client shows codes;
    none while one does.
    ``current`` is the command in hand, ``checked`` that nothing stands in its way any more, ``resume`` that the session
    connects again after it; ``waiting`` are those behind it, ``requests`` the commands that WhatsApp has to answer.
    ``results`` are answers to them that are not written yet.
    ``wrong_device`` scanned the QR with another number and is being unlinked, ``unlinked`` what came of that.
    ``last_word`` is how the login ended for good while the store was away, and when.
    ``begins``: that its worker began with it is not written yet. What operators want comes after that: the other way
    round a session that was closed would connect again.
    """

    number: str
    settings: Settings
    health: Health = field(default_factory=Health)
    state: State = State.IDLE
    detail: str | None = None
    since: datetime | None = None
    retry_at: datetime | None = None

    begins: bool = False
    device: str | None = None
    client: int | None = None
    ending: bool = False
    asked: bool = False
    returning: Return = Return.LOGIN
    drops: int = 0
    deadline: datetime | None = None
    round_at: datetime | None = None
    wrong_device: str | None = None
    unlinked: bool | None = None
    last_word: tuple["Event", datetime] | None = None

    down_since: datetime | None = None
    connected_at: datetime | None = None
    attempts: int = 0
    store_lost_at: datetime | None = None
    store_attempts: int = 0
    trouble: StoreTrouble = field(default_factory=StoreTrouble)

    current: Command | None = None
    checked: bool = False
    resume: bool = False
    waiting: tuple[Command, ...] = ()
    requests: Mapping[int, Command] = field(default_factory=nothing)
    results: Mapping[int, Mapping[str, Any] | WaSessionsError] = field(default_factory=nothing)
    stopping: bool = False
    stop_reason: str | None = None
    ours: bool = True
    finished: bool = False

    looked_at: datetime | None = None
    versions_at: datetime | None = None
    versions: Mapping[str, int] = field(default_factory=nothing)

    def connection_of(self, client: int) -> str:
        """A name for the WebSocket that a login has now, unlike that of any other."""
        return f"{self.settings.origin}.{client}.{self.drops}"

    @property
    def stored(self) -> tuple[object, ...]:
        """What the database keeps of it."""
        return self.health, self.state, self.detail, self.retry_at

    @property
    def unanswered(self) -> tuple[Command, ...]:
        """All commands that somebody still waits for."""
        return (*((self.current,) if self.current else ()), *self.waiting, *self.requests.values())

    @property
    def online(self) -> bool:
        """Whether the session is meant to have a WebSocket."""
        return self.state in ONLINE

    @property
    def coming_back(self) -> bool:
        """Whether it is not connected, and tries to be."""
        return self.state in COMING_BACK

    @property
    def banned_until(self) -> datetime | None:
        """When the ban ends that WhatsApp has told; it does not end because somebody closed the session meanwhile."""
        return self.retry_at if self.state in (State.BANNED, State.FORCE_CLOSED) else None

    @property
    def store_away(self) -> bool:
        """Whether nothing can be written now."""
        return self.store_lost_at is not None

    def stumbled(self) -> "Session":
        """A move that did not go straight on: its status was set to another, and is to be set again."""
        return replace(self, returning=Return.REPAIR) if self.returning is Return.MOVE else self

    def towards(self, state: State, detail: str | None = None, **changes: Any) -> "Session":
        """The session in another state, which forgets what the one before was waiting for."""
        return replace(self, **({"state": state, "detail": detail, "retry_at": None} | changes))


ONLINE = {State.CONNECTING, State.CONNECTED, State.RECONNECTING, State.NO_ANSWER, State.PAIRING}
PAUSED = {State.UNREACHABLE, State.CRASHED, State.BANNED, State.WAITING_FOR_STORE}
COMING_BACK = {
    State.CONNECTING,
    State.RECONNECTING,
    State.NO_ANSWER,
    State.WAITING_FOR_STORE,
    State.UNREACHABLE,
    State.CRASHED,
}


# --------------------------------------------------------------------------------------------- what happens


@dataclass(frozen=True, slots=True)
class Started:
    """The worker begins with this phone: whatever had ended its session, it connects."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The phone's task goes on, after a fault or in another worker: what had ended stays so, all else is begun anew."""


@dataclass(frozen=True, slots=True)
class DeviceFound:
    """The device whose keys are in the store, or none; the answer to ``FindDevice``."""

    device: str | None


@dataclass(frozen=True, slots=True)
class ClientOpened:
    """The login that ``OpenClient`` asked for has this number."""

    client: int


@dataclass(frozen=True, slots=True)
class MessageUndecrypted:
    """A copy did not decrypt, on this ``connection``.

    ``session_mark`` is the sender's session (in a group: sender key) as the store has it.
    """

    frame: Undecrypted
    connection: str
    session_mark: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionUnsynced:
    """A collection did not sync; ``versions`` are those in the store before any repair."""

    frame: Unsynced
    versions: Mapping[str, int] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True)
class VersionsSeen:
    """The app-state versions in the store; the answer to ``LookAtVersions``."""

    versions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CommandGiven:
    """An operator asks for something."""

    command: Command


@dataclass(frozen=True, slots=True)
class RestoreAllowed:
    """Nothing stands in the way of the restore in hand."""

    command_id: int


@dataclass(frozen=True, slots=True)
class CommandSettled:
    """The restore in hand was answered: it is ``done``, or it was refused."""

    command_id: int
    done: bool


@dataclass(frozen=True, slots=True)
class Released:
    """The lease is given up: the phone is somebody else's."""


@dataclass(frozen=True, slots=True)
class StoreLost:
    """Our database does not answer the worker; with a ``reason``: it did not take what this session wrote or asked."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoreBack:
    """Our database answers again, and the lease is ours."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The session is to end: with its worker or, for this ``reason``, to be another's.

    ``ours`` is False for a phone that is no worker's any more: its status is the backend's.
    """

    reason: str | None = None
    ours: bool = True


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another worker owns the session now."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimeOver:
    """The time that ``next_look`` named has come."""


WorkerEvent = Started | Resumed | Shutdown | LeaseLost | TimeOver | StoreLost | StoreBack
"""What the worker around the session tells."""

Event = (
    ClientEvent
    | ClientLost
    | MoveAsked
    | RequestAnswered
    | HandlerEvent
    | WorkerEvent
    | DeviceFound
    | ClientOpened
    | MessageUndecrypted
    | CollectionUnsynced
    | VersionsSeen
    | CommandGiven
    | RestoreAllowed
    | CommandSettled
    | Released
)
