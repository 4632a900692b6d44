"""A connection that does not wait for ever for a server which says nothing."""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import DictRow

T = TypeVar("T")


class Link(psycopg.Connection[DictRow]):
    """``deadline``: seconds without a word from the server, while a statement waits for one, that end the connection.

    The network's own timeouts do not see a middlebox that acknowledges what it then forgets. psycopg looks up from its
    wait ten times a second anyway (for Ctrl-C), so this needs no thread that watches.
    """

    deadline: float | None = None
    gave_up = False

    def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:
        """As psycopg does it; closes the connection and raises OperationalError when the server is silent too long."""
        return super().wait(gen if self.deadline is None else self._watched(gen, self.deadline), *arguments, **options)

    def _watched(self, gen: PQGen[T], deadline: float) -> Generator[Any, Any, T]:
        try:
            waits_for = next(gen)
            heard = time.monotonic()
            while True:
                if ready := (yield waits_for):
                    heard = time.monotonic()
                elif time.monotonic() - heard > deadline:
                    self.gave_up = True
                    self.close()
                    raise psycopg.OperationalError(f"the server did not answer for {deadline:g} s")
                waits_for = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
