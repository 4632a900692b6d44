"""Which events of a phone's history are told together, and which can be undone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import UnknownDetail
from wa_sessions.health.events.every import Detail

FEWEST = 3  # so many events in a row that are alike are told as one
LONGEST_PAUSE = timedelta(hours=1)
"""Events further apart than that are told apart."""

MESSAGES = (EventKind.MESSAGE_PENDING, EventKind.MESSAGE_RECOVERED, EventKind.MESSAGE_LOST)
CONNECTION = (
    EventKind.DISCONNECTED,
    EventKind.STREAM_ERROR,
    EventKind.CONNECTED,
    EventKind.NO_ANSWER,
    EventKind.ANSWERS_AGAIN,
)
_ALONE = (
    EventKind.UNREACHABLE,
    EventKind.CRASHED,
    EventKind.PAIRING_FAILED,
    EventKind.HANDLER_FAILED,
    EventKind.HANDLER_SLOW,
    EventKind.HANDLER_DEAD,
)
_ALIKE: Mapping[str, tuple[EventKind, ...]] = (
    dict.fromkeys(MESSAGES, MESSAGES) | dict.fromkeys(CONNECTION, CONNECTION) | {kind: (kind,) for kind in _ALONE}
)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """An event of one phone's history. ``undo`` is the operation that ``restore`` can undo, if there is one."""

    at: datetime
    detail: Detail | UnknownDetail
    undo: str | None = None

    @property
    def alike(self) -> tuple[EventKind, ...] | None:
        """The kinds of event that it may be told with."""
        return _ALIKE.get(self.detail.kind)


def undoable_operation(kind: str, operation: str | None) -> str | None:
    """The operation that an event began and that can be undone; one that it ended, or only names, cannot."""
    return None if kind in (EventKind.RESTORED, EventKind.UNLINKED) else operation


def runs(entries: Iterable[TimelineEntry]) -> Iterator[tuple[TimelineEntry, ...]]:
    """The entries in order, those that are alike together where there are enough of them in a row."""
    run: list[TimelineEntry] = []
    for entry in entries:
        if run and not _goes_on(run[-1], entry):
            yield from _told(run)
            run = []
        run.append(entry)
    yield from _told(run)


def _goes_on(before: TimelineEntry, entry: TimelineEntry) -> bool:
    near = entry.at - before.at <= LONGEST_PAUSE and entry.at.date() == before.at.date()
    return near and entry.alike is not None and entry.alike == before.alike and not (entry.undo or before.undo)


def _told(run: list[TimelineEntry]) -> Iterator[tuple[TimelineEntry, ...]]:
    if len(run) < FEWEST:
        yield from ((entry,) for entry in run)
    else:
        yield tuple(run)
