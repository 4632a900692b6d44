"""The program of a session host: one process, many clients. Commands as lines on stdin, frames as lines on a pipe.

It ends with its parent, by command, or by itself when the lease that it was last told of runs out. Run as
``python -P -m wa_sessions.worker.hosts.main <pipe>``; without ``-P`` it would import from the current folder.
"""

import ctypes
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from wa_sessions.plain_text import plain_text
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.deadline import Deadline

if TYPE_CHECKING:
    from wa_sessions.worker.hosts.neonize import Client

HEARTBEAT = 1.0
"""Seconds between two ``Alive``."""

_ERROR_SIZE = 500  # characters of an error for people
_PR_SET_PDEATHSIG = 1


class HostProgram:
    """Wires stdin, the clients and the pipe."""

    def __init__(self, pipe: int) -> None:
        from wa_sessions.worker.hosts.gate import MapGate

        self._pipe, self._writing = pipe, threading.Lock()
        self._deadline = Deadline()
        self._gate = MapGate()
        self._clients: dict[int, Client] = {}
        self._starts: queue.SimpleQueue[protocol.StartClient] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[protocol.Frame] = queue.SimpleQueue()

    def tell(self, *frames: protocol.Frame) -> None:
        """Write frames at once, from any thread."""
        view = memoryview(b"".join(map(protocol.encode, frames)))
        with self._writing:
            while view:
                view = view[os.write(self._pipe, view) :]

    def run(self) -> None:
        """Handle commands until stdin ends."""
        _in_thread(self._read, "commands")
        import wa_sessions.worker.hosts.neonize  # noqa: F401  # half a second, before anybody waits for a client

        _in_thread(self._beat, "heartbeat")
        _in_thread(self._start_clients, "starts")
        while True:
            self._handle(self._commands.get())

    def _read(self) -> None:
        """A lease waits for no other command, nor for what is loaded at the start."""
        for line in sys.stdin.buffer:
            try:
                frame = protocol.decode(line)
            except protocol.ProtocolError as error:
                _complain(f"not understood: {error}")
                continue
            if isinstance(frame, protocol.ExtendLease):
                self._deadline.extend(frame.until)
            else:
                self._commands.put(frame)
        os._exit(0)

    def _handle(self, frame: protocol.Frame) -> None:
        match frame:
            case protocol.StartClient():
                self._add(frame)
            case protocol.MessagesTaken(number, count):
                if client := self._clients.get(number):
                    client.messages_taken(count)
            case protocol.StopClient(number):
                self._aside(lambda: self._end(number, drain=True))
            case protocol.DropClient(number):
                self._aside(lambda: self._end(number, drain=False))
            case protocol.SendText() | protocol.Unlink() | protocol.PrepareStore():
                self._answer(frame)
            case protocol.EndHost(seconds):
                self._aside(lambda: self._end_all(seconds))
            case _:
                _complain(f"not a command: {type(frame).__name__}")

    # ------------------------------------------------------------------------------------------ begin and end

    def _add(self, start: protocol.StartClient) -> None:
        from wa_sessions.worker.hosts.neonize import Client

        self._clients[start.client] = Client(
            start.client, self._gate, self.tell, deliver=start.deliver, window=start.window
        )
        self._starts.put(start)

    def _start_clients(self) -> None:
        """One after another: a start writes Go's maps, and holds the gate until it is done or hangs."""
        while True:
            start = self._starts.get()
            client = self._clients.get(start.client)
            if client and client.begin():
                client.start(start.store_url, start.device)

    def _end(self, number: int, *, drain: bool) -> None:
        client = self._clients.get(number)
        if client and not client.close(drain=drain):
            self.tell(protocol.Stuck(number))
            return
        self._clients.pop(number, None)
        self.tell(protocol.Stopped(number))

    def _end_all(self, seconds: float) -> None:
        """All WebSockets side by side, one time of quiet for all, no ``Stop``: the process ends."""
        end, clients = time.monotonic() + seconds, [one for one in list(self._clients.values()) if not one.cancel()]
        closing = [self._aside(partial(client.leave, end)) for client in clients]
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))  # not for a farewell into a black hole
        for number in list(self._clients):  # others that end just now take themselves out
            self.tell(protocol.Stopped(number))
        os._exit(0)

    # ----------------------------------------------------------------------------------------------- requests

    def _answer(self, asked: protocol.SendText | protocol.Unlink | protocol.PrepareStore) -> None:
        def answer() -> None:
            try:
                self.tell(self._ask(asked))
            except Exception as error:  # noqa: BLE001  # the asker gets it
                text = plain_text(f"{type(error).__name__}: {error}", _ERROR_SIZE)
                self.tell(protocol.Answer(asked.request, error=text))

        self._aside(answer)

    def _ask(self, asked: protocol.SendText | protocol.Unlink | protocol.PrepareStore) -> protocol.Answer:
        if isinstance(asked, protocol.PrepareStore):
            return protocol.Answer(asked.request, result=_prepare(asked.store_url))
        client = self._clients.get(asked.client)
        if client is None:
            return protocol.Answer(asked.request, error="the session has ended")
        if isinstance(asked, protocol.SendText):
            return protocol.Answer(asked.request, result=client.send_text(asked.to, asked.text))
        client.unlink()
        return protocol.Answer(asked.request)

    @staticmethod
    def _aside(work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _beat(self) -> None:
        pause = threading.Event()
        while True:
            self.tell(protocol.Alive())
            pause.wait(HEARTBEAT)


def _in_thread(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=or_end, args=(work,), name=name, daemon=True).start()


def or_end(work: Callable[[], None]) -> None:
    """Do what a host is worth nothing without: where it fails the process ends, and the worker hears why."""
    try:
        work()
    except BaseException:  # noqa: BLE001  # a thread that is gone would be missed by nobody
        traceback.print_exc()
        os._exit(1)


def _prepare(store_url: str) -> list[str]:
    from wa_sessions.worker.hosts.neonize import prepare_store

    return prepare_store(store_url)


def _complain(what: str) -> None:
    print(f"session host: {what}", file=sys.stderr)  # noqa: T201  # the parent logs it


def _confine() -> None:
    """No output into the terminal, no keys into a core dump, all files that may be had, no life without the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's, which ends its hosts gracefully
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # neonize 0.5.2 never waits for the ``uname`` of its import
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Go's libraries print to the raw file descriptor 1


def main() -> None:
    """The program."""
    _confine()
    HostProgram(int(sys.argv[1])).run()


if __name__ == "__main__":
    main()
