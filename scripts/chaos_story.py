"""What is done to the machines, by a seed, and what was told of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


@dataclass(frozen=True)
class Kind:
    """Something that can happen. ``weight``: how often, beside the others; ``seconds``: how long, at most."""

    name: str
    weight: int
    least: float = 0.0
    most: float = 0.0


FAILOVER = "failover"
KINDS = (
    Kind("kill worker", 4, 0.5, 9.0),
    Kind("stop worker", 3, 5.0, 20.0),
    Kind("kill host", 4),
    Kind("stop host", 3, 5.0, 20.0),
    Kind("kill handlers", 2),
    Kind("deploy", 4),
    Kind("rolling deploy", 1),
    Kind("restart Postgres, fast", 1),
    Kind("restart Postgres, immediate", 1),
    Kind(FAILOVER, 1, 0.5, 4.0),
    Kind("sever the database", 3),
    Kind("swallow the database", 3, 2.0, 15.0),
    Kind("half-open the database", 3),
    Kind("pull the cable", 3, 2.0, 15.0),
    Kind("cut WhatsApp", 2),
    Kind("WhatsApp ends connections", 3),
    Kind("replaced", 2),
    Kind("operator cleans", 2),
)


@dataclass(frozen=True)
class Happening:
    """One of them: when, which machine (its place), for how long, and a number for all other choices."""

    at: float
    kind: str
    machine: int
    seconds: float
    choice: float


def schedule(
    seed: int,
    seconds: float,
    machines: int,
    every: float,
    longest: float = 20.0,
    *,
    but: Collection[str] = (),
) -> list[Happening]:
    """What happens in so many seconds. Each kind once, as far as there is time, before any comes again.

    ``but``: what cannot happen here.
    """
    kinds = [kind for kind in KINDS if kind.name not in but]
    random, at = Random(seed), 0.0
    found: list[Happening] = []
    bag: list[Kind] = []
    while True:
        at += random.uniform(0.4 * every, 1.6 * every)
        if at >= seconds:
            return found
        if not bag:
            bag = [kind for kind in kinds for _ in range(kind.weight)] if found else [*kinds]
            random.shuffle(bag)
        kind = bag.pop()
        lasts = random.uniform(kind.least, min(kind.most, longest)) if kind.most else 0.0
        found.append(Happening(at, kind.name, random.randrange(machines), lasts, random.random()))


class Story:
    """Lines with their time, as they come."""

    def __init__(self, hear: Callable[[str], None] = lambda _line: None) -> None:
        self.began = time.monotonic()
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._hear = hear

    def tell(self, what: str) -> None:
        with self._lock:
            now = time.monotonic()
            line = f"{now - self.began:7.2f} s ({now:.2f})  {what}"
            self._lines.append(line)
            self._hear(line)

    def tail(self, count: int) -> Sequence[str]:
        with self._lock:
            return self._lines[-count:]
