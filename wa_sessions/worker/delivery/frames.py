"""What the worker and a handler's process say to each other, over a socket of theirs."""

import signal
from dataclasses import dataclass

from wa_sessions.worker.frames import Codec
from wa_sessions.worker.message import IncomingMessage

LINE_LIMIT = 1 << 16
"""Bytes of a frame that comes from a handler's process."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The handler is there and takes messages."""


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such handler; ``error`` is for people. The process ends."""

    error: str


@dataclass(frozen=True, slots=True)
class Take:
    """The next message; ``Taken`` or ``Failed`` follows."""

    message: IncomingMessage


@dataclass(frozen=True, slots=True)
class Taken:
    """The handler has taken the message."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler failed: the name of an error's type, or how the command ended. Never a text of a message.

    ``transient``: whoever is behind it is away or busy; the message is not to blame, and any other would fail too.
    ``broken``: likewise, and the process ends: it is to be started anew, and to find out whether it can take messages.
    """

    error: str
    transient: bool = False
    broken: bool = False


FromHandler = Ready | Missing | Taken | Failed

CODEC = Codec(Ready, Missing, Take, Taken, Failed)


def status_words(code: int) -> str:
    """``exit status 3``, or a signal's name for a negative code (that of ``subprocess``)."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
