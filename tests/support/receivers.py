"""Receivers of alerts on loopback: a webhook or bot that can be slow, broken or down, and a mail server."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.waiting import PATIENCE, Record


@dataclass(frozen=True)
class Request:
    """What came, and how it was answered; headers by their names in lower case."""

    path: str
    headers: dict[str, str]
    content: bytes
    status: int

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.content))

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return list(self.json.get("alerts", [self.json]))


@dataclass
class Receiver:
    """``answers``: what the next requests get, (seconds, status); then 200 at once, or what ``hang`` lets through.

    ``text`` comes with each answer; ``unended``: as if more of it were to come. ``connections`` were made so far.
    """

    port: int = 0
    text: bytes = b""
    unended: bool = False
    connections: int = 0
    requests: Record[Request] = field(default_factory=Record)
    answers: list[tuple[float, int]] = field(default_factory=list)
    hang: threading.Event | None = None
    coming: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def taken(self) -> list[Request]:
        return [request for request in self.requests.since() if request.status == 200]

    def wait_for(self, alerts: int, timeout: float = PATIENCE) -> None:
        """Until so many alerts have been taken."""
        deadline = time.monotonic() + timeout
        while sum(len(request.alerts) for request in self.taken()) < alerts:
            assert time.monotonic() < deadline, self.requests.since()
            time.sleep(0.01)


@contextmanager
def http(port: int = 0) -> Iterator[Receiver]:
    """A web server; at ``port`` if one was there before. Its end ends the connections that were kept alive too."""
    receiver = Receiver()
    kept = set[socket.socket]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            receiver.connections += 1
            super().setup()
            kept.add(self.connection)

        def finish(self) -> None:
            kept.discard(self.connection)
            super().finish()

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.coming.set()
            seconds, status = receiver.answers.pop(0) if receiver.answers else (0.0, 200)
            if receiver.hang:
                receiver.hang.wait(30)
            time.sleep(seconds)
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.add(Request(self.path, headers, content, status))
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(receiver.text) + receiver.unended))
                self.end_headers()
                self.wfile.write(receiver.text)
            except OSError:
                pass

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    receiver.port = server.server_port
    try:
        with _serving(server):
            yield receiver
    finally:
        for connection in list(kept):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def smtp(refusals: int = 0) -> Iterator[tuple[int, Record[str]]]:
    """A mail server that refuses the first mails with 451: its port, and the mails that it took."""
    mails, left = Record[str](), [refusals]

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    self.wfile.write(self._take())
                elif word == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 ok\r\n")

        def _take(self) -> bytes:
            lines = iter(self.rfile.readline, b".\r\n")
            mail = b"".join(lines).decode()
            if left[0]:
                left[0] -= 1
                return b"451 later\r\n"
            mails.add(mail)
            return b"250 taken\r\n"

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with _serving(server):
        yield server.server_address[1], mails


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    serve: Callable[..., None] = server.serve_forever
    thread = threading.Thread(target=serve, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)
