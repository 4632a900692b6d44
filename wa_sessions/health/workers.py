"""What is to be said of a worker: whether it lives, and has phones."""

from dataclasses import dataclass
from enum import StrEnum

OLD_LEASE = 30.0  # seconds, of workers before migration 0007, which do not write down theirs
SILENT_AFTER = 0.4
"""Of its lease: a worker is renewed each fifth of it, so one renewal at least is missing."""


class WorkerState(StrEnum):
    """How it is with a worker. ``gone``: its process is known to have ended; ``dead``: silent for a whole lease."""

    SERVING = "serving"
    STANDING_BY = "standing_by"
    DRAINING = "draining"
    SILENT = "silent"
    DEAD = "dead"
    GONE = "gone"

    @property
    def lives(self) -> bool:
        """Whether it may still have phones."""
        return self not in (WorkerState.DEAD, WorkerState.GONE)


@dataclass(frozen=True, slots=True)
class Signs:
    """What is seen of a worker. Times are seconds; ``lease`` is None for one of a version that does not tell it.

    ``killed``: its process was on this machine, and is not there any more.
    """

    silent_for: float
    lease: float | None
    phones: int
    draining: bool = False
    killed: bool = False


def state_of(signs: Signs) -> WorkerState:
    """What that means.

    >>> [str(state_of(Signs(silent, 5.0, phones=3))) for silent in (0.9, 3.0, 7.0)]
    ['serving', 'silent', 'dead']
    """
    lease = signs.lease or OLD_LEASE
    if signs.killed:
        return WorkerState.GONE
    if signs.silent_for >= lease:
        return WorkerState.DEAD
    if signs.silent_for > lease * SILENT_AFTER:
        return WorkerState.SILENT
    if signs.draining:
        return WorkerState.DRAINING
    return WorkerState.SERVING if signs.phones else WorkerState.STANDING_BY
