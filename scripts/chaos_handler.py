"""The message handler of ``chaos.py``: it takes its time, and notes the beginning and the end."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wa_sessions.worker.message import IncomingMessage

NOTES = "CHAOS_NOTES"  # the file that it is noted in, one write a line
SECONDS = "CHAOS_SECONDS"  # how long each message takes
_MACHINE = socket.gethostname()


def handle(message: IncomingMessage) -> None:
    """For ``--on-message``."""
    note("begun", message)
    time.sleep(float(os.environ[SECONDS]))
    note("done", message)


def note(what: str, message: IncomingMessage) -> None:
    """Add a line: what, when on the monotonic clock, where, the message's id and text."""
    line = f"{what}\t{time.monotonic():.4f}\t{_MACHINE}\t{message.id}\t{message.text}\n"
    file = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
