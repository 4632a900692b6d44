"""Hand messages to the operator's code, which may fail or be slow without harm to the session."""

import contextlib
import importlib
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wa_sessions.errors import UsageError
from wa_sessions.worker.message import IncomingMessage

Handler = Callable[[IncomingMessage], object]

SLOW_AFTER = 5.0  # seconds that one message may take before it is told
COMMAND_TIMEOUT = 60.0  # seconds after which a command is killed
REMEMBERED = 1000  # messages that are known again if they come twice


def load_function(name: str) -> Handler:
    """Find ``module:function``, also in the current folder. Raises UsageError if it is not there."""
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise UsageError(f"--on-message takes module:function, not {name!r}")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--on-message {name}: {error}") from error
    if not callable(function):
        raise UsageError(f"--on-message {name}: not a function")
    return function  # type: ignore[no-any-return]


def command_handler(command: str) -> Handler:
    """Run ``command`` once for each message, with one JSON object on its standard input; its output is dropped."""
    words = shlex.split(command)

    def run(message: IncomingMessage) -> None:
        subprocess.run(
            words,
            input=message.as_json() + "\n",
            text=True,
            check=True,
            timeout=COMMAND_TIMEOUT,
            stdout=subprocess.DEVNULL,
        )

    return run


class HandlerThread:
    """Calls one handler, message after message, on a thread of its own.

    A message that comes twice is handled once: when a connection is lost just as a message arrives, whatsmeow can
    decrypt the copy of the old connection and the one that WhatsApp delivers again at the same time, and tell of both.
    """

    def __init__(self, handler: Handler, phone: str, emit: Callable[..., None]) -> None:
        self._handler = handler
        self._phone = phone
        self._emit = emit
        self._queue: queue.SimpleQueue[IncomingMessage | None] = queue.SimpleQueue()
        self._known: deque[tuple[str, str, str]] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="handler", daemon=True)
        self._thread.start()

    def put(self, message: IncomingMessage) -> None:
        """Queue a message, unless it came before; never waits for the handler."""
        key = message.chat, message.sender, message.id
        with self._lock:
            if key in self._known:
                return
            self._known.append(key)
        self._queue.put(replace(message, phone=self._phone))

    def finish(self, timeout: float) -> None:
        """Let the handler take what is queued, for ``timeout`` seconds at most."""
        self._queue.put(None)
        self._thread.join(timeout)
        if left := self._queue.qsize():
            self._emit("handler_unfinished", waiting=left)

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            started = time.monotonic()
            watch = threading.Timer(SLOW_AFTER, self._tell_slow, (message.id,))
            watch.daemon = True
            watch.start()
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    self._handler(message)
            except Exception as error:  # noqa: BLE001  # the handler is not ours; its failure is an event
                seconds = round(time.monotonic() - started, 3)
                self._emit("handler_failed", message_id=message.id, error=type(error).__name__, seconds=seconds)
            finally:
                watch.cancel()

    def _tell_slow(self, message_id: str) -> None:
        self._emit("handler_slow", message_id=message_id, seconds=SLOW_AFTER, waiting=self._queue.qsize())
