"""A transaction pooler between clients and Postgres, as PgBouncer is with ``pool_mode=transaction``.

Each transaction goes to another server connection than the one before, so that a client which counts on staying on
one is found out at once: lib/pq without ``binary_parameters=yes`` parses and binds in two steps. Like PgBouncer it
refuses startup parameters that it does not know. ``SessionPooler`` lends one for as long as a client stays.
"""

import contextlib
import queue
import socket
import struct
import threading
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

KNOWN_PARAMETERS = {
    "user",
    "database",
    "client_encoding",
    "datestyle",
    "timezone",
    "standard_conforming_strings",
    "application_name",
    "extra_float_digits",
}
SSL_REQUEST = 80877103
PROTOCOL_3 = 196608


class Wire:
    """Postgres's messages on a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._stream = connection.makefile("rb")

    def read(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        return head[:1], self._exactly(struct.unpack("!I", head[1:])[0] - 4)

    def read_startup(self) -> tuple[int, bytes]:
        size, code = struct.unpack("!II", self._exactly(8))
        return code, self._exactly(size - 8)

    def send(self, kind: bytes, body: bytes) -> None:
        self.connection.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def close(self) -> None:
        self._stream.close()
        self.connection.close()

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise ConnectionError
        return data


class TransactionPooler:
    """Listens on loopback in front of the database of a URL; ``url`` is its own.

    It lends its server connections in turn, or with ``last_first`` the one that was given back last, as PgBouncer does.
    """

    def __init__(self, url: str, size: int = 4, *, last_first: bool = False) -> None:
        self._parts = conninfo_to_dict(url)
        self._servers: queue.Queue[Wire] = queue.LifoQueue() if last_first else queue.Queue()
        self._size = size
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.transactions = 0
        self.split_statements = 0

    @property
    def url(self) -> str:
        port = self._listener.getsockname()[1]
        return f"postgres://{quote(str(self._parts['user']))}@127.0.0.1:{port}/{quote(str(self._parts['dbname']))}"

    def __enter__(self) -> "TransactionPooler":
        for _ in range(self._size):
            self._servers.put(self._connect())
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        while not self._servers.empty():
            self._servers.get().close()

    def _connect(self) -> Wire:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{self._parts['host']}/.s.PGSQL.{self._parts.get('port', 5432)}")
        server = Wire(connection)
        words = ["user", str(self._parts["user"]), "database", str(self._parts["dbname"]), "", ""]
        body = struct.pack("!I", PROTOCOL_3) + "\0".join(words).encode()
        connection.sendall(struct.pack("!I", len(body) + 4) + body)
        while server.read()[0] != b"Z":
            pass
        return server

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(Wire(connection),), daemon=True).start()

    def _serve(self, client: Wire) -> None:
        with contextlib.suppress(ConnectionError, OSError, ValueError, queue.Empty), contextlib.closing(client):
            if self._greet(client):
                self._lend(client)

    def _lend(self, client: Wire) -> None:
        while True:
            self._transaction(client)

    def _greet(self, client: Wire) -> bool:
        code, body = client.read_startup()
        while code == SSL_REQUEST:
            client.connection.sendall(b"N")
            code, body = client.read_startup()
        words = body.decode().split("\0")
        unknown = {name.lower() for name in words[:-2:2]} - KNOWN_PARAMETERS
        if unknown:
            client.send(b"E", f"SFATAL\0C08P01\0Munsupported startup parameter: {unknown.pop()}\0\0".encode())
            return False
        client.send(b"R", struct.pack("!I", 0))
        for name, value in (("server_version", "18.0"), ("client_encoding", "UTF8"), ("integer_datetimes", "on")):
            client.send(b"S", f"{name}\0{value}\0".encode())
        client.send(b"S", b"standard_conforming_strings\0on\0")
        client.send(b"K", struct.pack("!II", 1, 1))
        client.send(b"Z", b"I")
        return True

    def _transaction(self, client: Wire) -> None:
        """From the first message of a client to the end of its transaction, on one server connection."""
        first = _begin(client)
        server = self._servers.get(timeout=30)
        try:
            self._on(server, client, first)
        finally:
            self._servers.put(server)

    def _on(self, server: Wire, client: Wire, first: tuple[bytes, bytes]) -> None:
        """A transaction that begins with ``first``, on this server connection."""
        status, batch = b"T", [first]
        while status != b"I":
            while batch[-1][0] not in (b"Q", b"S"):
                batch.append(client.read())
            status = self._forward(client, server, batch)
            batch = [client.read()] if status != b"I" else []

    def _forward(self, client: Wire, server: Wire, batch: list[tuple[bytes, bytes]]) -> bytes:
        kinds = {kind for kind, _ in batch}
        with self._lock:
            self.transactions += 1
            self.split_statements += b"P" in kinds and b"B" not in kinds
        for kind, body in batch:
            server.send(kind, body)
        while True:
            kind, body = server.read()
            client.send(kind, body)
            if kind == b"Z":
                return body


def _begin(client: Wire) -> tuple[bytes, bytes]:
    """The first message of a transaction; a client that says goodbye needs no server for it."""
    message = client.read()
    if message[0] == b"X":
        raise ConnectionError
    return message


class SessionPooler(TransactionPooler):
    """As PgBouncer is with ``pool_mode=session``."""

    def _lend(self, client: Wire) -> None:
        server = self._servers.get(timeout=30)
        try:
            while True:
                self._on(server, client, _begin(client))
        finally:
            self._servers.put(server)
