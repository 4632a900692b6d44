"""A connection that does not wait for ever for a server which says nothing."""

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import DictRow

T = TypeVar("T")


class Link(psycopg.Connection[DictRow]):
    """``deadline``: seconds without a word from the server, while a statement waits for one, that end the connection.

    The network's own timeouts do not see a middlebox that acknowledges what it then forgets. psycopg looks up from its
    wait ten times a second anyway (for Ctrl-C), so this needs no thread that watches. ``on_silence`` is called once
    for each statement that has waited for ``silent_after`` seconds.
    """

    deadline: float | None = None
    silent_after: float | None = None
    on_silence: Callable[[], None] | None = None
    gave_up = False

    def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:
        """As psycopg does it; closes the connection and raises OperationalError when the server is silent too long."""
        unwatched = self.deadline is None and self.silent_after is None
        return super().wait(gen if unwatched else self._watched(gen), *arguments, **options)

    def _watched(self, gen: PQGen[T]) -> Generator[Any, Any, T]:
        try:
            waits_for = next(gen)
            heard, told = time.monotonic(), False
            while True:
                if ready := (yield waits_for):
                    heard = time.monotonic()
                else:
                    told = self._silent_for(time.monotonic() - heard, told=told)
                waits_for = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _silent_for(self, seconds: float, *, told: bool) -> bool:
        """Do what is due; whether the silence was told of."""
        if self.deadline is not None and seconds > self.deadline:
            self.gave_up = True
            self.close()
            raise psycopg.OperationalError(f"the server did not answer for {self.deadline:g} s")
        if not told and self.on_silence is not None and self.silent_after is not None and seconds > self.silent_after:
            self.on_silence()
            return True
        return told
