"""The processes that a process has started."""

import contextlib

import psutil


def children(pid: int, running: str = "") -> list[int]:
    """Those that have not ended, of all its threads; with ``running`` those that have it in their command line."""
    found: list[int] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(running in word for word in child.cmdline()):
                    found.append(child.pid)
    return found
