"""Cutting the TCP connections of a connect that hangs.

``Disconnect`` and ``Stop`` wait without end behind the lock of a dial that hangs (neonize 0.5.2); ``shutdown(2)`` on
its socket ends the dial at once. Whose socket is whose cannot be seen, but when each came can.
"""

import contextlib
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

DISCONNECT_PATIENCE = 1.0
"""Seconds for a disconnect that nothing holds up; it takes a millisecond."""

FAREWELL_TIMEOUT = 5.5
"""Seconds for one into a black hole: the WebSocket's farewell takes 5.0 s."""

_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_POSTGRES_PORT = 5432


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where the key store listens over TCP: its connections are left alone. ``host`` may be a name or an address."""

    hosts: frozenset[str]
    ports: frozenset[int]

    def is_at(self, address: str, port: int) -> bool:
        """Whether a connection to there may be the store's; by the port alone where only a name is known."""
        literal = {host for host in self.hosts if _is_address(host)}
        return port in self.ports and (literal != self.hosts or address in literal)


def store_address(store_url: str) -> StoreAddress:
    """The address in a store's URL; a unix socket has none."""
    parts = urlsplit(store_url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    places = [urlsplit(f"//{place}") for place in parts.netloc.rpartition("@")[2].split(",")]
    named = query.get("hostaddr") or query.get("host") or ",".join(place.hostname or "localhost" for place in places)
    hosts = frozenset(host.strip("[]") for host in named.split(",") if not host.startswith("/"))
    with contextlib.suppress(ValueError):
        ports = query["port"].split(",") if "port" in query else [place.port or "" for place in places]
        return StoreAddress(hosts, frozenset(int(port or _POSTGRES_PORT) for port in ports) if hosts else frozenset())
    return StoreAddress(hosts, frozenset({_POSTGRES_PORT}))


def tcp_sockets() -> dict[str, int]:
    """This process's TCP sockets that lead somewhere, in whatever state: inode → descriptor."""
    remotes = _remotes()
    return {inode: descriptor for inode, descriptor in _descriptors() if inode in remotes}


def ends_or_is_cut(
    disconnect: Callable[[], None], *, hangs: Callable[[], bool], before: frozenset[str], store: StoreAddress
) -> bool:
    """Disconnect, in a thread; while the connect ``hangs``, sockets that came after those ``before`` are cut.

    Whether it has ended in time.
    """
    gone = threading.Event()

    def end() -> None:
        disconnect()
        gone.set()

    threading.Thread(target=end, name="disconnect", daemon=True).start()
    if gone.wait(DISCONNECT_PATIENCE):
        return True
    deadline = time.monotonic() + FAREWELL_TIMEOUT - DISCONNECT_PATIENCE
    while time.monotonic() < deadline:
        if hangs():
            cut_since(before, store)
        if gone.wait(0.3):
            return True
    return False


def cut_since(known: frozenset[str], store: StoreAddress) -> int:
    """Shut down what was opened since ``known``, but for the store's; returns how many.

    Another client that had just reconnected is hit too: whatsmeow connects it again.
    """
    remotes = _remotes()
    new = {inode: number for inode, number in _descriptors() if inode in remotes and inode not in known}
    return sum(_cut(inode, number) for inode, number in new.items() if not store.is_at(*remotes[inode]))


def _cut(inode: str, descriptor: int) -> bool:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as one:
        if os.fstat(one.fileno()).st_ino == int(inode):
            one.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _descriptors() -> Iterator[tuple[str, int]]:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # iterdir() is no faster and gives no more
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115  # Path.readlink() reads it as a path
            if link.startswith("socket:["):
                yield link[8:-1], int(name)


def _remotes() -> dict[str, tuple[str, int]]:
    """The other end of every TCP socket of this network namespace, by inode (the columns of proc_pid_net(5))."""
    found = {}
    for table in _TABLES:
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, port = fields[2].partition(":")
                found[fields[9]] = (_address(address), int(port, 16))
    return {inode: end for inode, end in found.items() if end[1]}


def _address(text: str) -> str:
    """The kernel writes addresses as hexadecimal words in the machine's byte order."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
