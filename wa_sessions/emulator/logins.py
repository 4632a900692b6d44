"""Who was logged in when: a record that tells whether a device ever had two sockets at a time."""

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

LOGINS_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Login:
    """A device's connection from its login on. Times are of ``time.monotonic``.

    ``heard``: when the client's last stanza came; ``ended``: when its socket was gone, None while it is open.
    """

    device: str
    began: float
    heard: float
    ended: float | None = None


class Logins:
    """The newest logins of all devices, in order."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._all: dict[int, Login] = {}

    def begin(self, device: str) -> int:
        """A device has logged in; the number of its login."""
        number, now = next(self._numbers), time.monotonic()
        self._all[number] = Login(device, now, now)
        self._all.pop(number - LOGINS_KEPT, None)
        return number

    def hear(self, number: int) -> None:
        """A stanza came from the client."""
        if number in self._all:
            self._all[number] = replace(self._all[number], heard=time.monotonic())

    def end(self, number: int) -> None:
        """Its socket is gone."""
        if number in self._all:
            self._all[number] = replace(self._all[number], ended=time.monotonic())

    def so_far(self) -> Sequence[Login]:
        return tuple(self._all.values())


def overlapping(logins: Iterable[Login]) -> list[tuple[Login, Login]]:
    """Pairs of logins of one device of which the second began while the first one's socket was open."""
    found: list[tuple[Login, Login]] = []
    open_at: dict[str, list[Login]] = {}
    for login in sorted(logins, key=lambda one: one.began):
        still = [one for one in open_at.get(login.device, ()) if one.ended is None or one.ended > login.began]
        found += [(one, login) for one in still]
        open_at[login.device] = [*still, login]
    return found
