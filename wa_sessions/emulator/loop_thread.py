"""An event loop in a thread of its own, and a way to have work done in it from any other thread."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from wa_sessions.emulator.errors import EmulatorError

ResultT = TypeVar("ResultT")
START_TIMEOUT = 20.0
CALL_TIMEOUT = 30.0


class LoopThread:
    """Runs one coroutine for as long as it is started."""

    def __init__(
        self, name: str, main: Callable[[Callable[[], None], asyncio.Event], Coroutine[Any, Any, None]]
    ) -> None:
        self._name, self._main = name, main
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> None:
        """Returns once the coroutine has called its first argument; its second is set when it has to end."""
        if self._thread is not None:
            raise EmulatorError("it is started already")
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, args=(started,), name=self._name, daemon=True)
        self._thread.start()
        started.result(START_TIMEOUT)

    def stop(self) -> None:
        """Ends the coroutine and waits for it; harmless if nothing runs."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(START_TIMEOUT)
        self._loop = self._stop = None

    def run(self, work: Coroutine[Any, Any, ResultT], timeout: float = CALL_TIMEOUT) -> ResultT:
        """Have a coroutine run in the loop and wait for its result."""
        if self._loop is None:
            work.close()
            raise EmulatorError("the emulator is not started")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def call(self, function: Callable[[], ResultT]) -> ResultT:
        """Have a function run in the loop and wait for its result."""

        async def work() -> ResultT:
            return function()

        return self.run(work())

    def _work(self, started: "Future[None]") -> None:
        try:
            asyncio.run(self._begin(started))
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _begin(self, started: "Future[None]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._main(lambda: started.set_result(None), self._stop)
