"""Which process it is: told apart from every other one, also in containers and after a pid was used again."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process. ``started``: clock ticks since the boot (field 22 of proc(5)'s stat); None is what is not known."""

    host: str
    pid: int
    boot_id: str | None = None
    pid_namespace: str | None = None
    started: int | None = None

    @classmethod
    def own(cls) -> Self:
        """This process."""
        pid, (_, started) = os.getpid(), _stat(os.getpid())
        return cls(socket.gethostname(), pid, _boot_id(), _pid_namespace(), started)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.host}/{self.pid}"

    def is_here(self) -> bool:
        """Whether it is, or was, a process of this machine and container; of others nothing is known from here."""
        if None in (self.boot_id, self.pid_namespace, self.started):
            return False
        return (self.boot_id, self.pid_namespace) == (_boot_id(), _pid_namespace())

    def is_gone(self) -> bool:
        """Whether it is known from here to have ended."""
        if not self.is_here():
            return False
        _, started = _stat(self.pid)
        return not runs(self.pid) or started not in (None, self.started)


def runs(pid: int) -> bool:
    """Whether there is such a process that has not ended, from its fork on: before exec(2) it has no command line."""
    state, _ = _stat(pid)
    return state not in {"Z", "X"} if state is not None else _exists(pid)


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _pid_namespace() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _exists(pid: int) -> bool:
    """Whether a process has this number, though /proc hides it (``hidepid``, ``ProtectProc``): the kernel tells."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _stat(pid: int) -> tuple[str | None, int | None]:
    """State and start of a process; no state where none can be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None, None
    return fields[0], int(fields[19])
