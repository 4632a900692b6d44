"""What a worker tells a monitor of itself: how long its work takes, and a listener that answers ``GET /metrics``."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6

from wa_sessions.errors import WaSessionsError

REQUEST_TIMEOUT = 10.0  # seconds after which a client that sends nothing is dropped


class Work(StrEnum):
    """What is timed."""

    TRANSACTION = "transaction"
    REPAIR = "repair"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Timing:
    """How often something was done, and how many seconds that took together."""

    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the worker's own processes, as it is when somebody asks; ``total``: it only grows."""

    name: str
    meaning: str
    value: Callable[[], float]
    total: bool = False


_figures: tuple[Figure, ...] = ()
_lock = threading.Lock()
_timings = dict.fromkeys(Work, Timing())


@contextlib.contextmanager
def timed(work: Work) -> Iterator[None]:
    """Time what is done within, unless it fails."""
    done = begun(work)
    yield
    done()


def begun(work: Work) -> Callable[[], None]:
    """Time what ends when the result is called."""
    began = time.perf_counter()

    def done() -> None:
        with _lock:
            now = _timings[work]
            _timings[work] = Timing(now.count + 1, now.seconds + time.perf_counter() - began)

    return done


def timings() -> dict[Work, Timing]:
    """All that was timed since this process began."""
    with _lock:
        return dict(_timings)


def expose(*figures: Figure) -> None:
    """Let monitors see these figures of this process."""
    global _figures  # as the timings: one worker a process
    _figures = figures


def figures() -> tuple[Figure, ...]:
    """What was exposed."""
    return _figures


@contextlib.contextmanager
def listening(address: tuple[str, int], render: Callable[[], tuple[str, bytes]]) -> Iterator[int]:
    """Answer on this address until the end, on threads of its own; gives the port, which is chosen where it was 0.

    ``render`` gives content type and body. Raises WaSessionsError where the address cannot be had.
    """
    try:
        server = _Server(address, _handler(render))
    except OSError as error:
        raise WaSessionsError(f"cannot listen on {address[0]}:{address[1]}: {error.strerror or error}") from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        super().__init__(address, handler)


def _handler(render: Callable[[], tuple[str, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND, "metrics are at /metrics")
                return
            kind, body = render()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
            """Scrapes are not worth a line."""

    return Handler
