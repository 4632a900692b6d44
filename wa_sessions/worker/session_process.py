"""The program of a session's own process: commands as JSON lines on stdin, events as JSON lines on a pipe.

It ends with its parent, by command, or by itself when the lease that it was last told of runs out.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from wa_sessions.errors import UsageError
from wa_sessions.worker.handlers import HandlerThread, command_handler, load_function
from wa_sessions.worker.message import IncomingMessage

LEASE_RAN_OUT = 75  # exit status, EX_TEMPFAIL of sysexits.h
QUIET_BEFORE_EXIT = 0.2  # seconds without an event after which a closed session has told everything
DRAIN_TIMEOUT = 3.0  # seconds at most for what Go has queued, and for the handler

_PR_SET_PDEATHSIG = 1


class SessionProcess:
    """Wires stdin, the session and the event pipe."""

    def __init__(self, event_pipe: int) -> None:
        self._pipe = event_pipe
        self._lock = threading.Lock()
        self._last_event = time.monotonic()
        self._lease_changed = threading.Condition()
        self._lease_until = time.monotonic() + 60
        self._handler: HandlerThread | None = None
        self._session: Any = None

    def emit(self, event: str, **fields: object) -> None:
        """Tell the parent one event."""
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        with self._lock:
            self._last_event = time.monotonic()
            view = memoryview(line)
            while view:
                view = view[os.write(self._pipe, view) :]

    def run(self) -> None:
        """Obey commands until stdin ends."""
        threading.Thread(target=self._watch_lease, name="lease", daemon=True).start()
        for line in sys.stdin:
            command = json.loads(line)
            match command.pop("do"):
                case "start":
                    self._start(**command)
                case "lease":
                    self._extend(command["until"])
                case "stop":
                    self._stop()
                case verb:
                    threading.Thread(target=self._answer, args=(verb, command), daemon=True).start()
        os._exit(0)

    def _start(
        self, *, store_url: str, device: str | None, phone: str, function: str | None, command: str | None, until: float
    ) -> None:
        from wa_sessions.worker.adapter import Session

        _reap()
        self._extend(until)
        try:
            handler = load_function(function) if function else command_handler(command) if command else None
        except UsageError as error:
            self.emit("handler_missing", error=str(error))
            os._exit(2)
        if handler:
            self._handler = HandlerThread(handler, phone, self.emit)
        self._session = Session(self.emit, self._take)
        self._session.start(store_url, device)

    def _take(self, message: IncomingMessage) -> None:
        if self._handler:
            self._handler.put(message)

    def _answer(self, verb: str, command: dict[str, Any]) -> None:
        request = command["request"]
        try:
            result: str | list[str] | None = None
            match verb:
                case "prepare":
                    result = _prepare(command["store_url"])
                case "send":
                    result = self._session.send_text(command["to"], command["text"])
                case "unlink":
                    self._session.unlink()
            self.emit("answer", request=request, result=result)
        except Exception as error:  # noqa: BLE001  # the asker gets it
            self.emit("answer", request=request, error=f"{type(error).__name__}: {error}")

    def _stop(self) -> None:
        """Close the WebSocket, let what has arrived reach the handler, and go."""
        if self._session:
            with contextlib.suppress(Exception):
                self._session.disconnect()
            end = time.monotonic() + DRAIN_TIMEOUT
            quiet = threading.Event()
            while (left := self._last_event + QUIET_BEFORE_EXIT - time.monotonic()) > 0 and time.monotonic() < end:
                quiet.wait(left)
        if self._handler:
            self._handler.finish(DRAIN_TIMEOUT)
        self.emit("stopped")
        os._exit(0)

    def _extend(self, until: float) -> None:
        with self._lease_changed:
            self._lease_until = until
            self._lease_changed.notify()

    def _watch_lease(self) -> None:
        with self._lease_changed:
            while (left := self._lease_until - time.monotonic()) > 0:
                self._lease_changed.wait(left)
        os._exit(LEASE_RAN_OUT)


def _reap() -> None:
    """End the zombies of the two ``uname`` that neonize 0.5.2 starts when it is imported and never waits for."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _prepare(store_url: str) -> list[str]:
    from wa_sessions.worker.adapter import prepare_store

    return prepare_store(store_url)


def main() -> None:
    """Run as ``python -m wa_sessions.worker.session_process <pipe>``."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # Go's libraries print to the raw file descriptor 1
    process = SessionProcess(int(sys.argv[1]))
    process.run()


if __name__ == "__main__":
    main()
