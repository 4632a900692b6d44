"""One client's connection: a WebSocket that carries Noise frames that carry stanzas."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from wa_sessions.emulator.codec import Codec
from wa_sessions.emulator.errors import Malformed
from wa_sessions.emulator.noise import Direction, Frames, Hello, Responder, ServerIdentity, frame
from wa_sessions.emulator.stanza import Node

LINGER = 0.3  # a client whose socket closes together with a last stanza often drops that stanza unread


class Connection:
    """Receives and sends stanzas. The server's tasks share it; its frames stay in order."""

    def __init__(
        self, websocket: ServerConnection, codec: Codec, on_sent: Callable[["Connection", Node], None]
    ) -> None:
        self._websocket, self._codec, self._on_sent = websocket, codec, on_sent
        self._frames, self._ready = Frames(), deque[bytes]()
        self._incoming: Direction | None = None
        self._outgoing: Direction | None = None
        self._turn = asyncio.Lock()
        self.noise_key = b""
        self.name = "(unpaired)"

    async def handshake(self, identity: ServerIdentity) -> Hello:
        hello = await self._next_frame()
        responder = Responder(identity, self._frames.header)
        await self._websocket.send(frame(responder.answer(hello)))
        done = responder.finish(await self._next_frame())
        self._incoming, self._outgoing, self.noise_key = done.incoming, done.outgoing, done.noise_key
        return done

    async def receive(self) -> Node:
        if self._incoming is None:
            raise Malformed("no handshake yet")
        return self._codec.decode(self._incoming.open(await self._next_frame()))

    async def send(self, node: Node) -> None:
        if self._outgoing is None:
            raise Malformed("no handshake yet")
        async with self._turn:
            self._on_sent(self, node)
            await self._websocket.send(frame(self._outgoing.seal(self._codec.encode(node))))

    async def close(self, last: Node | None = None, *, linger: bool = False) -> None:
        """Close in an orderly way, after a last stanza if there is one, unless the client was first."""
        if last is not None:
            with contextlib.suppress(ConnectionClosed):
                await self.send(last)
        if last is not None or linger:
            await asyncio.sleep(LINGER)
        await self._websocket.close()

    def abort(self) -> None:
        """Cut the TCP connection, with no word of farewell."""
        self._websocket.transport.abort()

    async def _next_frame(self) -> bytes:
        while not self._ready:
            data = await self._websocket.recv()
            if isinstance(data, str):
                raise Malformed("a client sent text")
            self._ready.extend(self._frames.feed(data))
        return self._ready.popleft()
