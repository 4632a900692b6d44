"""The worker's end of one session host: start it, write to it, read it, end it for certain."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from wa_sessions import config
from wa_sessions.plain_text import plain_text
from wa_sessions.worker import log
from wa_sessions.worker.hosts import protocol

LINE_SIZE = 2_000
"""Bytes of a line of stderr that are kept; the rest of it is dropped."""

LOGGED_A_MINUTE = 50
"""Lines of a host's stderr that reach the log in a minute: a Go panic with 200 goroutines has thousands."""

PIPE_PATIENCE = 1.0
"""Seconds after a host's end for what stands in its pipe; all of it is there by then, and nobody else writes to it."""

_CHATTER = ("Press Ctrl+C to exit",)  # what neonize itself writes to stderr
_CRASH = ("panic:", "fatal error:", "SIG", "Fatal Python error:")
_KEPT = re.compile(
    r"PATH|HOME|TMPDIR|TZ|LANG|LANGUAGE|LC_[A-Z]+|LD_LIBRARY_PATH|PYTHON(?:HOME|UTF8|DONTWRITEBYTECODE|PYCACHEPREFIX)"
    r"|(?i:https?_proxy|no_proxy|all_proxy)|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE"
    r"|GO(?:GC|MEMLIMIT|MAXPROCS|DEBUG|TRACEBACK)|MALLOC_[A-Z_]+|WA_SESSIONS_EMULATOR_NOISE_ROOT"
)


class Observer(Protocol):
    """Who hears of a host, on the event loop."""

    def on_frame(self, frame: protocol.ClientEvent | protocol.HostEvent) -> None:
        """A frame came."""

    def on_unknown_frame(self) -> None:
        """A line came that is no frame of the host's."""

    def on_exit(self, ended: "HostExit") -> None:
        """The process is gone, and all that it had written was told before."""


