"""A dispatcher with real handler processes, and what it told, to wait upon."""

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from wa_sessions.worker.delivery.dispatcher import Dispatcher
from wa_sessions.worker.delivery.spec import HandlerSpec
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.ports import HandlerEvent

TELL = """
def answer(message):
    print("handled", message.text)
"""

CHAT = "77050000001@s.whatsapp.net"
MESSAGE = IncomingMessage("ID", CHAT, "1@lid", None, False, False, 0, "conversation", "", b"\x0a\x02hi", "77051234567")


@dataclass
class Heard:
    """Everything that a dispatcher told: events with their phone's id, lines with their phone's number.

    An event's fields are those of its kind, which each test knows.
    """

    events: list[tuple[int, Any]] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, phone_id: int, event: HandlerEvent) -> None:
        self.events.append((phone_id, event))
        self._changed.set()

    def output(self, number: str, line: str) -> None:
        self.lines.append((number, line))
        self._changed.set()

    def texts(self) -> list[str]:
        return [line for _, line in self.lines]

    def kinds(self) -> list[str]:
        return [event.kind for _, event in self.events]

    async def until(self, true: Callable[[], object], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def line(self, *wanted: str) -> None:
        await self.until(lambda: set(wanted) <= set(self.texts()))

    async def event(self, kind: str) -> Any:
        await self.until(lambda: kind in self.kinds())
        return next(event for _, event in self.events if event.kind == kind)


class Bench:
    """A dispatcher that runs, with phones numbered 1, 2, …"""

    def __init__(self, spec: HandlerSpec, **settings: Any) -> None:
        self.heard = Heard()
        self.dispatcher = Dispatcher(spec, tell=self.heard.tell, output=self.heard.output, **settings)
        self._count = 0

    def put(self, *texts: str, phone: int = 1, chat: str = CHAT) -> None:
        for text in texts:
            self._count += 1
            message = replace(MESSAGE, id=f"ID{self._count}", text=text, chat=chat, phone=f"7705000000{phone}")
            self.dispatcher.put(phone, message, 0)

    def processes(self) -> list[psutil.Process]:
        return handler_processes()


def handler_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if is_handler(child)]


def is_handler(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("worker.delivery." in word for word in process.cmdline())
    return False


@contextlib.asynccontextmanager
async def running(spec: HandlerSpec, **settings: Any) -> AsyncIterator[Bench]:
    bench = Bench(spec, **settings)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.dispatcher.run())
        await asyncio.sleep(0)  # it has begun
        try:
            yield bench
        finally:
            task.cancel()


def function(folder: Path, source: str) -> HandlerSpec:
    """A handler ``answer(message)`` in the current folder."""
    (folder / "shop.py").write_text(source)
    return HandlerSpec(function="shop:answer")


def command(script: str, *words: str) -> HandlerSpec:
    """A handler that is a line of shell."""
    return HandlerSpec(command=shlex.join(["sh", "-c", script, *words]))


async def gone(pid: int, seconds: float = 10) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


def run(spec: HandlerSpec, do: Callable[[Bench], Awaitable[None]], *, drain: bool = True, **settings: float) -> Bench:
    """Do something with a dispatcher, which is drained afterwards if it is not cancelled; nothing of it may be left."""

    async def main() -> Bench:
        async with running(spec, **settings) as bench:
            await do(bench)
            processes = bench.processes()
            if drain:
                await bench.dispatcher.drain(20)
        assert [process for process in processes if process.is_running()] == []
        return bench

    return asyncio.run(main())


def program_file(folder: Path, script: str) -> Path:
    """A handler that is a file, put there whole."""
    made = folder / "new"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o700)
    return made.rename(folder / "handler")
