"""A look into session hosts: what they have told the worker, whatever becomes of them then.

Hosts keep the whole paths of PYTHONPATH and nothing else that could tell them what to do, so the hook stands in a
folder of its own and writes beside itself. The emulator's own hook runs it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wa_sessions.worker.frames import ProtocolError
from wa_sessions.worker.hosts import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOOK = """
import os, sys

if "wa_sessions.worker.hosts.main" in sys.orig_argv:
    write, here = os.write, os.path.dirname(__file__)
    record = os.open(f"{here}/{os.getpid()}.told", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write_and_record(descriptor, data):
        written = write(descriptor, data)
        if b'"MessageArrived"' in bytes(data):
            write(record, data[:written])
        return written

    os.write = write_and_record
"""


def install(folder: Path, more: str = "") -> Path:
    """Make the hook in a new folder, which is to stand on the PYTHONPATH of a worker; ``more`` is run by it too."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK + more)
    return folder


def told(folder: Path) -> Iterator[str]:
    """The texts of the messages that hosts have written into their pipes, each as often as it was."""
    for record in folder.glob("*.told"):
        for line in record.read_bytes().splitlines(keepends=True):
            with contextlib.suppress(ProtocolError):  # a host was killed while it wrote this
                frame = protocol.decode(line)
                if isinstance(frame, protocol.MessageArrived):
                    yield frame.message.text