@dataclass(frozen=True, slots=True)
class HostExit:
    """How a host ended: its exit status (negative: a signal), and what it wrote to stderr.

    ``crash``: the line with which a crash of Go or Python begins; ``last_words``: the last line.
    """

    status: int
    crash: str | None = None
    last_words: str | None = None

    @property
    def lease_ran_out(self) -> bool:
        return self.status in (protocol.LEASE_RAN_OUT, -signal.SIGALRM)

    @property
    def reason(self) -> str:
        """For people."""
        if self.lease_ran_out:
            return "its lease ran out"
        if self.crash:
            return f"its process crashed: {self.crash}"
        if self.status < 0:
            return f"its process was killed by {_name(-self.status)}"
        return f"its process ended: {self.last_words or f'exit status {self.status}'}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def host_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a host may know of the worker's environment: the way into the network, not one password.

    lib/pq would read PG* and refuses some of them. Of PYTHONPATH whole paths stay: an empty or relative entry is the
    current folder's.
    """
    kept = {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}
    path = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]  # noqa: PTH117
    return kept | ({"PYTHONPATH": os.pathsep.join(path)} if path else {})


class HostProcess:
    """One running host."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._frames = _Lines(protocol.LINE_LIMIT, self._on_line, self._observer.on_unknown_frame)
        self._stderr = _Lines(LINE_SIZE, self._on_stderr, lambda: None, cut=True)
        self._words: deque[str] = deque(maxlen=20)
        self._crash: str | None = None
        self._minute, self._logged = 0.0, 0
        self._process: subprocess.Popen[bytes]
        self._stdin: asyncio.WriteTransport
        self._pipes: list[asyncio.BaseTransport] = []
        self._gone = asyncio.Event()

    @classmethod
    async def spawn(cls, observer: Observer) -> "HostProcess":
        """Start a process; its first frame is ``Alive``. Raises OSError if there can be none.

        RuntimeError if there can be no thread that waits for its end.
        """
        self = cls(observer)
        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # vfork: a few milliseconds
                [sys.executable, "-P", "-m", "wa_sessions.worker.hosts.main", str(write_end)],
                env=host_environment(config.environment()),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(write_end,),
                start_new_session=True,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        try:
            await self._connect(read_end)
            threading.Thread(target=self._wait, name=f"host {self.pid}", daemon=True).start()
        except BaseException:
            self.kill()
            self._process.wait()
            self._close_pipes()
            raise
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self._gone.is_set()

    def send(self, command: protocol.Command) -> None:
        """Write a command; what a host that has ended does not read is nobody's loss."""
        if self.running and not self._stdin.is_closing():
            self._stdin.write(protocol.encode(command))

    def kill(self) -> None:
        """End the process at once, whatever state it is in; the kernel closes its sockets."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)  # Popen looks first, so no other process is hit

    async def gone(self) -> None:
        """Until everything of it was told."""
        await self._gone.wait()

    # -------------------------------------------------------------------------------------------------- reading

    async def _connect(self, read_end: int) -> None:
        stdin, stderr = self._process.stdin, self._process.stderr
        assert stdin
        assert stderr
        loop = self._loop
        self._stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, stdin)
        self._pipes.append(self._stdin)
        pipe, _ = await loop.connect_read_pipe(lambda: self._frames, os.fdopen(read_end, "rb", buffering=0))
        self._pipes.append(pipe)
        errors, _ = await loop.connect_read_pipe(lambda: self._stderr, stderr)
        self._pipes.append(errors)

    def _on_line(self, line: bytes) -> None:
        try:
            frame = protocol.decode(line)
        except protocol.ProtocolError as error:
            log.warn(f"session host {self.pid}: {plain_text(str(error))}", event="unknown_frame", pid=self.pid)
            self._observer.on_unknown_frame()
            return
        if isinstance(frame, protocol.Command):
            self._observer.on_unknown_frame()
        else:
            self._observer.on_frame(frame)

    def _on_stderr(self, line: bytes) -> None:
        text = plain_text(line.decode(errors="replace").rstrip(), LINE_SIZE)
        if not text or text in _CHATTER:
            return
        self._words.append(text)
        if self._crash is None and text.startswith(_CRASH):
            self._crash = text
        if self._may_log():
            log.info(f"session host {self.pid}: {text}", event="host_stderr", pid=self.pid)

    def _may_log(self) -> bool:
        if time.monotonic() - self._minute > 60:
            self._minute, self._logged = time.monotonic(), 0
        self._logged += 1
        return self._logged <= LOGGED_A_MINUTE

    # ------------------------------------------------------------------------------------------------ the end

    def _wait(self) -> None:
        status = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has ended
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._ended(status)))

    async def _ended(self, status: int) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._frames.closed.wait(), PIPE_PATIENCE)
        if self._crash is None and not self._words:  # its last words may be a moment behind; a grandchild may hold them
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stderr.closed.wait(), PIPE_PATIENCE / 10)
        self._close_pipes()
        self._gone.set()
        self._observer.on_exit(HostExit(status, self._crash, self._words[-1] if self._words else None))

    def _close_pipes(self) -> None:
        for transport in self._pipes:
            transport.close()


class _Lines(asyncio.Protocol):
    """Lines of a pipe. One that is longer than ``limit`` bytes is cut, or dropped and told of."""

    def __init__(
        self, limit: int, on_line: Callable[[bytes], None], on_dropped: Callable[[], None], *, cut: bool = False
    ) -> None:
        self.closed = asyncio.Event()
        self._limit, self._on_line, self._on_dropped, self._cut = limit, on_line, on_dropped, cut
        self._part, self._size = bytearray(), 0

    def data_received(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._take(line)
            self._end_line()
        self._take(rest)

    def eof_received(self) -> None:
        if self._cut and self._part:
            self._end_line()

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed.set()

    def _take(self, data: bytes) -> None:
        self._size += len(data)
        self._part += data[: max(0, self._limit - len(self._part))]

    def _end_line(self) -> None:
        line, size = bytes(self._part), self._size
        self._part, self._size = bytearray(), 0
        if size > self._limit and not self._cut:
            self._on_dropped()
        else:
            self._on_line(line)
