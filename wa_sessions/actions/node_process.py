"""The Node backend's process: it would write back for 300 s what is changed beside it, so it is stopped meanwhile."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final, Self

from wa_sessions.db import health
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, UsageError, WaSessionsError
from wa_sessions.health.reconnect import Status

STOP_VARIABLE, START_VARIABLE = "WA_SESSIONS_STOP_COMMAND", "WA_SESSIONS_START_COMMAND"

_TRYING: Final = {Status.RECONNECTING, Status.LOADING}


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """The shell commands that stop and start the backend's process."""

    stop: str
    start: str

    @classmethod
    def configured(cls, stop: str | None, start: str | None) -> Self | None:
        """The commands as given, else those of the environment; None for none. Raises UsageError for one alone."""
        stop = stop or os.environ.get(STOP_VARIABLE) or None
        start = start or os.environ.get(START_VARIABLE) or None
        if stop is None and start is None:
            return None
        if stop is None or start is None:
            missing = "--stop-command" if stop is None else "--start-command"
            raise UsageError(f"{missing} is missing: what is stopped has to be started again, and the other way round")
        return cls(stop, start)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process, and start it again whatever happens, on Ctrl-C and SIGTERM too.

        Raises WaSessionsError where the stop fails, before the block is entered, and where the start fails.
        """
        with ending_raises():
            try:
                self._run(self.stop, "the stop command failed, so nothing was changed")
                yield
            finally:
                with undisturbed():
                    self._run(self.start, "THE NODE PROCESS IS DOWN: the start command failed; start it by hand")

    def _run(self, command: str, complaint: str) -> None:
        """What the command says goes to stderr."""
        shell = ["/bin/sh", "-c", command]
        done = subprocess.run(shell, stdin=subprocess.DEVNULL, stdout=2, check=False, start_new_session=True)
        status = done.returncode
        if status != 0:
            raise WaSessionsError(f"{complaint} (exit {status}: {command})")


def refuse_running(conn: Connection, found: list[Phone], *, moves: bool = False) -> None:
    """Raise OwnedByAnother for Baileys phones whose Node process runs: it would write the rows back.

    Where a phone ``moves``, for those too that try to connect.
    """
    running = running_or_trying(conn, found) if moves else running_in_node(conn, found)
    if not running:
        return
    status = running[0].status if running[0].status in _TRYING else Status.CONNECTED.value
    named_phones = running[0].number if len(running) == 1 else f"{len(running)} phones ({running[0].number}, …)"
    subject = "is a baileys phone and" if len(running) == 1 else "are baileys phones and"
    raise OwnedByAnother(
        f"{named_phones} {subject} {status}: the Node process would write the rows back for 300 s; name its commands "
        "with --stop-command and --start-command, or stop it and say --process-stopped"
    )


def running_or_trying(conn: Connection, found: list[Phone]) -> list[Phone]:
    """The Baileys phones whose Node process runs them, and those that it tries to connect."""
    trying = [phone for phone in found if phone.connection_type == "baileys" and phone.status in _TRYING]
    return running_in_node(conn, found) + trying


def running_in_node(conn: Connection, found: list[Phone]) -> list[Phone]:
    """The Baileys phones that are connected, or were when a command of ours gave them the status that they have."""
    baileys = [phone for phone in found if phone.connection_type == "baileys"]
    given = health.statuses_given(conn, [phone.id for phone in baileys if phone.status != Status.CONNECTED])
    return [phone for phone in baileys if phone.status == Status.CONNECTED or given.get(phone.id) == phone.status]


@contextlib.contextmanager
def ending_raises() -> Iterator[None]:
    """Turn the signals that end a process into KeyboardInterrupt, so that what was begun is ended too."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal end what has to be done to its end. A handler that does nothing is not passed on to children."""
    with _handled(lambda _number, _frame: None, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
