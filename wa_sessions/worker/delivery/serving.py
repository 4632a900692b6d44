"""What the programs of handlers have in common: they die with the worker, and take one message after another.

Nothing here may import what is big: an operator pays for each process.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

from wa_sessions.worker.delivery.frames import CODEC, Failed, FromHandler, Missing, Ready, Take
from wa_sessions.worker.message import IncomingMessage

KILLED_FIRST = "500"
"""Of 1000, what the kernel adds to a handler's badness when memory runs out: it goes before the sessions do."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process ``by`` when its parent is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, by)


def die_first() -> None:
    """Have the kernel choose handlers when it lacks memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILLED_FIRST)


def serve(link: int, handle: Callable[[IncomingMessage], FromHandler]) -> None:
    """Hand over what comes on the socket ``link``, until the worker closes it, or the handler turns out to be broken.

    Only this process has the socket.
    """
    os.set_inheritable(link, False)
    tell(link, Ready())
    with open(link, "rb", closefd=False) as frames:
        for line in frames:
            frame = CODEC.decode(line)
            assert isinstance(frame, Take)
            answer = handle(frame.message)
            tell(link, answer)
            if isinstance(answer, Failed) and answer.broken:
                return


def refuse(link: int, error: str) -> None:
    """Say that there is no such handler."""
    tell(link, Missing(error[:4096]))


def tell(link: int, frame: FromHandler) -> None:
    """Send one frame to the worker."""
    view = memoryview(CODEC.encode(frame))
    while view:
        view = view[os.write(link, view) :]
