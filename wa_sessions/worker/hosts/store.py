"""What is done with the key store or one device alone, in a host of its own: make the tables, log a device out."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from wa_sessions.db.settings import without_idle_timeout
from wa_sessions.errors import DatabaseAway, DatabaseError, WaSessionsError
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.client import HostExit, HostProcess
from wa_sessions.worker.hosts.deadline import now

DEADLINE = 30.0
"""Seconds for the login and the logout of one device."""

_PREPARE_TIMEOUT = 60.0  # seconds for whatsmeow's migrations
_STRAIGHT = "give a --store-url that leads straight to this same database, past any pooler"


async def prepare_store(store_url: str) -> str:
    """Have neonize make or upgrade its tables; the URL to use from now on.

    It is without ``idle_session_timeout`` where a pooler refuses that. Raises DatabaseError where neonize cannot use
    the store.
    """
    try:
        async with asyncio.timeout(_PREPARE_TIMEOUT), _own_host(_PREPARE_TIMEOUT) as host:
            url, _ = await _prepared(host, store_url)
    except WaSessionsError as error:
        raise DatabaseError(f"neonize cannot use the key store: {error}") from None
    except TimeoutError:
        raise DatabaseAway(f"the key store did not answer neonize in {_PREPARE_TIMEOUT:g} s") from None
    return url


async def log_out(store_url: str, device: str, deadline: float = DEADLINE) -> bool:
    """Connect as ``device`` only to have WhatsApp remove it; False if WhatsApp had removed it before.

    No message reaches a handler, and the process is killed at the end. Raises DatabaseError if neonize does not find
    the device at ``store_url``, WaSessionsError if WhatsApp cannot be reached, refuses, or has not answered after
    ``deadline`` seconds: then it can be done again.
    """
    try:
        async with asyncio.timeout(deadline), _own_host(deadline) as host:
            url = await _found(host, store_url, device)
            host.process.send(protocol.StartClient(_CLIENT, url, device, deliver=False))
            return await _removed(host)
    except TimeoutError:
        raise WaSessionsError(f"WhatsApp did not answer in {deadline:g} s") from None


_CLIENT = 1  # the only one in its host


class _OwnHost:
    """A host for one purpose; what it tells is waited for."""

    def __init__(self) -> None:
        self.process: HostProcess
        self.events: asyncio.Queue[protocol.ClientEvent | HostExit] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[protocol.Answer]] = {}
        self._ended: str | None = None

    def on_frame(self, frame: protocol.ClientEvent | protocol.HostEvent) -> None:
        match frame:
            case protocol.Answer():
                if (answer := self._answers.pop(frame.request, None)) and not answer.done():
                    answer.set_result(frame)
            case protocol.Alive() | protocol.Stuck():
                pass
            case _:
                self.events.put_nowait(frame)

    def on_unknown_frame(self) -> None:
        pass

    def on_exit(self, ended: HostExit) -> None:
        self._ended = f"the session host ended before it answered: {ended.reason}"
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(protocol.Answer(0, error=self._ended))
        self.events.put_nowait(ended)

    async def ask(self, command: "protocol.PrepareStore | protocol.Unlink") -> protocol.Answer:
        """The answer to a request. Raises WaSessionsError with its error."""
        if self._ended:
            raise WaSessionsError(self._ended)
        answer: asyncio.Future[protocol.Answer] = asyncio.get_running_loop().create_future()
        self._answers[command.request] = answer
        self.process.send(command)
        given = await answer
        if given.error is not None:
            raise WaSessionsError(given.error)
        return given

    def number(self) -> int:
        """For the next request."""
        return next(self._numbers)


@contextlib.asynccontextmanager
async def _own_host(lease: float) -> AsyncIterator[_OwnHost]:
    host = _OwnHost()
    try:
        host.process = await HostProcess.spawn(host)
    except (OSError, RuntimeError) as error:
        raise WaSessionsError(f"no process could be started: {getattr(error, 'strerror', error)}") from None
    try:
        host.process.send(protocol.ExtendLease(now() + lease))
        yield host
    finally:
        host.process.kill()
        await host.process.gone()


async def _prepared(host: _OwnHost, store_url: str) -> tuple[str, list[str]]:
    """The URL that works, with or without the idle timeout, and the devices in the store."""
    try:
        return store_url, await _devices(host, store_url)
    except WaSessionsError:
        plain = without_idle_timeout(store_url)
        if plain == store_url:
            raise
    return plain, await _devices(host, plain)


async def _devices(host: _OwnHost, store_url: str) -> list[str]:
    answer = await host.ask(protocol.PrepareStore(host.number(), store_url))
    return answer.result if isinstance(answer.result, list) else []


async def _found(host: _OwnHost, store_url: str, device: str) -> str:
    """See that the URL leads to the device: neonize ends with a Go panic where it does not."""
    try:
        url, devices = await _prepared(host, store_url)
    except WaSessionsError as error:
        raise DatabaseError(f"neonize cannot use the database: {error}; {_STRAIGHT}") from None
    if device not in devices:
        raise DatabaseError(f"neonize does not reach the schema that was made for the device: {_STRAIGHT}")
    return url


async def _removed(host: _OwnHost) -> bool:
    """What has become of the device. That a connection is lost is no end: whatsmeow opens another."""
    while True:
        match event := await host.events.get():
            case protocol.Connected():
                await host.ask(protocol.Unlink(_CLIENT, host.number()))
                return True
            case protocol.LoggedOut(reason="LOGGED_OUT"):
                return False
            case _ if why := _why_not(event):
                raise WaSessionsError(why)
            case _:
                continue


def _why_not(event: protocol.ClientEvent | HostExit) -> str | None:
    match event:
        case protocol.ConnectFailed(in_store=in_store):
            return "the database does not answer" if in_store else "WhatsApp cannot be reached"
        case protocol.LoginRefused(reason=reason) | protocol.LoggedOut(reason=reason):
            return f"WhatsApp refused the login ({reason.lower()})"
        case protocol.Banned():
            return "the number is banned by WhatsApp: its devices cannot log in"
        case protocol.Outdated():
            return "WhatsApp refuses this version of the client: upgrade neonize"
        case protocol.Replaced():
            return "another client logged in with these keys"
        case HostExit():
            return event.reason
        case _:
            return None
