"""Machines that are one: namespaces with a host name, processes and a network of their own, and cables out of them.

As root each has a network too, whose cable to the database can be pulled: nothing gets through, and nobody is told. An
ordinary user has them where the kernel lets users make namespaces; there the cable is swallowed instead. A machine ends
with whoever made it, however that ends, and all its processes with it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cables import Bundle, Cable, Cables, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wa_sessions.emulator import Emulator

INIT = """
import signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
socket.sethostname(sys.argv[1])
print("up", flush=True)
sys.stdin.read()
"""
"""The first process of a machine: what is left behind is taken, and all ends when its input does."""
NETWORK = "198.18"  # for measurements (RFC 2544): two addresses for each cable
PATIENCE = 20.0  # seconds
_numbers = itertools.count(os.getpid() * 16)


@dataclass(frozen=True)
class Kernel:
    """What this user may have. ``options``: of unshare; ``why_not``: why there are no machines at all."""

    options: tuple[str, ...] = ()
    network: bool = False
    why_not: str | None = None


def kernel() -> Kernel:
    """What can be had here, tried out."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return Kernel(why_not="util-linux's unshare and nsenter are missing")
    basic = ("--pid", "--fork", "--kill-child", "--uts", "--mount", "--mount-proc")
    if os.geteuid() == 0:
        if shutil.which("ip") and _works(*basic, "--net"):
            return Kernel((*basic, "--net"), network=True)
        if _works(*basic):
            return Kernel(basic)
        return Kernel(why_not="this root may not make namespaces, as in a container")
    mapped = ("--user", "--map-root-user", *basic)
    if _works(*mapped):
        return Kernel(mapped)
    return Kernel(why_not="the kernel lets no ordinary user make namespaces")


def _works(*options: str) -> bool:
    with contextlib.suppress(OSError):
        done = subprocess.run(["unshare", *options, "hostname", "probe"], capture_output=True, check=False)
        return done.returncode == 0
    return False


class Machine:
    """One of them. ``database`` and ``whatsapp`` are its cables; to the database one for each of its servers."""

    def __init__(
        self, name: str, emulator: Emulator, socket_paths: Sequence[str], cables: Cables, abilities: Kernel
    ) -> None:
        self.name = name
        self._abilities = abilities
        self._emulator = emulator
        self._init = subprocess.Popen(
            ["unshare", *abilities.options, sys.executable, "-I", "-S", "-c", INIT, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert self._init.stdout
            if self._init.stdout.readline() != "up\n":
                raise OSError(f"machine {name} does not come up")
            self.pid = only_child(self._init.pid)
            self.database, self.whatsapp = self._wired(socket_paths, cables)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Switch it off, whatever runs on it."""
        for pid in self.processes() if hasattr(self, "pid") else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        for pipe in (self._init.stdin, self._init.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._init.wait(5)
        except subprocess.TimeoutExpired:
            self._init.kill()
            self._init.wait()

    @property
    def launcher(self) -> tuple[str, ...]:
        """What a command begins with to run here."""
        spaces = [
            f"--{name}" for name in ("user", "pid", "uts", "mount", "net") if f"--{name}" in self._abilities.options
        ]
        user = ("--preserve-credentials",) if "--user" in spaces else ()
        return ("nsenter", "--target", str(self.pid), *spaces, *user, "--")

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment of a command that finds database and WhatsApp at the ends of this machine's cables."""
        proxy = f"http://{self.whatsapp.host}:{self.whatsapp.port}"
        servers = ",".join(f"{cable.host}:{cable.port}" for cable in self.database.cables)
        url = f"postgresql://postgres@{servers}/postgres?sslmode=disable"
        return {
            **environment,
            "HTTPS_PROXY": proxy,
            "HTTP_PROXY": proxy,
            "WA_SESSIONS_DATABASE_URL": f"{url}&application_name=measured-worker",
        }

    def processes(self) -> list[int]:
        """All that run here, but for the first one."""
        mine = _namespace(self.pid)
        numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        return [pid for pid in numbers if pid != self.pid and mine is not None and _namespace(pid) == mine]

    def pull_cable(self) -> None:
        """To the database: nothing gets through any more, and nobody is told."""
        if self._abilities.network:
            _ip("link", "set", self._link, "down")
        else:
            self.database.swallow()

    def plug_in(self) -> None:
        """After ``pull_cable``."""
        if self._abilities.network:
            _ip("link", "set", self._link, "up")
        else:
            self.database.pass_on()

    def _wired(self, socket_paths: Sequence[str], cables: Cables) -> tuple[Bundle, Cable]:
        databases, whatsapp = map(Server, socket_paths), Server(port=self._emulator._server.proxy_port)
        if not self._abilities.network:
            return Bundle([cables.lay(database) for database in databases]), cables.lay(whatsapp)
        number = next(_numbers)
        at = number % (1 << 14) * 4
        here, there = (f"{NETWORK}.{(at + n) >> 8}.{(at + n) & 255}" for n in (1, 2))
        self._link = f"wa{number % (1 << 24):x}"
        inside = ("nsenter", "--target", str(self.pid), "--net", "ip")
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "db", "netns", str(self.pid))
        _ip("addr", "add", f"{here}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        for arguments in (
            ("addr", "add", f"{there}/30", "dev", "db"),
            ("link", "set", "db", "up"),
            ("link", "set", "lo", "up"),
        ):
            _run(*inside, *arguments)
        bundle = Bundle([cables.lay(database, here) for database in databases])
        return bundle, cables.lay(whatsapp, network_of=self.pid)


def only_child(pid: int) -> int:
    """The process that a launcher has started. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                return int(children[0])
        time.sleep(0.005)
    raise TimeoutError(f"process {pid} has no child")


def _namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
