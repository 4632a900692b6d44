"""How long a session was connected, of the time in which a worker looked. Silence is neither up nor down."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_sessions.health.event_kinds import UNSEEN, UP, EventKind


@dataclass(frozen=True, slots=True)
class Change:
    """An entry after which a session is connected, not connected, or not seen: of a kind in UP, DOWN or UNSEEN.

    ``down_seconds`` is how long it had been down before the entry could be written, as the database was away.
    """

    at: datetime
    kind: EventKind
    worker: Hashable
    down_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which a worker saw the session connected (``up``), or saw it not connected."""

    start: datetime
    end: datetime
    up: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """How many seconds a session was seen, and was seen connected."""

    observed: float = 0
    up: float = 0


def spans(changes: Iterable[Change], signs: Mapping[Hashable, datetime]) -> Iterator[Span]:
    """What the changes of one phone, in order, say of the time between them.

    ``signs`` has each worker's last sign of life. A worker that was killed writes nothing down: what it saw last holds
    until its last sign, and from there on nothing is known.
    """
    before: Change | None = None
    for change in changes:
        if before is not None:
            end = change.at if change.worker == before.worker else min(change.at, _last_sign(before, signs))
            yield from _between(before, end, change)
        before = change
    if before is not None:
        yield from _between(before, _last_sign(before, signs), None)


def seen(found: Iterable[Span], since: datetime, until: datetime) -> Seen:
    """The part of the spans that lies in a window, in seconds."""
    observed = up = 0.0
    for span in found:
        seconds = max((min(span.end, until) - max(span.start, since)).total_seconds(), 0)
        observed += seconds
        up += seconds if span.up else 0
    return Seen(observed, up)


def _last_sign(change: Change, signs: Mapping[Hashable, datetime]) -> datetime:
    return max(change.at, signs.get(change.worker, change.at))


def _between(before: Change, end: datetime, change: Change | None) -> Iterator[Span]:
    if before.kind in UNSEEN:
        return
    if before.kind not in UP:
        yield Span(before.at, end, up=False)
        return
    fell = end
    if change is not None and change.down_seconds and change.worker == before.worker:
        fell = max(before.at, change.at - timedelta(seconds=change.down_seconds))
    yield Span(before.at, fell, up=True)
    if fell < end:
        yield Span(fell, end, up=False)
