"""The Node backend's process: it would write back for 300 s what is changed beside it, so it is stopped meanwhile."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Generic, Self, TypeVar

from wa_sessions.db import health
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, UsageError, WaSessionsError, with_words
from wa_sessions.health.reconnect import DOWN_STATUSES, Status

STOP_VARIABLE, START_VARIABLE = "WA_SESSIONS_STOP_COMMAND", "WA_SESSIONS_START_COMMAND"

_NOT_FOUND = 127
_NO_PROGRAM = (126, _NOT_FOUND)
"""How a shell ends that cannot run a program, or does not find it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What was done while the process was stopped. ``down``: why it could not be started again, where it could not."""

    result: T
    down: WaSessionsError | None = None


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

    def around(self, work: Callable[[], T]) -> Done[T]:
        """Do ``work`` while the process is stopped, and start it again whatever happens, on Ctrl-C and SIGTERM too.

        Raises WaSessionsError where the stop fails, before ``work`` begins, and what ``work`` raises; each says what
        became of the process.
        """
        with ending_raises():
            try:
                self._stop()
                result = work()
            except _NotStoppedError:
                raise
            except WaSessionsError as error:
                stopped = not isinstance(error, _StopFailedError)
                became = self._started(stopped=stopped) or "the Node process was started again"
                raise with_words(error, str(became)) from None
            except BaseException as error:
                if down := self._started():
                    raise down from error
                raise
            return Done(result, self._started())

    def _stop(self) -> None:
        status = _run(self.stop)
        if status == 0:
            return
        if missing := _missing(self.stop, status):
            raise _NotStoppedError(f"nothing was changed, as the Node process could not be stopped: {missing}")
        raise _StopFailedError(f"nothing was changed, as the stop command {_failed(self.stop, status)}")

    def _started(self, *, stopped: bool = True) -> WaSessionsError | None:
        """Start it; what is to be told where that fails. No signal ends this."""
        with undisturbed():
            status = _run(self.start)
        if status == 0:
            return None
        why = _missing(self.start, status) or f"the start command {_failed(self.start, status)}"
        if not stopped:
            return WaSessionsError(f"THE NODE PROCESS MAY BE DOWN: {why}; look, and start it by hand if it is")
        return WaSessionsError(f"THE NODE PROCESS IS DOWN: {why}; start it by hand")


class _NotStoppedError(WaSessionsError):
    """The stop command could not even begin: the process runs as before."""


class _StopFailedError(WaSessionsError):
    """The stop command began and failed: whether the process runs is not known."""


def while_stopped(node: NodeProcess | None, work: Callable[[], T]) -> Done[T]:
    """Do ``work``, with the process stopped meanwhile if its commands are given. Raises as ``NodeProcess.around``."""
    return node.around(work) if node else Done(work())


def _run(command: str) -> int:
    """The status with which a command ends; what it says goes to stderr."""
    shell = ["/bin/sh", "-c", command]
    return subprocess.run(shell, stdin=subprocess.DEVNULL, stdout=2, check=False, start_new_session=True).returncode


def _missing(command: str, status: int) -> str | None:
    """What to tell of a command whose very program was not found; None where the command had begun, or may have."""
    try:
        words = [word for word in shlex.split(command) if not re.match(r"\w+=", word)]
    except ValueError:
        return None
    if status not in _NO_PROGRAM or not words or re.search(r"[;&|()`$<>\n]", command) or shutil.which(words[0]):
        return None
    if "/" in words[0]:
        what = "cannot be executed" if Path(words[0]).exists() else "does not exist"
        return f"{words[0]} {what} (exit {status}: {command})"
    return (
        f"there is no program {words[0]} in PATH (exit {status}: {command}); "
        "name it with its whole path: cron and sudo have a shorter PATH than a terminal"
    )


def _failed(command: str, status: int) -> str:
    """How a command ended that had begun, or may have; a signal has a name, and a program of it may be missing."""
    if status < 0:
        return f"failed (ended by {_signal_name(-status)}: {command})"
    hint = "; a program that it needs is not in PATH, which cron and sudo have shorter than a terminal"
    return f"failed (exit {status}: {command}{hint if status == _NOT_FOUND else ''})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def refuse_running(conn: Connection, found: list[Phone]) -> None:
    """Raise OwnedByAnother for Baileys phones whose Node process runs, or may: it would go on and write rows back."""
    running = running_in_node(conn, found)
    if not running:
        return
    first = running[0]
    status = Status.CONNECTED.value if first.status in DOWN_STATUSES else first.status
    named_phones = first.number if len(running) == 1 else f"{len(running)} phones ({first.number}, …)"
    subject = "is a baileys phone" if len(running) == 1 else "are baileys phones"
    state = f"{status!r}, which is not known to mean that it is stopped" if status not in set(Status) else status
    raise OwnedByAnother(
        f"{named_phones} {subject} and {state}: the Node process would go on with the session, and write its rows back "
        "for 300 s; name its commands with --stop-command and --start-command, or stop it and say --process-stopped"
    )


def running_in_node(conn: Connection, found: list[Phone]) -> list[Phone]:
    """The Baileys phones that the Node process runs for all that is known.

    That is: those whose status does not mean that they are not run, or was given by a command of ours while they were.
    """
    baileys = [phone for phone in found if phone.connection_type == "baileys"]
    given = health.statuses_given(conn, [phone.id for phone in baileys if phone.status in DOWN_STATUSES])
    return [phone for phone in baileys if phone.status not in DOWN_STATUSES or given.get(phone.id) == phone.status]


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
