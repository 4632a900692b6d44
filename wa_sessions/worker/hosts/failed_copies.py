"""Which log line says why a message did not decrypt.

whatsmeow writes the reason into a line and tells the message in an event that comes later (neonize 0.5.2 queues up to
100 events). The line holds an id that the sender made, so the id is taken from the event, and the line is looked for.
"""

import re
from collections import OrderedDict

from wa_sessions.health.classify import FAILED_MESSAGE, exhausted_id

_LINES = 200  # lines that wait for their event: twice what neonize queues
_SIZE = 4 << 20  # characters of them: an id may have a million
_IDS = 500  # messages that are known to have failed
_ID_SIZE = 4_096  # characters of one of those ids; WhatsApp's own have about 32
_ANOTHER_SOURCE = re.compile(r" from [^\s@]{0,64}@[^\s@]{1,64}(?: in [^\s@]{0,64}@?[^\s@]{1,64})?: ")
"""The end of an id that goes on: then the line is of a longer id, which was made to look like this message's line."""


class FailedCopies:
    """The lines of one client that wait for their events. One lock around it is the caller's matter."""

    def __init__(self) -> None:
        self._lines: OrderedDict[int, str] = OrderedDict()
        self._numbers = 0
        self._size = 0
        self._failed: OrderedDict[str, None] = OrderedDict()
        self._exhausted: list[str] = []

    def line(self, line: str) -> list[str]:
        """Take a log line; returns the ids that no sender is asked for any more."""
        if line.startswith(FAILED_MESSAGE):
            self._keep(line)
        elif (message_id := exhausted_id(line)) is not None and len(message_id) <= _ID_SIZE:
            self._exhausted = [*self._exhausted, message_id][-_LINES:]
            return self._ripe()
        return []

    def event(self, message_id: str, source: str) -> str | None:
        """Why this copy did not decrypt, if a line says so. ``source`` is whatsmeow's ``SourceString``."""
        self._remember(message_id)
        beginning = f"{FAILED_MESSAGE}{message_id} from {source}: "
        for number, line in self._lines.items():
            if line.startswith(beginning) and not _ANOTHER_SOURCE.search(line, len(beginning)):
                self._forget(number)
                return line.removeprefix(beginning)
        return None

    def after_event(self) -> list[str]:
        """The ids that no sender is asked for any more, now that an event was told."""
        return self._ripe()

    def _ripe(self) -> list[str]:
        """A message's last words come after all of its copies; an id that never failed is somebody's invention."""
        waiting = [one for one in self._exhausted if self._awaited(one)]
        ripe = [one for one in self._exhausted if one not in waiting and one in self._failed]
        self._exhausted = waiting
        return ripe

    def _awaited(self, message_id: str) -> bool:
        beginning = f"{FAILED_MESSAGE}{message_id} from "
        return any(line.startswith(beginning) for line in self._lines.values())

    def _keep(self, line: str) -> None:
        self._numbers += 1
        self._lines[self._numbers] = line
        self._size += len(line)
        while len(self._lines) > _LINES or self._size > _SIZE:
            self._forget(next(iter(self._lines)))

    def _forget(self, number: int) -> None:
        self._size -= len(self._lines.pop(number))

    def _remember(self, message_id: str) -> None:
        if len(message_id) > _ID_SIZE:
            return
        self._failed[message_id] = None
        self._failed.move_to_end(message_id)
        while len(self._failed) > _IDS:
            self._failed.popitem(last=False)
