"""The server: accepts clients, logs them in, and keeps each apart from the others."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from pathlib import Path
from ssl import SSLContext
from typing import Any

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from wa_sessions.emulator.accounts import Device
from wa_sessions.emulator.codec import Codec
from wa_sessions.emulator.connection import Connection
from wa_sessions.emulator.errors import Malformed
from wa_sessions.emulator.faults import LoginFailure, Refusal, Silence
from wa_sessions.emulator.neonize_files import library_path
from wa_sessions.emulator.network import Course, Network
from wa_sessions.emulator.noise import ServerIdentity
from wa_sessions.emulator.pairing import Pairing
from wa_sessions.emulator.proxy import Proxy
from wa_sessions.emulator.queries import Queries
from wa_sessions.emulator.routing import Router
from wa_sessions.emulator.stanza import SERVER_JID, Attrs, Node
from wa_sessions.emulator.tls import make_context
from wa_sessions.emulator.tokens import load_tokens

LOGGER = logging.getLogger("wa_sessions.emulator")
WEBSOCKET_LOGGER = logging.getLogger("wa_sessions.emulator.websocket")
WEBSOCKET_LOGGER.setLevel(logging.CRITICAL)  # garbage on a socket is no news
WEBSOCKET_PATH = "/ws/"
LARGEST_FRAME = 1 << 24
PLAIN_PAUSE = (
    0.05  # Baileys 6 loses what comes before it has derived its keys (``finishInit``): seconds, as on a network
)
REPLACED = Node("stream:error", {}, [Node("conflict", {"type": "replaced"})])
REMOVED = Node("stream:error", {"code": 401}, [Node("conflict", {"type": "device_removed"})])
RECONNECT = Node("stream:error", {"code": 515})


class Server:
    """One WhatsApp on one loopback address. Everything here runs in one event loop."""

    def __init__(self, host: str) -> None:
        self.host, self.network, self.identity = host, Network(), ServerIdentity()
        self.pairing = Pairing(self.network)
        self._router, self._queries = Router(self.network), Queries(self.network)
        self._codec = Codec(load_tokens(library_path()))
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._websockets: list[WebSocketServer] = []
        self._proxy: Proxy | None = None
        self.authority, self.plain_port = Path(), 0

    @property
    def proxy_port(self) -> int:
        return self._proxy.port if self._proxy else 0

    async def start(self, folder: Path) -> None:
        """Listen with TLS behind the proxy, where neonize looks for WhatsApp, and without it for clients told to."""
        context, self.authority = make_context(folder)
        port = await self._listen_on_a_port(self._serve, context)
        self.plain_port = await self._listen_on_a_port(self._serve_plain, None)
        self._proxy = Proxy(self.network, self.host, port)
        await self._proxy.start()

    async def _listen_on_a_port(
        self, serve_one: Callable[[ServerConnection], Awaitable[None]], tls: SSLContext | None
    ) -> int:
        websockets = await serve(
            serve_one,
            self.host,
            0,
            ssl=tls,
            compression=None,
            ping_interval=None,
            open_timeout=None,
            close_timeout=1,
            max_size=LARGEST_FRAME,
            process_request=self._http,
            logger=WEBSOCKET_LOGGER,
        )
        self._websockets.append(websockets)
        return int(next(iter(websockets.sockets)).getsockname()[1])

    async def stop(self) -> None:
        self._stopping.set()
        if self._proxy:
            await self._proxy.stop()
        for connection in tuple(self._connections):
            connection.abort()
        for websockets in self._websockets:
            websockets.close()
            await websockets.wait_closed()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something that may end in a closed connection, and let nobody wait for it."""
        task = asyncio.get_running_loop().create_task(_unless_closed(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _http(self, _websocket: ServerConnection, request: Request) -> Response | None:
        """Let WebSockets through; any other request asks for media."""
        if request.path.startswith(WEBSOCKET_PATH):
            if self.network.silence is Silence.UPGRADE:
                await self._stopping.wait()
            return None
        body = self.network.media.get(request.path)
        status = HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK
        headers = Headers({"Content-Length": str(len(body or b"")), "Connection": "close"})
        return Response(status.value, status.phrase, headers, body or b"")

    async def _serve_plain(self, websocket: ServerConnection) -> None:
        await self._serve(websocket, PLAIN_PAUSE)

    async def _serve(self, websocket: ServerConnection, pause: float = 0) -> None:
        """Serve a client, to which the first word after the handshake comes after this pause (seconds)."""
        connection = Connection(websocket, self._codec, self._sent)
        self._connections.add(connection)
        try:
            if self.network.silence is Silence.NOISE:
                await websocket.wait_closed()
            else:
                await self._converse(connection, pause)
        except ConnectionClosed:
            LOGGER.debug("%s went away", connection.name)
        except Malformed as error:
            LOGGER.info("%s is cut off: %s", connection.name, error)
            connection.abort()
        except Exception:
            LOGGER.exception("%s is cut off", connection.name)
            connection.abort()
        finally:
            self._connections.discard(connection)
            self.pairing.end(connection)

    async def _converse(self, connection: Connection, pause: float) -> None:
        hello = await connection.handshake(self.identity)
        await asyncio.sleep(pause)
        if hello.payload.HasField("devicePairingData"):
            await self.pairing.begin(connection, hello.payload.devicePairingData)
            await self._listen(connection, None)
            return
        phone = self.network.phone(str(hello.payload.username))
        device = phone.all_devices.get(hello.payload.device) if phone else None
        if device is None or device.removed or device.noise_key != connection.noise_key:
            await connection.close(Refusal(LoginFailure.LOGGED_OUT).stanza())
        elif device.phone in self.network.faults.refusals:
            await connection.close(self.network.faults.refusals[device.phone].stanza())
        else:
            await self._log_in(connection, device)

    async def _log_in(self, connection: Connection, device: Device) -> None:
        """From here on the device is this connection's; a connection that had it before is told so and closed."""
        if device.connection is not None:
            self.background(device.connection.close(REPLACED))
            device.disconnected()
        device.connection, connection.name = connection, str(device.jid)
        device.logins += 1
        login = self.network.logins.begin(connection.name)
        if device.phone.until_reconnect:
            self.network.hear(device.phone)
        try:
            attrs: Attrs = {"t": int(time.time()), "lid": device.lid, "location": "emulator", "props": 27}
            await connection.send(Node("success", attrs))
            await self._listen(connection, device, login)
        finally:
            self.network.logins.end(login)
            if device.connection is connection:
                device.disconnected()
            self.network.changes.announce()

    async def _listen(self, connection: Connection, device: Device | None, login: int | None = None) -> None:
        while True:
            node = await connection.receive()
            if login is not None:
                self.network.logins.hear(login)
            self.network.record(Course.FROM_CLIENT, connection.name, node)
            await self._handle(connection, device, node)

    def _sent(self, connection: Connection, node: Node) -> None:
        self.network.record(Course.TO_CLIENT, connection.name, node)

    async def _handle(self, connection: Connection, device: Device | None, node: Node) -> None:
        if node.tag == "iq":
            await self._info_query(connection, device, node)
        elif device is None:
            return
        elif node.tag == "message":
            await connection.send(self._router.message(device, node))
        elif node.tag == "receipt":
            self._acknowledge(connection, device, node)
            await connection.send(self._router.receipt(device, node))
        elif node.tag == "ack":
            self._acknowledge(connection, device, node)

    def _acknowledge(self, connection: Connection, device: Device, node: Node) -> None:
        if device.connection is connection:
            device.mailbox.acknowledge(node)
            self.network.changes.announce()

    async def _info_query(self, connection: Connection, device: Device | None, iq: Node) -> None:
        if iq.text("type") in ("result", "error"):
            if self.pairing.answered(connection, iq):
                await connection.close(RECONNECT)
            return
        if iq.child("link_code_companion_reg"):
            await self.pairing.link_code(connection, iq)
            return
        answer = self._queries.answer(device, iq)
        if answer is not None:
            await connection.send(answer)
        if device is not None and iq.text("xmlns") == "passive" and iq.child("active"):
            self._activate(connection, device)
        removal = iq.child("remove-companion-device")
        if device is not None and removal is not None:
            self._unlink(device, removal)

    def _activate(self, connection: Connection, device: Device) -> None:
        """A client that calls itself active gets what waits for it (whatsmeow: ``SetPassive``)."""
        if device.connection is connection and not device.active:
            device.active = True
            device.delivery = self.background(self._deliver(connection, device))
            self.network.changes.announce()

    async def _deliver(self, connection: Connection, device: Device) -> None:
        """Bring a device its mail in order, for as long as this connection lasts."""
        mailbox = device.mailbox
        backlog: int | None = mailbox.waiting("message")
        while True:
            if node := mailbox.take():
                await connection.send(node)
            elif backlog is not None:
                done = Node("offline", {"count": backlog})
                await connection.send(Node("ib", {"from": SERVER_JID}, [done]))
                backlog = None
            else:
                mailbox.stirred.clear()
                await mailbox.stirred.wait()

    def _unlink(self, asking: Device, removal: Node) -> None:
        """A client may unlink itself or another device of its account (whatsmeow: ``Logout``)."""
        device = asking.phone.all_devices.get(removal.jid("jid").device)
        if device is not None:
            self.remove(device, tell=device is not asking)

    def remove(self, device: Device, *, tell: bool = True) -> None:
        """Take a device off its account for good."""
        device.removed = True
        self.network.devices_changed(device.phone)
        if device.connection is not None:
            self.background(device.connection.close(REMOVED if tell else None, linger=True))
        self.network.changes.announce()


async def _unless_closed(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except ConnectionClosed:
        LOGGER.debug("a connection closed first")
