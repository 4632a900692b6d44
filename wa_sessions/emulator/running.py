"""An emulator as something that is started, gives clients their environment, and is stopped."""

import ipaddress
import os
import tempfile
from asyncio import Event
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from wa_sessions.emulator.errors import EmulatorError
from wa_sessions.emulator.loop_thread import LoopThread
from wa_sessions.emulator.network import Network
from wa_sessions.emulator.server import Server

HOOK = Path(__file__).parent / "hook"
NOISE_ROOT = "WA_SESSIONS_EMULATOR_NOISE_ROOT"
WEBSOCKET = "WA_SESSIONS_EMULATOR_WEBSOCKET"


class Running:
    """One run of a server, in a thread and with a temporary folder of its own."""

    def __init__(self, *, host: str = "127.0.0.1") -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"the emulator listens on loopback only, not on {host}")
        self._host = host
        self._running: Server | None = None
        self._thread = LoopThread("wa-sessions-emulator", self._main)

    async def _main(self, ready: Callable[[], None], stop: Event) -> None:
        with tempfile.TemporaryDirectory(prefix="wa-sessions-emulator-") as folder:
            server = Server(self._host)
            await server.start(Path(folder))
            self._running = server
            try:
                ready()
                await stop.wait()
            finally:
                await server.stop()

    def start(self) -> Self:
        if self._running is not None:
            raise EmulatorError("an emulator runs once: make another one")
        self._thread.start()
        return self

    def stop(self) -> None:
        self._thread.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _server(self) -> Server:
        if self._running is None:
            raise EmulatorError("the emulator is not started")
        return self._running

    @property
    def _network(self) -> Network:
        return self._server.network

    def client_env(self) -> dict[str, str]:
        """What a client's environment needs before the client starts: the Go runtime reads it only once.

        neonize needs no more. A client in another language takes its WebSocket's URL and the root of the Noise
        certificates (32 bytes in hex) from it by itself.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        proxy = f"http://{host}:{self._server.proxy_port}"
        existing = os.environ.get("PYTHONPATH")
        return {
            "HTTPS_PROXY": proxy,
            "HTTP_PROXY": proxy,
            "NO_PROXY": "",
            "no_proxy": "",
            "SSL_CERT_FILE": str(self._server.authority),
            "PYTHONPATH": os.pathsep.join([str(HOOK), existing] if existing else [str(HOOK)]),
            NOISE_ROOT: self._server.identity.root.public.hex(),
            WEBSOCKET: f"ws://{host}:{self._server.plain_port}/ws/chat",
        }

    def wait_until(self, is_so: Callable[[], bool], timeout: float = 20, what: str = "it") -> None:
        """Wait for a condition, looked at in the server's thread whenever something changes there."""
        try:
            self._thread.run(self._network.changes.until(is_so, timeout), timeout + 10)
        except TimeoutError as error:
            raise TimeoutError(f"waited {timeout:g} s in vain for {what}") from error
