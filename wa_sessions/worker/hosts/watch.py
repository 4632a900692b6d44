"""What the kernel knows of a host, and whether it lives.

A host that was stopped (SIGSTOP) or whose threads do not run (a held GIL) keeps its sockets: WhatsApp goes on
delivering to nobody. Silence is counted in looks, not in seconds, so that a worker which slept itself blames nobody.
"""

import contextlib
import os
import resource
from dataclasses import dataclass
from pathlib import Path

LOOK_INTERVAL = 0.5
"""Seconds between two looks at a host."""

STOPPED_LOOKS = 2
"""Looks in a row at a stopped process before it is ended."""

SILENT_LOOKS = 20
"""Looks without a sign of life: 10 s, ten times the host's own interval, as a busy machine makes it late."""

LATE_LOOKS = 8
"""Looks without a sign of life after which its sessions are not called alive any more."""

FIRST_LOOKS = 120
"""The same before its first sign of life: it has Python and neonize to load, on a disk that may be slow."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Pulse:
    """Signs of life of one host."""

    silent: int = 0
    stopped: int = 0
    beaten: bool = False

    def beat(self) -> None:
        """A sign of life came."""
        self.silent, self.beaten = 0, True

    @property
    def alive(self) -> bool:
        """Whether a sign of life came of late, or none can have come yet."""
        return not self.beaten or self.silent <= LATE_LOOKS

    def look(self, state: str | None) -> str | None:
        """Count one look at the process, which is in this state (proc_pid_stat(5)); why it has to be ended, or None."""
        self.silent += 1
        self.stopped = self.stopped + 1 if state == "T" else 0
        if self.stopped >= STOPPED_LOOKS:
            return "its process was stopped by a signal"
        if self.silent >= (SILENT_LOOKS if self.beaten else FIRST_LOOKS):
            return f"its process gave no sign of life for {self.silent * LOOK_INTERVAL:.0f} s"
        return None


@dataclass(frozen=True, slots=True)
class Size:
    """What a process takes: memory in bytes (RSS), and open files against the limit that it has."""

    memory: int
    files: int
    files_limit: int


def process_state(pid: int) -> str | None:
    """One letter of proc_pid_stat(5), or None if there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
    return None


def process_size(pid: int) -> Size | None:
    """The size of a host, or None if it is gone. A host raises its limit of files to the hard one, as is ours."""
    with contextlib.suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return Size(pages * _PAGE, files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    return None
