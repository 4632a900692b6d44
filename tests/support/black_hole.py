"""A TCP relay in a process of its own: while it is held (SIGSTOP), the network is a black hole.

Run as ``python black_hole.py TARGET_PORT``; it prints its port.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class BlackHole:
    """The relay from outside."""

    port: int
    process: "subprocess.Popen[str]"

    @contextmanager
    def open(self) -> Iterator[None]:
        """Bytes go nowhere, and nobody is told."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def black_hole(target_port: int) -> Iterator[BlackHole]:
    command = [sys.executable, __file__, str(target_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield BlackHole(int(process.stdout.readline()), process)
        finally:
            process.kill()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
