"""The counters of a phone that a Node backend runs, as its logs tell: what is counted of them, and what is reset.

While the backend writes counter lines of its own, they are what counts. Newer ones do not: then a message counts by the
design's rule, one error when a retried copy fails too. What decrypts is in no log, so it is a later connection that
resets those.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import EventSource
from wa_sessions.health.events.keys import BackendClosed, CounterReset, ErrorCounted, SessionClosed
from wa_sessions.health.limits import ErrorKind, Limits

SILENT_AFTER = timedelta(minutes=1)
"""A message that fails so long after the last counter line shows that the backend writes none any more."""


_RESET = 2


@dataclass(frozen=True, slots=True)
class CounterLine:
    """The backend says that its counter stands at ``number``; 0 is a reset."""

    at: datetime
    kind: ErrorKind
    number: int


@dataclass(frozen=True, slots=True)
class BackendClose:
    """The backend closed the session; at a limit, with the kind of error, and its last counter line that was read.

    Where that is below the limit, the last one stands in a log that was not read, and how many there were is not known.
    """

    at: datetime
    reason: str
    error_kind: ErrorKind | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class FailedCopy:
    """A copy of a message did not authenticate. ``message`` stands for its id, ``sender`` is an address."""

    at: datetime
    message: int
    sender: str


@dataclass(frozen=True, slots=True)
class Counters:
    """What stands in a phone's counters. ``own_lines_at``: the backend's last counter line, while it writes any."""

    bad_mac: int = 0
    bad_decrypt: int = 0
    counted_senders: frozenset[str] = frozenset()
    last_error_at: datetime | None = None
    last_error_kind: ErrorKind | None = None
    own_lines_at: datetime | None = None

    def errors(self, kind: ErrorKind) -> int:
        """The counter of one kind."""
        return self.bad_mac if kind is ErrorKind.BAD_MAC else self.bad_decrypt


@dataclass(frozen=True, slots=True)
class LogEvent:
    """An event for the history, as logs tell it."""

    at: datetime
    detail: ErrorCounted | CounterReset | SessionClosed | BackendClosed

    @property
    def kind(self) -> EventKind:
        """What happened, in a word."""
        return self.detail.kind


@dataclass(frozen=True, slots=True)
class Observed:
    """The counters now, the history in order, and the messages to remember: whether each was counted."""

    counters: Counters
    entries: tuple[LogEvent, ...]
    messages: Mapping[int, tuple[FailedCopy, bool]]


def observe(
    before: Counters,
    lines: Sequence[CounterLine | BackendClose],
    copies: Iterable[FailedCopy],
    known: Mapping[int, bool],
    limits: Limits,
    connected_at: datetime | None,
) -> Observed:
    """Fold what is new into a phone's counters.

    ``lines`` are in order for each kind of error. ``known``: messages that failed earlier, and whether they were
    counted. ``connected_at``: the phone's last connection.
    """
    counters, entries = before, list[LogEvent]()
    for line in lines:
        if isinstance(line, BackendClose):
            entries.append(_closed(line, limits))
        else:
            counters = _told(counters, line, limits, entries)
    copies = sorted(copies, key=lambda copy: copy.at)
    spoken = counters.own_lines_at
    if spoken is not None and copies and copies[-1].at > spoken + SILENT_AFTER:
        copies = [copy for copy in copies if copy.at > spoken + SILENT_AFTER]
        counters = replace(counters, own_lines_at=None)
    messages: dict[int, tuple[FailedCopy, bool]] = {}
    if counters.own_lines_at is None:
        counters = _connected(counters, connected_at, entries)
        for copy in copies:
            counted = messages[copy.message][1] if copy.message in messages else known.get(copy.message)
            stale = connected_at is not None and copy.at <= connected_at
            if counted is False and not stale:
                counters = _count(counters, copy, limits, entries)
            messages[copy.message] = copy, counted is not None
    return Observed(counters, tuple(_in_order(entries, before)), messages)


def _in_order(entries: Iterable[LogEvent], before: Counters) -> list[LogEvent]:
    """Causes before what they bring: an error, the close at its limit, the reset.

    A line whose time has no fraction may have been written at any moment of that second: what an error of the same
    second has brought is then given the error's time.
    """
    causes = [before.last_error_at] if before.last_error_at else []
    timed: list[LogEvent] = []
    for entry in sorted(entries, key=_rank):
        at = entry.at if entry.kind is EventKind.ERROR_COUNTED else _after(causes, entry.at)
        timed.append(replace(entry, at=at))
        if _rank(entry) < _RESET:
            causes.append(at)
    return sorted(timed, key=lambda entry: (entry.at, _rank(entry)))


def _rank(entry: LogEvent) -> int:
    """At one time: errors, then closes, then the resets that they bring."""
    return {EventKind.ERROR_COUNTED: 0, EventKind.COUNTER_RESET: _RESET}.get(entry.kind, 1)


def _after(causes: Iterable[datetime], at: datetime) -> datetime:
    if at.microsecond:
        return at
    return max((cause for cause in causes if at <= cause < at + timedelta(seconds=1)), default=at)


def _told(counters: Counters, line: CounterLine, limits: Limits, entries: list[LogEvent]) -> Counters:
    """The backend's counter is what it says."""
    if line.number:
        entries.append(LogEvent(line.at, _counted(line.kind, line.number, limits)))
        if counters.last_error_at is None or line.at >= counters.last_error_at:
            counters = replace(counters, last_error_at=line.at, last_error_kind=line.kind)
    elif counters.errors(line.kind):
        entries.append(_reset(line.at, line.kind))
    counters = replace(counters, own_lines_at=max(line.at, counters.own_lines_at or line.at))
    if line.kind is ErrorKind.BAD_MAC:
        return replace(counters, bad_mac=line.number, counted_senders=frozenset())
    return replace(counters, bad_decrypt=line.number)


def _connected(counters: Counters, at: datetime | None, entries: list[LogEvent]) -> Counters:
    """A connection after the last error resets both counters."""
    if at is None or counters.last_error_at is None or at <= counters.last_error_at:
        return counters
    entries += [_reset(at, kind) for kind in ErrorKind if counters.errors(kind)]
    return replace(counters, bad_mac=0, bad_decrypt=0, counted_senders=frozenset())


def _count(counters: Counters, copy: FailedCopy, limits: Limits, entries: list[LogEvent]) -> Counters:
    account = copy.sender.split(".")[0]
    again = limits.scope == "sender" and account in counters.counted_senders
    counters = replace(
        counters,
        bad_mac=counters.bad_mac + (not again),
        counted_senders=counters.counted_senders | {account},
        last_error_at=copy.at,
        last_error_kind=ErrorKind.BAD_MAC,
    )
    entries.append(LogEvent(copy.at, _counted(ErrorKind.BAD_MAC, counters.bad_mac, limits, copy.sender)))
    return counters


def _closed(line: BackendClose, limits: Limits) -> LogEvent:
    kind = line.error_kind
    if kind is None:
        return LogEvent(line.at, BackendClosed(line.reason, EventSource.LOGS))
    count = line.count if line.count is not None and line.count >= limits.of(kind) else None
    return LogEvent(line.at, SessionClosed(kind, count, count, line.reason, EventSource.LOGS))


def _counted(kind: ErrorKind, count: int, limits: Limits, sender: str | None = None) -> ErrorCounted:
    return ErrorCounted(kind, count, limits.of(kind), sender=sender, source=EventSource.LOGS)


def _reset(at: datetime, kind: ErrorKind) -> LogEvent:
    return LogEvent(at, CounterReset(kind, EventSource.LOGS))
