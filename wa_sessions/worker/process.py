"""The parent's side of a session process: start it, talk to it, end it for certain."""

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wa_sessions.errors import WaSessionsError

STOP_TIMEOUT = 7.0  # seconds for a graceful end before SIGKILL
ANSWER_TIMEOUT = 60.0  # seconds for a command that goes to WhatsApp and back
LINE_LIMIT = 1 << 20  # bytes of one event

_QUIET = ("Press Ctrl+C to exit",)  # what neonize itself writes to stderr


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Something that one session process told, or (``exited``) that it is gone."""

    process: "SessionProcess"
    name: str
    fields: dict[str, Any]


class SessionProcess:
    """One running session process. Every event goes to ``tell`` on the event loop."""

    def __init__(self, tell: Callable[[SessionEvent], None]) -> None:
        self._tell = tell
        self._requests = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._stderr: deque[str] = deque(maxlen=20)
        self._process: asyncio.subprocess.Process
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def spawn(cls, tell: Callable[[SessionEvent], None]) -> "SessionProcess":
        """Start a process that waits for what it is to do, without PG* variables: lib/pq refuses some of them."""
        self = cls(tell)
        read_end, write_end = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "wa_sessions.worker.session_process", str(write_end)),
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(write_end,),
                start_new_session=True,
                limit=LINE_LIMIT,
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._tasks = [
            asyncio.create_task(self._read_events(read_end)),
            asyncio.create_task(self._read_stderr()),
        ]
        return self

    def start(self, **start: object) -> None:
        """Let it connect or pair; ``start`` is what ``session_process`` takes."""
        self._write(do="start", **start)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def extend_lease(self, until: float) -> None:
        """Let the process live until ``until`` on the monotonic clock."""
        self._write(do="lease", until=until)

    async def ask(self, verb: str, **arguments: object) -> Any:
        """Have the session do something at WhatsApp. Raises WaSessionsError with its reason if it fails."""
        request = next(self._requests)
        answer = self._answers[request] = asyncio.get_running_loop().create_future()
        try:
            self._write(do=verb, request=request, **arguments)
            return await asyncio.wait_for(answer, ANSWER_TIMEOUT)
        except TimeoutError:
            raise WaSessionsError(f"WhatsApp did not answer in {ANSWER_TIMEOUT:.0f} s; try again") from None
        finally:
            self._answers.pop(request, None)

    async def stop(self) -> None:
        """Close the WebSocket and end, gracefully if it can be had in time."""
        self._write(do="stop")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT)
        await self.kill()

    async def kill(self) -> None:
        """End the process at once; the kernel closes its sockets."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._process.wait()

    def _write(self, **command: object) -> None:
        stdin = self._process.stdin
        if self.running and stdin and not stdin.is_closing():
            stdin.write(json.dumps(command).encode() + b"\n")

    async def _read_events(self, read_end: int) -> None:
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            async for line in reader:
                self._event(json.loads(line))
        finally:
            transport.close()
        code = await self._process.wait()
        reason = self._last_words()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WaSessionsError(f"the session process ended before it answered ({reason})"))
        self._tell(SessionEvent(self, "exited", {"code": code, "reason": reason}))

    def _event(self, fields: dict[str, Any]) -> None:
        name = fields.pop("event")
        if name != "answer":
            self._tell(SessionEvent(self, name, fields))
            return
        answer = self._answers.get(fields["request"])
        if answer and not answer.done():
            if "error" in fields:
                answer.set_exception(WaSessionsError(fields["error"]))
            else:
                answer.set_result(fields["result"])

    async def _read_stderr(self) -> None:
        assert self._process.stderr
        with contextlib.suppress(ValueError):  # a line longer than the limit
            async for line in self._process.stderr:
                text = line.decode(errors="replace").rstrip()
                if text and text not in _QUIET:
                    self._stderr.append(text)
                    self._tell(SessionEvent(self, "stderr", {"line": text}))

    def _last_words(self) -> str | None:
        """The line of a Go or Python crash that says what it was."""
        for line in self._stderr:
            if line.startswith(("panic:", "fatal error:", "SIG")):
                return line
        return self._stderr[-1] if self._stderr else None
