"""What happened to phones in a window of time, in figures that can be added up."""

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from wa_sessions.health.availability import Span, seen
from wa_sessions.health.event_kinds import CLOSES, ENDS, REPAIRED, EventKind
from wa_sessions.health.limits import ErrorKind

MOST_STEPS = 50
NODE_QR = "node_qr"
"""A close of which the Node backend's logs told: that shows its QR itself, and nobody here sees it scanned."""
_PAIRINGS = {
    EventKind.PAIRING_STARTED: "needed",
    EventKind.PAIRED: "scanned",
    EventKind.PAIRING_EXPIRED: "expired",
}
_MESSAGES = {EventKind.MESSAGE_RECOVERED: "recovered", EventKind.MESSAGE_LOST: "lost"}
_ERRORS = {f"{EventKind.ERROR_COUNTED}.{kind}": kind.value for kind in ErrorKind}
_REPAIRS = {kind: kind.removesuffix("_quarantined") for kind in REPAIRED}
_ENDS = {kind: str(kind) for kind in ENDS}
COUNTED = (*_ERRORS, *_REPAIRS, *CLOSES, *_PAIRINGS, *_MESSAGES, *_ENDS, EventKind.CONNECTED)
"""The kinds of entry that a figure is made of, with the kind of error behind a dot."""

_SIZES = tuple(timedelta(seconds=seconds) for seconds in (60, 300, 3_600, *(days * 86_400 for days in (1, 7, 28, 91))))


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a phone or many, in a step of the window or all of it.

    ``times`` has how often each kind of entry was written. ``seconds`` is how long the window is, times the phones;
    ``observed`` and ``up``, in seconds, how long somebody looked and how long a session was connected then.
    """

    times: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0
    observed: float = 0
    up: float = 0

    def __add__(self, other: "Figures") -> "Figures":
        times = Counter(self.times)
        times.update(other.times)
        return Figures(times, self.seconds + other.seconds, self.observed + other.observed, self.up + other.up)

    @property
    def availability(self) -> float | None:
        """The share of the observed time in which a session was connected; None where nobody observed."""
        return min(self.up / self.observed, 1.0) if self.observed else None

    @property
    def coverage(self) -> float:
        """The share of the window in which somebody observed."""
        return min(self.observed / self.seconds, 1.0) if self.seconds else 0.0

    @property
    def errors(self) -> dict[str, int]:
        """Counted errors by kind."""
        return self._by(_ERRORS)

    @property
    def repairs(self) -> dict[str, int]:
        """Repairs that took keys, by what they took."""
        return self._by(_REPAIRS)

    @property
    def closes(self) -> dict[str, int]:
        """Sessions closed, by why."""
        return self._by(CLOSES)

    @property
    def pairings(self) -> dict[str, int]:
        """How often a QR was needed, also after a close of the Node backend, was scanned, and waited in vain."""
        counted = self._by(_PAIRINGS)
        return counted | {"needed": counted["needed"] + self.times.get(NODE_QR, 0)}

    @property
    def messages(self) -> dict[str, int]:
        """Messages that did not decrypt, by how that ended."""
        return self._by(_MESSAGES)

    @property
    def ends(self) -> dict[str, int]:
        """Connections that ended, by why."""
        return self._by(_ENDS)

    @property
    def logins(self) -> int:
        """How often a session has logged in."""
        return self.times.get(EventKind.CONNECTED, 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values in one object."""
        return {
            "availability": self.availability,
            "observed_seconds": round(self.observed, 3),
            "up_seconds": round(self.up, 3),
            "errors": self.errors,
            "repairs": self.repairs,
            "closes": self.closes,
            "pairings": self.pairings,
            "messages": self.messages,
            "logins": self.logins,
            "connection_ends": self.ends,
        }

    def _by(self, names: Mapping[Any, str]) -> dict[str, int]:
        return {name: self.times.get(kind, 0) for kind, name in names.items()}


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time from ``starts[0]`` to ``until``, in steps of ``size``; the first and last may be shorter."""

    starts: tuple[datetime, ...]
    until: datetime
    size: timedelta

    @property
    def since(self) -> datetime:
        return self.starts[0]

    @property
    def steps(self) -> list[tuple[datetime, datetime]]:
        """Start and end of each step."""
        return list(itertools.pairwise([*self.starts, self.until]))


def window(since: datetime, until: datetime) -> Window:
    """The window in at most 50 steps, from a minute to a quarter of a year, that begin at midnight of ``since``'s zone
    or a whole number of steps after it."""
    size = next((size for size in _SIZES if (until - since) / size <= MOST_STEPS - 1), _SIZES[-1])
    midnight = since.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight + ((since - midnight) // size + 1) * size
    later = itertools.takewhile(lambda start: start < until, (first + n * size for n in itertools.count()))
    return Window((since, *later), until, size)


def figures(over: Window, counts: Iterable[tuple[int, str, int]], found: Sequence[Span]) -> list[Figures]:
    """One phone's figures of each step.

    ``counts`` has the step's number, the kind of entry, and how often; ``found`` is in order, and no span overlaps.
    """
    times = [Counter[str]() for _ in over.starts]
    for step, kind, number in counts:
        times[step][kind] += number
    begins, ends = [span.start for span in found], [span.end for span in found]
    made = []
    for counted, (since, until) in zip(times, over.steps, strict=True):
        observed = seen(found[bisect_left(ends, since) : bisect_right(begins, until)], since, until)
        made.append(Figures(counted, (until - since).total_seconds(), observed.observed, observed.up))
    return made


def total(parts: Iterable[Figures]) -> Figures:
    """All of them together."""
    return sum(parts, Figures())
