"""Waiting for what other threads and processes report, without sleeping and looking again."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
PATIENCE = 120.0
"""Seconds for what is to happen. It is seen at once, so this is for a machine that has much else to do."""


class Record(Generic[ItemT]):
    """A growing list that one thread writes and others wait upon."""

    def __init__(self) -> None:
        self._items: list[ItemT] = []
        self._changed = threading.Condition()

    def add(self, item: ItemT) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def mark(self) -> int:
        """A place to look from later: only what comes after now."""
        with self._changed:
            return len(self._items)

    def since(self, mark: int = 0) -> list[ItemT]:
        with self._changed:
            return self._items[mark:]

    def wait(
        self, matches: Callable[[ItemT], bool], *, since: int = 0, count: int = 1, timeout: float = PATIENCE
    ) -> ItemT:
        """The ``count``-th item from ``since`` on that matches, as soon as there is one."""
        deadline, found, at = time.monotonic() + timeout, 0, since
        with self._changed:
            while True:
                for item in self._items[at:]:
                    at += 1
                    found += bool(matches(item))
                    if found == count:
                        return item
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    last = "\n".join(str(item)[:300] for item in self._items[-12:])
                    raise TimeoutError(f"{found} of {count} within {timeout:g} s; the last lines:\n{last}")
