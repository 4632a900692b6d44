"""Messages that hosts told of and that do not stand in the inbox yet, in the order in which they came."""

from collections import Counter, deque
from dataclasses import dataclass

from wa_sessions.db.inbox import InboxMessage
from wa_sessions.worker.message import IncomingMessage

BATCH = 500
"""Messages at most that are written in one transaction."""

BATCH_BYTES = 8 << 20
"""Of those messages together; one alone may have more."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message that is to be written, and the client whose host waits for that."""

    message: InboxMessage
    incoming: IncomingMessage
    client: int


class Unwritten:
    """They are written in batches: half as many after each that failed, twice as many after each that did not.

    So one of them that Postgres cannot hold is found, and of those for which there is no room as many go as there is.
    """

    def __init__(self) -> None:
        self._told: deque[Told] = deque()
        self._most = BATCH

    def __len__(self) -> int:
        return len(self._told)

    @property
    def by_phone(self) -> Counter[int]:
        """How many there are of each phone."""
        return Counter(one.message.phone_id for one in self._told)

    def add(self, one: Told) -> None:
        """It was told."""
        self._told.append(one)

    def batch(self) -> tuple[Told, ...]:
        """Those that are to be written next."""
        batch: list[Told] = []
        size = 0
        for one in self._told:
            size += len(one.message.raw) + len(one.message.text)
            if batch and (len(batch) == self._most or size > BATCH_BYTES):
                break
            batch.append(one)
        return tuple(batch)

    def drop(self, count: int) -> None:
        """The first ones are written, or cannot be."""
        for _ in range(count):
            self._told.popleft()
        if count:
            self._most = min(BATCH, 2 * self._most)

    def failed(self, count: int) -> None:
        """A batch of so many could not be written."""
        self._most = max(1, count // 2)
