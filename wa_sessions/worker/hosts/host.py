"""One session host as the pool keeps it: its process, its clients, and what is known of its health."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from wa_sessions.plain_text import plain_text
from wa_sessions.worker import log
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.client import HostExit, HostProcess
from wa_sessions.worker.hosts.placing import START_TIMEOUT, HostView
from wa_sessions.worker.hosts.watch import Pulse, process_size, process_state
from wa_sessions.worker.ports import FromHost

END_TIMEOUT = 3.0
"""Seconds for all clients of a host to close their WebSockets and tell what has arrived."""

KILL_AFTER = 1.0
"""Seconds after which a host that was to end is killed."""

MEMORY_LIMIT = 400 << 20
"""Bytes (RSS) above which a host is replaced; one with 150 busy sessions had 107 MB."""

STARTS_LIMIT = 100
"""Starts, besides the first of each client, after which a host is replaced: neonize 0.5.2 leaves 2 descriptors and 0.07
MB behind with each.
"""

FILES_SHARE = 0.8
"""Of the limit of open files, above which a host is replaced."""

MOVE_INTERVAL = 3.0
"""Seconds after which the next client of a host that retires is asked to move."""

EMPTY_TIMEOUT = 10.0
"""Seconds that an empty host waits for a client: a session that starts anew needs no new process."""

SETTLE_TIME = 10.0
"""Seconds without an event after which a fresh pairing has settled. Moved earlier, its first app state is lost."""

SETTLE_TIMEOUT = 60.0
"""Seconds after its first login at which a pairing counts as settled, however much comes."""


@dataclass(slots=True, eq=False)
class Client:
    """A client that runs or is to run in a host. Times are of the monotonic clock."""

    number: int
    phone: int
    tell: Callable[[FromHost], None]
    store_url: str
    asked: bool = False  # to end
    connected_at: float | None = None
    last_event: float = field(default_factory=time.monotonic)
    deadline: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class HostCounts:
    """Figures for metrics: what is there now, and what happened since the start."""

    hosts: int
    clients: int
    crashes: int
    unknown_frames: int


class Owner(Protocol):
    """Who keeps hosts."""

    def on_frame(self, host: "Host", frame: protocol.ClientEvent | protocol.Answer | protocol.Stuck) -> None:
        """A host told something."""

    def on_unknown_frame(self) -> None:
        """A host told something that nobody understands."""

    def on_exit(self, host: "Host", ended: HostExit | None) -> None:
        """A host is gone; None: it never was, as no process could be started."""


class Host:
    """A process that is there, or about to be: commands wait for it."""

    def __init__(self, number: int, owner: Owner, *, pairs: bool, lease: float | None) -> None:
        self.number, self.pairs = number, pairs
        self.clients: dict[int, Client] = {}
        self.starting: dict[int, float] = {}
        self.retiring = False
        self.ending = False
        self.killed: str | None = None
        self._owner, self._lease = owner, lease
        self._empty_since, self._asked_at, self._starts = time.monotonic(), -MOVE_INTERVAL, 0
        self._pulse = Pulse()
        self._launched = self._told = False
        self._process: HostProcess | None = None
        self._waiting: list[protocol.Command] = []
        self._ready, self._gone = asyncio.Event(), asyncio.Event()

    # --------------------------------------------------------------------------------------------- the process

    async def spawn(self, slots: asyncio.Semaphore) -> None:
        """Start the process; the slot is free again when it is ready for clients."""
        async with slots:
            if self.ending:
                return
            self._launched = True
            try:
                self._process = await HostProcess.spawn(self)
            except (OSError, RuntimeError) as error:
                log.error(f"no session host could be started: {plain_text(str(error))}", event="host_failed")
                self._end_without_process()
                return
            await self._ready.wait()
            self._tell_what_waits(self._process)

    def _tell_what_waits(self, process: HostProcess) -> None:
        """It reads no command before it has begun, which may take longer than a lease: it is told of the newest."""
        self._told = True
        if self._lease is not None:
            process.send(protocol.ExtendLease(self._lease))
        for command in self._waiting:
            process.send(command)
        self._waiting.clear()

    def send(self, command: protocol.Command) -> None:
        """Give it a command, now or when it is there."""
        if self._process is None or not self._told:
            self._waiting.append(command)
        else:
            self._process.send(command)

    def withdraw(self, client: int) -> bool:
        """Forget all about a client, if nothing of it has been told to the process; False if it has."""
        if not self._told:
            self._waiting = [command for command in self._waiting if getattr(command, "client", None) != client]
        return not self._told

    def extend_lease(self, until: float) -> None:
        """Let it live until then."""
        self._lease = until
        if self._process and self._told:
            self._process.send(protocol.ExtendLease(until))

    def end(self, seconds: float = END_TIMEOUT, kill_after: float = KILL_AFTER) -> None:
        """Have all clients told what has arrived and end it, within these seconds together."""
        if self.ending:
            return
        self.ending, loop = True, asyncio.get_running_loop()
        if self._launched:
            self.send(protocol.EndHost(seconds))
            loop.call_later(seconds + kill_after, self.kill)
        else:
            loop.call_soon(self._end_without_process)

    def kill(self, why: str | None = None) -> None:
        """End it at once."""
        self.killed = self.killed or why
        if self._process:
            self._process.kill()

    async def gone(self) -> None:
        """Until it has ended and its end was told."""
        await self._gone.wait()

    # ------------------------------------------------------------------------------------------- what it tells

    def on_frame(self, frame: protocol.ClientEvent | protocol.HostEvent) -> None:
        self._pulse.beat()
        match frame:
            case protocol.Alive():
                self._ready.set()
            case protocol.Answer() | protocol.Stuck():
                self._owner.on_frame(self, frame)
            case _:
                self._note(frame)
                self._owner.on_frame(self, frame)

    def on_unknown_frame(self) -> None:
        self._owner.on_unknown_frame()

    def on_exit(self, ended: HostExit) -> None:
        self._ready.set()
        self._owner.on_exit(self, ended)
        self._gone.set()

    def _note(self, frame: protocol.ClientEvent) -> None:
        now = time.monotonic()
        if isinstance(frame, protocol.Starting):
            self._starts += 1
            self.starting[frame.client] = now
        else:
            self.starting.pop(frame.client, None)
        if client := self.clients.get(frame.client):
            client.last_event = now
            if isinstance(frame, protocol.Connected):
                client.connected_at = now

    def _end_without_process(self) -> None:
        self._owner.on_exit(self, None)
        self._gone.set()

    # ---------------------------------------------------------------------------------------------- how it is

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether it gave a sign of life of late, or has none to give yet."""
        return self._pulse.alive

    @property
    def phones(self) -> frozenset[int]:
        return frozenset(client.phone for client in self.clients.values())

    def view(self) -> HostView:
        """As placing sees it."""
        reserved = self.pairs or self.ending or self.retiring
        return HostView(self.number, self.phones, reserved, min(self.starting.values(), default=None))

    def remove(self, client: Client) -> None:
        """A client has ended."""
        self.clients.pop(client.number, None)
        self.starting.pop(client.number, None)
        self._empty_since = time.monotonic()

    def look(self) -> None:
        """See that it lives; end it if it does not."""
        if self._process and self._process.running and self.killed is None:
            why = self._pulse.look(process_state(self._process.pid))
            if why:
                log.error(f"session host {self.pid} is killed: {why}", event="host_killed", pid=self.pid)
                self.kill(why)

    def suspects(self, now: float) -> frozenset[int]:
        """Phones that were being started just now; one that hangs in a dial for longer does no more harm."""
        recent = {number for number, since in self.starting.items() if now - since <= START_TIMEOUT}
        return frozenset(client.phone for number, client in self.clients.items() if number in recent)

    def settled(self, now: float) -> bool:
        """Whether a fresh pairing has come to rest."""
        return any(
            now - client.last_event >= SETTLE_TIME or now - client.connected_at >= SETTLE_TIMEOUT
            for client in self.clients.values()
            if client.connected_at is not None
        )

    def next_to_move(self, now: float) -> Client | None:
        """Who is to be asked to leave now: one after another, and again when all were asked."""
        if not self.retiring or self.ending or now - self._asked_at < MOVE_INTERVAL:
            return None
        client = next((client for client in self.clients.values() if not client.asked), None)
        if client:
            self._asked_at = now
            self.clients[client.number] = self.clients.pop(client.number)  # to the end of the row
        return client

    def end_if_done(self) -> None:
        """End it if nobody is in it and nobody will come."""
        empty_for = time.monotonic() - self._empty_since
        awaited = not self.pairs and not self.retiring and empty_for <= EMPTY_TIMEOUT
        if not self.clients and not self.ending and not awaited:
            self.end()

    def worn_out(self, store_url: str) -> str | None:
        """Why it should be replaced, or None. ``store_url``: where its clients should find the store."""
        if any(client.store_url != store_url for client in self.clients.values()):
            return "the key store is on another server by now"
        size = process_size(self._process.pid) if self._process else None
        if size and size.memory > MEMORY_LIMIT:
            return f"its memory grew to {size.memory >> 20} MB"
        if size and size.files > FILES_SHARE * size.files_limit:
            return f"it has {size.files} files open"
        return f"it has started {self._starts} clients" if self._starts > STARTS_LIMIT + len(self.clients) else None
