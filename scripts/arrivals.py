"""The message handler of ``bench_fleet.py``: it does nothing but note when a message has reached it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wa_sessions.worker.message import IncomingMessage

VARIABLE = "FLEET_ARRIVALS"  # the file that it is noted in, one write a message
_FILE = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND) if VARIABLE in os.environ else -1


def note(message: IncomingMessage) -> None:
    """For ``--on-message``."""
    write(message.text)


def write(text: str) -> None:
    """Note a text, and the time of the monotonic clock."""
    os.write(_FILE, f"{text}\t{time.monotonic()}\n".encode())
