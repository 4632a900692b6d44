"""The CONNECT proxy that clients are pointed at: it leads WhatsApp's hosts to the emulator, others nowhere."""

import asyncio

from wa_sessions.emulator.faults import Silence
from wa_sessions.emulator.network import Network

WHATSAPP = (".whatsapp.com", ".whatsapp.net")
CHUNK = 1 << 16


class Proxy:
    """One listening socket on a loopback address."""

    def __init__(self, network: Network, host: str, target_port: int) -> None:
        self._network, self._host, self._target_port = network, host, target_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if self._network.silence is Silence.CONNECT:
                await reader.read()
            elif not _wanted(request):
                writer.write(b"HTTP/1.1 403 Only WhatsApp is here\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
            else:
                await self._join(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._target_port)
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
        finally:
            far_writer.transport.abort()
            writer.transport.abort()


def _wanted(request: bytes) -> bool:
    words = request.split(b"\r\n", 1)[0].decode("latin-1").split()
    if len(words) != 3 or words[0] != "CONNECT":
        return False
    return words[1].rpartition(":")[0].endswith(WHATSAPP)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()
