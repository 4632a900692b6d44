"""What is to be said of a worker: whether it lives, which phones it shares, and what it is called."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

OLD_LEASE = 30.0  # seconds, of workers before migration 0007, which do not write down theirs
SILENT_AFTER = 0.4
"""Of its lease: a worker is renewed each fifth of it, so one renewal at least is missing."""
HOSTS_END = 0.7
"""Of its lease: after such a silence its session hosts have ended themselves, and no session of it is connected."""
_ID_DIGITS = 8  # of an id, where it has to tell workers apart
_FEWEST_DIGITS = 4  # of an id alone, so that a pid that was cut off means no worker


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


def has_hosts(signs: Signs) -> bool:
    """Whether processes with sessions may run: they end with their worker, and by themselves when it is silent."""
    if signs.killed:
        return False
    return signs.silent_for < (signs.lease * HOSTS_END if signs.lease else OLD_LEASE)


def serves(scope: str | None, organization_id: int) -> bool:
    """Whether a worker of that scope takes phones of an organization; one that runs named phones takes no others.

    >>> serves("all", 3), serves("org:3", 3), serves("org:31", 3), serves(None, 3)
    (True, True, False, False)
    """
    return scope in ("all", f"org:{organization_id}")


def scope_words(scope: str | None, phones: int) -> str:
    """A scope for people.

    >>> scope_words("all", 9), scope_words("org:3", 9), scope_words(None, 2), scope_words(None, 0)
    ('all', 'org 3', '2 named', 'named')
    """
    if scope is None:
        return f"{phones} named" if phones else "named"
    return scope.replace(":", " ")


def names(workers: Iterable[tuple[UUID, str, int]]) -> dict[UUID, str]:
    """What workers (id, host, pid) are called: host and pid, and the id's beginning where that is not one alone.

    >>> list(names([(UUID(int=1 << 124), "msg1", 7), (UUID(int=2 << 124), "msg1", 7), (UUID(int=3), "a", 7)]).values())
    ['msg1/7#10000000', 'msg1/7#20000000', 'a/7']
    """
    workers = list(workers)
    times = Counter((host, pid) for _, host, pid in workers)
    return {
        id_: f"{host}/{pid}" + (f"#{id_.hex[:_ID_DIGITS]}" if times[host, pid] > 1 else "")
        for id_, host, pid in workers
    }


def meant(word: str, workers: Iterable[tuple[UUID, str, int]]) -> list[UUID]:
    """The workers (id, host, pid) that a word means: host/pid, host/pid#id, a pid, or the beginning of an id.

    >>> known = [(UUID(int=4242 << 112), "msg1", 4242), (UUID(int=9), "msg2", 4242), (UUID(int=10), "msg2", 7)]
    >>> [len(meant(word, known)) for word in ("msg2/4242", "4242", "msg2/4242#0", "0000", "7", "msg2", "")]
    [1, 2, 1, 2, 1, 0, 0]
    """
    word, workers = word.strip(), list(workers)
    exact = [id_ for id_, host, pid in workers if word in (f"{host}/{pid}", str(pid))]
    return exact or [id_ for id_, host, pid in workers if _begins(id_, word, f"{host}/{pid}#")]


def _begins(id_: UUID, word: str, name: str) -> bool:
    fewest = 1 if word.startswith(name) else _FEWEST_DIGITS
    digits = word.removeprefix(name).lower().replace("-", "")
    return len(digits) >= fewest and id_.hex.startswith(digits)
