"""What is told of message handlers, of the worker that runs a phone, and of the history itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import LARGEST, EventDetail


@dataclass(frozen=True, slots=True)
class HandlerFailed(EventDetail):
    """The message handler failed with a message, for the first time with that one."""

    KIND: ClassVar = EventKind.HANDLER_FAILED
    message_id: str | None
    error: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class HandlerSlow(EventDetail):
    """The message handler takes more than 5 s for a message, while others wait."""

    KIND: ClassVar = EventKind.HANDLER_SLOW
    message_id: str | None
    seconds: float | None
    waiting: int | None


@dataclass(frozen=True, slots=True)
class HandlerEnded(EventDetail):
    """The handler's process ended, with the message in hand where one is named."""

    KIND: ClassVar = EventKind.HANDLER_ENDED
    message_id: str | None = None
    error: str | None = None
    seconds: float | None = None
    waiting: int | None = None


@dataclass(frozen=True, slots=True)
class HandlerUnfinished(EventDetail):
    """With `--inbox memory`: the worker ended before the handler had finished so many messages."""

    KIND: ClassVar = EventKind.HANDLER_UNFINISHED
    waiting: int | None


@dataclass(frozen=True, slots=True)
class HandlerDead(EventDetail):
    """A message was set aside after `--handler-attempts` failures."""

    KIND: ClassVar = EventKind.HANDLER_DEAD
    message_id: str | None
    error: str | None
    attempts: int | None


@dataclass(frozen=True, slots=True)
class Taken(EventDetail):
    """A worker (host/pid) began to run it that did not run it before; `from`: the worker before, as far as its row is
    there still; `killed`: its process was killed; `silent_seconds`: or nothing had been heard of it for so long
    (neither: it had given the phone up)."""

    KIND: ClassVar = EventKind.TAKEN
    worker: str | None
    from_: str | None = None
    killed: bool | None = None
    silent_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Fault(EventDetail):
    """wa-sessions itself failed with this phone, and went on."""

    KIND: ClassVar = EventKind.FAULT
    reason: str | None


@dataclass(frozen=True, slots=True)
class Faulted(EventDetail):
    """wa-sessions itself failed with this phone five times in ten minutes, and let it go."""

    KIND: ClassVar = EventKind.FAULTED
    reason: str | None


@dataclass(frozen=True, slots=True)
class Stopped(EventDetail):
    """The worker ended gracefully, or let the phone go, for a `reason`."""

    KIND: ClassVar = EventKind.STOPPED
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryPruned(EventDetail):
    """Older events went ([retention](../monitoring/README.md#retention)); `totals`: of each kind, how often and how
    many seconds; `until`: when the newest of them was written."""

    KIND: ClassVar = EventKind.HISTORY_PRUNED
    totals: Mapping[str, Any] | None
    until: str | None

    @property
    def events(self) -> int:
        """How many went."""
        times = [part[0] for part in (self.totals or {}).values() if isinstance(part, list) and part]
        return sum(int(one) for one in times if isinstance(one, int | float) and abs(one) < LARGEST)


HandlerDetail = HandlerFailed | HandlerSlow | HandlerEnded | HandlerUnfinished | HandlerDead
WorkerDetail = HandlerDetail | Taken | Fault | Faulted | Stopped | HistoryPruned
