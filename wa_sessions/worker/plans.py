"""What a session can be about to do, and what can be asked of it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wa_sessions.health.model import ErrorKind
from wa_sessions.health.reconnect import Next


@dataclass(frozen=True, slots=True)
class Connect:
    """Log in with the keys of ``device``; ``for_repair`` if only a repair had stopped the session."""

    device: str
    for_repair: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """Show QR codes for the length of the pairing window. ``detail`` says what went wrong before, if anything did."""

    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the session because a limit is reached, then pair anew."""

    kind: ErrorKind


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection has ended; ``next`` says what follows from that."""

    next: Next
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Connect again, or pair, at ``until``."""

    until: datetime


@dataclass(frozen=True, slots=True)
class StayDown:
    """Do nothing until an operator asks for something."""


@dataclass(frozen=True, slots=True)
class WriteDown:
    """Write what is queued, then go on."""

    then: "Plan"


@dataclass(frozen=True, slots=True)
class AwaitStore:
    """Wait until the database answers, then go on with ``then``, or from the beginning."""

    then: "Plan | None"


@dataclass(frozen=True, slots=True)
class Stop:
    """The worker ends."""


Plan = Connect | Pair | Close | Ended | Pause | StayDown | WriteDown | AwaitStore | Stop


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asked of this session through the database."""

    id: int
    verb: str
    actor: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The worker was told to end."""


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The worker's own connection to the database broke."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another worker owns the session now."""

    reason: str
