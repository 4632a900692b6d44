"""The Node backend's process: it would write back for 300 s what is changed beside it, so it is stopped meanwhile."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Generic, Self, TypeVar

from wa_sessions import config
from wa_sessions.actions.shell_command import failed, missing, run
from wa_sessions.config.table import NODE_TIMEOUT
from wa_sessions.db import health
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, UsageError, WaSessionsError, with_words
from wa_sessions.health.backend_words import ConnectionType, UnknownWord
from wa_sessions.health.reconnect import DOWN_STATUSES, Status

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What was done while the process was stopped. ``down``: why it could not be started again, where it could not."""

    result: T
    down: WaSessionsError | None = None


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """The shell commands that stop and start the backend's process, and for how many seconds each is waited for."""

    stop: str
    start: str
    limit: int = NODE_TIMEOUT.default

    @classmethod
    def configured(cls, stop: str | None, start: str | None) -> Self | None:
        """The commands that are given; None for none.

        Raises UsageError for one alone, and for a time limit that is none.
        """
        if not stop and not start:
            return None
        if not stop or not start:
            missing = "--start-command" if stop else "--stop-command"
            raise UsageError(f"{missing} is missing: what is stopped has to be started again, and the other way round")
        return cls(stop, start, config.value(NODE_TIMEOUT))

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
        status = run(self.stop, self.limit)
        if status == 0:
            return
        if why := missing(self.stop, status):
            raise _NotStoppedError(f"nothing was changed, as the Node process could not be stopped: {why}")
        if status is None:
            raise _StopFailedError(
                f"nothing was changed, as the stop command did not end within {self.limit} s and was ended "
                f"({self.stop}); {NODE_TIMEOUT.variable} gives it more seconds"
            )
        raise _StopFailedError(f"nothing was changed, as the stop command {failed(self.stop, status)}")

    def _started(self, *, stopped: bool = True) -> WaSessionsError | None:
        """Start it; what is to be told where that fails. No signal ends this."""
        with undisturbed():
            status = run(self.start, self.limit, leave=True)
        if status == 0:
            return None
        if status is None:
            return WaSessionsError(
                f"THE NODE PROCESS MAY BE DOWN: the start command has not ended after {self.limit} s and is left "
                f"running ({self.start}); look whether the process is up. A command that stays is to be started in "
                "the background"
            )
        why = missing(self.start, status) or f"the start command {failed(self.start, status)}"
        if not stopped:
            return WaSessionsError(f"THE NODE PROCESS MAY BE DOWN: {why}; look, and start it by hand if it is")
        return WaSessionsError(f"THE NODE PROCESS IS DOWN: {why}; start it by hand")


class _NotStoppedError(WaSessionsError):
    """The stop command could not even begin: the process runs as before."""


class _StopFailedError(WaSessionsError):
    """The stop command began and failed: whether the process runs is not known."""


def refuse_running(conn: Connection, found: list[Phone]) -> None:
    """Raise OwnedByAnother for Baileys phones whose Node process runs, or may: it would go on and write rows back."""
    running = running_in_node(conn, found)
    if not running:
        return
    first = running[0]
    status = Status.CONNECTED if first.status in DOWN_STATUSES else first.status
    named_phones = first.number if len(running) == 1 else f"{len(running)} phones ({first.number}, …)"
    subject = "is a baileys phone" if len(running) == 1 else "are baileys phones"
    state = f"{status!r}, which is not known to mean that it is stopped" if isinstance(status, UnknownWord) else status
    raise OwnedByAnother(
        f"{named_phones} {subject} and {state}: the Node process would go on with the session, and write its rows back "
        "for 300 s; name its commands with --stop-command and --start-command, or stop it and say --process-stopped"
    )


def running_in_node(conn: Connection, found: list[Phone]) -> list[Phone]:
    """The Baileys phones that the Node process runs for all that is known.

    That is: those whose status does not mean that they are not run, or was given by a command of ours while they were.
    """
    baileys = [phone for phone in found if phone.connection_type == ConnectionType.BAILEYS]
    given = health.statuses_given(conn, [phone.id for phone in baileys if phone.status in DOWN_STATUSES])
    return [phone for phone in baileys if runs_in_node(phone, given.get(phone.id))]


def runs_in_node(phone: Phone, given: str | None) -> bool:
    """PURE: whether the Node process runs a Baileys phone for all that is known. ``given``: the status by a command."""
    return phone.status not in DOWN_STATUSES or given == phone.status


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
