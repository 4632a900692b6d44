"""Messages of a Node backend's phone that fail again and again for reasons that count towards no limit."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

STANDS = timedelta(minutes=15)
"""For so long what failed says something about now."""

_ONE_COPY = timedelta(milliseconds=250)
"""Within this time both parts of one copy of a group's message fail: the sender's key, and what it is for."""


class NotCounted(StrEnum):
    """Why a copy of a message did not decrypt, where that counts towards no limit; the first is told first."""

    INVALID_PREKEY = "invalid_prekey"
    NO_SESSION = "no_session"
    NO_SENDER_KEY = "no_sender_key"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a message that failed. ``message`` stands for its id; ``reason`` is None for Bad MAC.

    ``timed``: its line says when it failed.
    """

    at: datetime
    message: int
    reason: NotCounted | None
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Failing:
    """A message of which a copy failed uncounted, last for ``reason``. ``again``: another of its copies failed too."""

    at: datetime
    reason: NotCounted
    again: bool


@dataclass(frozen=True, slots=True)
class Uncounted:
    """How many messages failed again lately, and why most of them did."""

    messages: int
    reason: NotCounted
    for_reason: int

    @classmethod
    def of(cls, messages: Mapping[NotCounted, int]) -> "Uncounted | None":
        """From how many there are of each reason; None where there are none."""
        if not any(messages.values()):
            return None
        reason = max(NotCounted, key=lambda one: messages.get(one, 0))
        return cls(sum(messages.values()), reason, messages[reason])


def failing(copies: Iterable[Copy], known: Mapping[int, Failing], failed_before: Collection[int]) -> dict[int, Failing]:
    """The messages that these copies are of, but for those that only ever were Bad MAC.

    ``known``: those of earlier runs. ``failed_before``: messages of which a copy was Bad MAC in an earlier run.
    """
    found: dict[int, Failing] = {}
    failed = set(failed_before)
    last: dict[int, datetime] = {}
    for copy in sorted(copies, key=lambda one: one.at):
        earlier = last.get(copy.message)
        if copy.timed and earlier and copy.at - earlier <= _ONE_COPY:
            continue
        last[copy.message] = copy.at
        before = found.get(copy.message) or known.get(copy.message)
        if before is not None:
            found[copy.message] = replace(before, at=copy.at, reason=copy.reason or before.reason, again=True)
        elif copy.reason is not None:
            found[copy.message] = Failing(copy.at, copy.reason, copy.message in failed)
        failed.add(copy.message)
    return found
