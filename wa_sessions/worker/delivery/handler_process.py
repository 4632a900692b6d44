"""The worker's end of one handler process: start it, hand it messages, read what it prints, end it for certain."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable

from wa_sessions.errors import UsageError
from wa_sessions.plain_text import plain
from wa_sessions.worker.delivery.frames import (
    CODEC,
    LINE_LIMIT,
    Failed,
    FromHandler,
    Missing,
    Ready,
    Take,
    Taken,
    status_words,
)
from wa_sessions.worker.delivery.output import OutputLines
from wa_sessions.worker.delivery.pipes import PipeReader
from wa_sessions.worker.delivery.spec import HandlerSpec
from wa_sessions.worker.frames import ProtocolError
from wa_sessions.worker.message import IncomingMessage

START_TIMEOUT = 60.0
"""Seconds that the operator's module may take to be imported."""

GRACE = 1.0
"""Seconds for an end of its own: after the last message, or after SIGTERM."""

ERROR_LIMIT = 100
"""Characters of an error's name."""

Say = Callable[[str, str], None]


class HandlerEnded(Exception):
    """The process of a handler ended by itself, or never became ready; the text says how."""


class HandlerProcess:
    """One process, which has one message in hand at most. ``say`` gets the number of its phone, and a line of output.

    ``on_end`` is called when the process has ended, however.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        link: socket.socket,
        output: int,
        say: Say,
        on_end: Callable[[], None],
    ) -> None:
        self._process = process
        self._link = link
        self._say = say
        self._on_end = on_end
        self._number = ""
        self._lines = OutputLines()
        self._received = b""
        self._answer: asyncio.Future[FromHandler] | None = None
        self._ended: str | None = None
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._frames = PipeReader(os.dup(link.fileno()), self._receive)
        self._output = PipeReader(output, self._print)
        self._watch = asyncio.create_task(self._await_end())

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, spec: HandlerSpec, say: Say, on_end: Callable[[], None] = lambda: None
    ) -> AsyncIterator["HandlerProcess"]:
        """A process that is ready for messages; it has ended when the block is left.

        Raises HandlerEnded, and UsageError if there is no such handler.
        """
        process = await cls._spawn(spec, say, on_end)
        try:
            await process._become_ready(spec)
            yield process
        finally:
            await process.end()

    @classmethod
    async def _spawn(cls, spec: HandlerSpec, say: Say, on_end: Callable[[], None]) -> "HandlerProcess":
        try:
            ours, theirs = socket.socketpair()
            read_end, write_end = os.pipe()
        except OSError as error:
            raise HandlerEnded(f"it cannot be started: {error.strerror}") from error
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.program(theirs.fileno()),
                env=spec.variables(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException as error:
            ours.close()
            os.close(read_end)
            if isinstance(error, OSError):
                raise HandlerEnded(f"it cannot be started: {error.strerror}") from error
            raise
        finally:
            theirs.close()
            os.close(write_end)
        return cls(process, ours, read_end, say, on_end)

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise HandlerEnded if the process is gone."""
        if self._ended is not None:
            raise HandlerEnded(self._ended)

    async def hand_over(self, message: IncomingMessage) -> Failed | None:
        """Let the handler take a message: None, or how it failed. Raises HandlerEnded.

        If this is cancelled the message is still in hand, and ``end`` kills.
        """
        self._number = message.phone
        answer = await self._ask(CODEC.encode(Take(message)))
        self._output.read_now()
        self._say_all(self._lines.end_line(self._loop.time()))
        match answer:
            case Taken():
                return None
            case Failed(error, transient, broken):
                if broken:
                    self._give_up(f"it cannot handle messages: {plain(error)[:ERROR_LIMIT]}")
                return Failed(plain(error)[:ERROR_LIMIT], transient or broken, broken)
            case _:
                raise HandlerEnded("it does not keep to the protocol")

    async def end(self, grace: float = GRACE) -> None:
        """End the process: by itself in ``grace`` seconds if nothing is in hand, else by force, likewise."""
        try:
            if self._answer is None:
                with contextlib.suppress(OSError):
                    self._link.shutdown(socket.SHUT_WR)
                await self._ends_within(grace)
            if not self._watch.done():
                self._signal(signal.SIGTERM)
                await self._ends_within(grace)
        finally:
            self._signal(signal.SIGKILL)
            self._link.close()
            await asyncio.wait({self._watch})
        self._watch.result()

    async def _become_ready(self, spec: HandlerSpec) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                answer = await self._ask(b"")
        except TimeoutError:
            raise HandlerEnded(f"not ready after {START_TIMEOUT:.0f} s") from None
        if isinstance(answer, Missing):
            raise UsageError(plain(answer.error) or f"{spec.option}: no such handler")
        if not isinstance(answer, Ready):
            raise HandlerEnded("it does not keep to the protocol")

    async def _ask(self, line: bytes) -> FromHandler:
        self.check()
        answer = self._answer = self._loop.create_future()
        try:
            with contextlib.suppress(OSError):  # it is gone, which the answer tells
                await self._loop.sock_sendall(self._link, line)
            result: FromHandler = await answer
        finally:
            answer.cancel()
        self._answer = None
        return result

    async def _ends_within(self, seconds: float) -> None:
        """Unlike ``wait_for`` of Python 3.11 this swallows no cancellation that comes as the process ends."""
        await asyncio.wait({self._watch}, timeout=seconds)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the process group: children of the handler too, also when it has ended itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _await_end(self) -> None:
        code = await self._process.wait()
        self._frames.read_now()
        self._output.read_now()
        self._frames.close()
        self._output.close()
        self._say_all(self._lines.end_line(self._loop.time()))
        self._say_dropped()
        self._give_up(status_words(code))

    def _give_up(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason
            self._on_end()
        if self._answer and not self._answer.done():
            self._answer.set_exception(HandlerEnded(self._ended))

    def _receive(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        try:
            for line in lines:
                self._answered(CODEC.decode(line))
        except ProtocolError:
            self._give_up("it does not keep to the protocol")
        if len(self._received) > LINE_LIMIT:
            self._received = b""
            self._give_up("it does not keep to the protocol")

    def _answered(self, frame: FromHandler) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(frame)

    def _print(self, data: bytes) -> None:
        self._say_all(self._lines.feed(data, self._loop.time()))
        if self._lines.dropped and self._later is None:
            self._later = self._loop.call_later(1.0, self._say_dropped)

    def _say_dropped(self) -> None:
        if self._later:
            self._later.cancel()
            self._later = None
        self._say_all(self._lines.tell_dropped())

    def _say_all(self, lines: list[str]) -> None:
        for line in lines:
            self._say(self._number, line)
