"""What lies between a machine and a server: TCP on which everything can go wrong that goes wrong on the way.

All cables are served by one thread. A cable's listening socket may stand in the network namespace of a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from wa_sessions.emulator.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHUNK = 1 << 16
BACKLOG = 512
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Server:
    """Where a cable leads: a unix socket, or a port of loopback."""

    path: str = ""
    port: int = 0

    async def connect(self) -> Streams:
        if self.path:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection("127.0.0.1", self.port)


@dataclass(eq=False)
class _Connection:
    """Both halves of one. ``forgotten``: what comes is acknowledged and goes nowhere; no end is passed on either."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    forgotten: bool = False

    def abort(self) -> None:
        for side in (self.client, self.server):
            if side is not None:
                side.transport.abort()


@dataclass(eq=False)
class Cable:
    """One way from a machine to a server. Every method may be called from any thread, and does not wait.

    ``swallow`` may be called again before its ``pass_on``: nothing arrives until each has had its own.
    """

    server: Server
    host: str
    port: int
    thread: LoopThread
    _open: set[_Connection] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _swallowing: int = 0

    def sever(self) -> int:
        """Cut every connection, for both sides to see; how many there were."""
        return self._change(lambda one: one.abort())

    def swallow(self) -> int:
        """From now on nothing arrives, though everything is acknowledged, as by a middlebox that lost its state."""

        def all_of_them() -> int:
            self._swallowing += 1
            for one in self._open:
                one.forgotten = True
            return len(self._open)

        return self.thread.call(all_of_them)

    def pass_on(self) -> None:
        """New connections work again; what was forgotten stays so, and its server is told nothing."""

        def one_less() -> None:
            self._swallowing -= 1

        self.thread.call(one_less)

    def half_open(self) -> int:
        """The client's side of each connection is gone; the server's side stands and hears nothing."""

        def cut(one: _Connection) -> None:
            one.forgotten = True
            one.client.transport.abort()

        return self._change(cut)

    def connections(self) -> int:
        """How many stand, those that are forgotten too."""
        return self.thread.call(lambda: len(self._open))

    def _change(self, change: Callable[[_Connection], None]) -> int:
        def all_of_them() -> int:
            found = tuple(self._open)
            for one in found:
                change(one)
            return len(found)

        return self.thread.call(all_of_them)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, until one side ends."""
        connection = _Connection(writer, forgotten=self._swallowing > 0)
        self._open.add(connection)
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            if connection.forgotten:
                await _to_nowhere(reader)
                return
            far_reader, connection.server = await self.server.connect()
            await asyncio.gather(
                self._pump(connection, reader, connection.server), self._pump(connection, far_reader, writer)
            )
        except OSError:
            pass
        finally:
            connection.abort()
            self._open.discard(connection)

    async def end(self) -> None:
        """Cut every connection, and wait until that is seen."""
        for connection in tuple(self._open):
            connection.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _pump(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if not connection.forgotten:
                    writer.write(data)
                    await writer.drain()
        if not connection.forgotten:
            writer.close()


@dataclass(frozen=True)
class Bundle:
    """The cables to several servers of one database, to all of which the same is done."""

    cables: Sequence[Cable]

    def sever(self) -> int:
        """As of a cable."""
        return sum(cable.sever() for cable in self.cables)

    def swallow(self) -> int:
        """As of a cable."""
        return sum(cable.swallow() for cable in self.cables)

    def pass_on(self) -> None:
        """As of a cable."""
        for cable in self.cables:
            cable.pass_on()

    def half_open(self) -> int:
        """As of a cable."""
        return sum(cable.half_open() for cable in self.cables)


async def _to_nowhere(reader: asyncio.StreamReader) -> None:
    while await reader.read(CHUNK):
        pass


class Cables:
    """All cables of a run. At the end every connection is cut."""

    def __init__(self) -> None:
        self._thread = LoopThread("cables", self._main)
        self._all: list[Cable] = []
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.stop()

    def lay(self, server: Server, host: str = "127.0.0.1", *, network_of: int | None = None) -> Cable:
        """A new cable, to be reached at ``host``, in the network namespace of a process if one is given."""
        listener = _listener(host, network_of)
        cable = Cable(server, host, listener.getsockname()[1], self._thread)

        async def begin() -> None:
            self._servers.append(await asyncio.start_server(cable.serve, sock=listener, backlog=BACKLOG))

        self._thread.run(begin())
        self._all.append(cable)
        return cable

    async def _main(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        ready()
        await stop.wait()
        for server in self._servers:
            server.close()
        for cable in self._all:
            await cable.end()


def _listener(host: str, network_of: int | None) -> socket.socket:
    """A listening socket stays in the namespace that it was made in, so a thread goes there and does nothing else."""
    if network_of is None:
        return socket.create_server((host, 0), backlog=BACKLOG)
    made: list[socket.socket] = []

    def make() -> None:
        descriptor = os.open(f"/proc/{network_of}/ns/net", os.O_RDONLY)
        try:
            if _libc.setns(descriptor, NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)
        made.append(socket.create_server((host, 0), backlog=BACKLOG))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not made:
        raise OSError(f"no listening socket in the network of process {network_of}")
    return made[0]
