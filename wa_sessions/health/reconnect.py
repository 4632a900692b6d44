"""What follows when a session's connection has ended: stay down, come back, or wait."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never


class End(StrEnum):
    """Why a session has no connection any more."""

    REPLACED = "replaced"
    LOGGED_OUT = "logged_out"
    OUTDATED = "outdated"
    LOGIN_REFUSED = "login_refused"
    BANNED = "banned"
    STORE_DOWN = "store_down"
    UNREACHABLE = "unreachable"
    CRASHED = "crashed"


class State(StrEnum):
    """What a session is doing, finer than the backend's six statuses; ``stats`` shows it."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    NO_ANSWER = "no_answer"
    PAIRING = "pairing"
    PAIRING_EXPIRED = "pairing_expired"
    WAITING_FOR_STORE = "waiting_for_store"
    REPLACED = "replaced"
    LOGGED_OUT = "logged_out"
    OUTDATED = "outdated"
    LOGIN_REFUSED = "login_refused"
    BANNED = "banned"
    UNREACHABLE = "unreachable"
    CRASHED = "crashed"
    FORCE_CLOSED = "force_closed"
    STOPPED = "stopped"
    FAULTED = "faulted"


class Status(StrEnum):
    """``"OrganizationPhone".status`` as the Node backend has it."""

    PENDING = "pending"
    LOADING = "loading"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTED = "disconnected"
    LOGGED_OUT = "logged_out"


UP_STATUSES: Final = frozenset({Status.LOADING, Status.CONNECTED, Status.RECONNECTING})
"""The statuses of a phone that has a WebSocket, or gets one by itself."""

DOWN_STATUSES: Final = frozenset({Status.PENDING, Status.DISCONNECTED, Status.LOGGED_OUT})
"""Those of a phone of which it is known that nothing runs it. A status that is in neither may be of one that runs."""


@dataclass(frozen=True, slots=True)
class StayDown:
    """Nothing connects again by itself."""

    state: State
    status: Status


@dataclass(frozen=True, slots=True)
class ComeBack:
    """Connect again: after a pause that grows with each attempt, or not before ``not_before``."""

    state: State
    status: Status
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class WaitForStore:
    """Connect again as soon as the database answers."""

    state: State = State.WAITING_FOR_STORE
    status: Status = Status.RECONNECTING


Next = StayDown | ComeBack | WaitForStore


def after(end: End, *, ban_expires_at: datetime | None = None) -> Next:
    """What follows from ``end``. A ban without an expiry is for ever as far as we may know: the session stays down."""
    match end:
        case End.REPLACED:
            return StayDown(State.REPLACED, Status.DISCONNECTED)
        case End.LOGGED_OUT:
            return StayDown(State.LOGGED_OUT, Status.LOGGED_OUT)
        case End.OUTDATED:
            return StayDown(State.OUTDATED, Status.DISCONNECTED)
        case End.LOGIN_REFUSED:
            return StayDown(State.LOGIN_REFUSED, Status.DISCONNECTED)
        case End.BANNED if ban_expires_at is not None:
            return ComeBack(State.BANNED, Status.DISCONNECTED, not_before=ban_expires_at)
        case End.BANNED:
            return StayDown(State.BANNED, Status.DISCONNECTED)
        case End.STORE_DOWN:
            return WaitForStore()
        case End.CRASHED:
            return ComeBack(State.CRASHED, Status.RECONNECTING)
        case End.UNREACHABLE:
            return ComeBack(State.UNREACHABLE, Status.RECONNECTING)
        case _:
            assert_never(end)
