"""All session hosts of a worker: where clients run, whom a crash took down, which host is replaced."""

import asyncio
import itertools
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from wa_sessions.worker import log
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.client import HostExit
from wa_sessions.worker.hosts.host import Client, Host, HostCounts
from wa_sessions.worker.hosts.placing import ALONE_AFTER, Suspects
from wa_sessions.worker.hosts.store import prepare_store
from wa_sessions.worker.hosts.watch import LOOK_INTERVAL
from wa_sessions.worker.ports import ClientLost, FromHost, MoveAsked, RequestAnswered

ANSWER_TIMEOUT = 60.0
"""Seconds for a request that goes to WhatsApp and back."""

STOP_TIMEOUT = 5.9
"""Seconds for a client to end before its whole host is ended; a WebSocket's farewell into a black hole takes 5.0 s."""

OVERDUE_END = 0.6
"""Seconds for that host to tell what its clients have; then it is killed: 7 s in all, as ``SessionHosts`` promises."""

REVIEW_INTERVAL = 5.0
"""Seconds between two reviews of how worn the hosts are."""

MERGE_AGE = 600.0
"""Seconds that pass without a crash before small hosts are joined."""

MOST_FAILED = 10
"""Looks in a row that may fail: hosts that nobody watches would be called alive for ever."""

_ENDED_KEPT = 1_000  # clients that ended by themselves, of whom an end may still be asked


@dataclass(frozen=True, slots=True)
class _Request:
    client: int
    request: int
    timer: asyncio.TimerHandle


def _alone(phone_ids: Collection[int]) -> str:
    """Whom a crash names: by id, as a host knows no numbers."""
    if not phone_ids:
        return ""
    names = ", ".join(f"#{phone_id}" for phone_id in sorted(phone_ids))
    return f"; in {ALONE_AFTER} such hosts, and in one of its own from now on: {names}"


class HostPool:
    """``ports.SessionHosts``, on one event loop, with ``run`` a task of it. ``located``: where a store is by now."""

    def __init__(
        self, store_url: str, per_host: int, *, deliver: bool, window: int = 0, located: Callable[[str], str] = str
    ) -> None:
        self._store_url, self._deliver, self._window, self._located = store_url, deliver, window, located
        self._sessions_per_host, self._suspects = per_host, Suspects(per_host)
        self._numbers, self._host_numbers, self._request_numbers = (itertools.count(1) for _ in range(3))
        self._hosts: dict[int, Host] = {}
        self._clients: dict[int, Client] = {}
        self._host_of: dict[int, Host] = {}
        self._requests: dict[int, _Request] = {}
        self._ended: OrderedDict[int, Callable[[FromHost], None]] = OrderedDict()
        self._spawning: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 1))
        self._lease: float | None = None
        self._closed = False
        self._crashes = self._unknown_frames = 0
        self._last_crash = self._reviewed = time.monotonic()

    # ----------------------------------------------------------------------------------------- SessionHosts

    def open(self, phone_id: int, device: str | None, tell: Callable[[FromHost], None]) -> int:
        """Start a client for the keys of ``device``, or to pair; its number. A row of ``device`` has to be there."""
        client = Client(next(self._numbers), phone_id, tell, self._located(self._store_url))
        if self._closed:
            self._later(client.tell, ClientLost(client.number, "the worker ends"))
            return client.number
        host = self._host_for(phone_id, pairs=device is None)
        self._clients[client.number] = host.clients[client.number] = client
        self._host_of[client.number] = host
        host.send(protocol.StartClient(client.number, client.store_url, device, self._deliver, self._window))
        return client.number

    def close(self, client: int) -> None:
        """End a client, and tell what had arrived before."""
        self._ask_to_end(client, protocol.StopClient(client))

    def drop(self, client: int) -> None:
        """End a client at once: its phone is another worker's."""
        self._ask_to_end(client, protocol.DropClient(client))

    def send_text(self, client: int, request: int, to: str, text: str) -> None:
        """Send a text; ``RequestAnswered`` has the message's id."""
        self._ask(client, request, lambda number: protocol.SendText(client, number, to, text))

    def unlink(self, client: int, request: int) -> None:
        """Have WhatsApp remove the device; ``RequestAnswered`` follows."""
        self._ask(client, request, lambda number: protocol.Unlink(client, number))

    def message_taken(self, client: int, count: int) -> None:
        """So many messages that this client told are safe: it may tell others."""
        if self._window and (host := self._host_of.get(client)):
            host.send(protocol.MessagesTaken(client, count))

    def _ask_to_end(self, number: int, command: protocol.StopClient | protocol.DropClient) -> None:
        client = self._clients.get(number)
        if client is None:
            if tell := self._ended.pop(number, None):
                self._later(tell, protocol.Stopped(number))
        elif not client.asked:
            client.asked = True
            if self._host_of[number].withdraw(number):
                asyncio.get_running_loop().call_soon(self._withdrawn, client)
                return
            self._host_of[number].send(command)
            client.deadline = asyncio.get_running_loop().call_later(STOP_TIMEOUT, self._overdue, number)

    def _withdrawn(self, client: Client) -> None:
        if client.number in self._clients:
            self._end(client, protocol.Stopped(client.number))

    def _ask(self, client: int, request: int, command: Callable[[int], protocol.Command]) -> None:
        if client not in self._clients:
            if tell := self._ended.get(client):
                self._later(tell, RequestAnswered(client, request, error="the session has ended"))
            return
        number = next(self._request_numbers)
        why = f"WhatsApp did not answer in {ANSWER_TIMEOUT:.0f} s; try again"
        timer = asyncio.get_running_loop().call_later(ANSWER_TIMEOUT, self._answered, number, None, why)
        self._requests[number] = _Request(client, request, timer)
        self._host_of[client].send(command(number))

    def _host_for(self, phone: int, *, pairs: bool) -> Host:
        now = time.monotonic()
        found = None if pairs else self._suspects.place((host.view() for host in self._hosts.values()), phone, now)
        self._suspects.placed(phone, now)
        return self._new_host(pairs=pairs) if found is None else self._hosts[found]

    def _new_host(self, *, pairs: bool) -> Host:
        host = Host(next(self._host_numbers), self, pairs=pairs, lease=self._lease)
        self._hosts[host.number] = host
        task = asyncio.get_running_loop().create_task(host.spawn(self._slots), name=f"spawn host {host.number}")
        self._spawning.add(task)
        task.add_done_callback(self._spawning.discard)
        return host

    # ------------------------------------------------------------------------------------------- what hosts tell

    def on_frame(self, host: Host, frame: protocol.ClientEvent | protocol.Answer | protocol.Stuck) -> None:
        """Hand on what a host told of one of its clients; late words of an ended client are dropped."""
        if isinstance(frame, protocol.Answer):
            self._answered(frame.request, frame.result, frame.error)
            return
        client = host.clients.get(frame.client)
        if client is None:
            return
        match frame:
            case protocol.Stuck():
                self._overdue(client.number)
            case protocol.Stopped():
                if client.asked:
                    self._end(client, frame)
            case protocol.ConnectFailed():
                host.send(protocol.DropClient(client.number))
                if not client.asked:
                    self._remember(client)
                    self._end(client, frame)
            case _:
                self._tell(client, frame)

    def on_unknown_frame(self) -> None:
        """Count a line that is no frame."""
        self._unknown_frames += 1

    def on_exit(self, host: Host, ended: HostExit | None) -> None:
        """Tell the clients of a host that is gone."""
        self._hosts.pop(host.number, None)
        reason, set_aside = self._reason(host, ended), frozenset[int]()
        if ended and not ended.lease_ran_out and not host.ending:
            set_aside = self._crashed(host, reason)
        host.ending = True
        lease_ran_out = ended is not None and ended.lease_ran_out
        for client in list(host.clients.values()):
            self._end(client, ClientLost(client.number, reason, lease_ran_out, client.phone in set_aside))

    def _crashed(self, host: Host, reason: str) -> frozenset[int]:
        """Who is set aside after this crash."""
        self._crashes += 1
        self._last_crash = time.monotonic()
        verdict = self._suspects.crashed(host.phones, host.suspects(self._last_crash), self._last_crash)
        alone = _alone(verdict.named - verdict.set_aside) if self._sessions_per_host > 1 else ""
        plural = "" if len(host.clients) == 1 else "s"
        log.error(
            f"session host {host.pid} is gone, with {len(host.clients)} session{plural}: {reason}{alone}",
            event="host_crashed",
            pid=host.pid,
            phone_ids=sorted(host.phones),
            suspects=sorted(verdict.named),
            set_aside=sorted(verdict.set_aside),
        )
        return verdict.set_aside

    @staticmethod
    def _reason(host: Host, ended: HostExit | None) -> str:
        if ended is None:
            return "its host was ended" if host.ending else "no process could be started for it"
        if host.killed or ended.lease_ran_out or not host.ending:
            return host.killed or ended.reason
        return "its host was ended"

    def _overdue(self, number: int) -> None:
        """A client does not end, so its host has to, with whatever its other clients have to tell."""
        if host := self._host_of.get(number):
            log.warn(f"session host {host.pid} is ended: a client of it does not end", event="host_ended", pid=host.pid)
            host.end(OVERDUE_END, kill_after=0.2)

    def _end(self, client: Client, last: FromHost) -> None:
        host = self._host_of.pop(client.number)
        del self._clients[client.number]
        host.remove(client)
        if client.deadline:
            client.deadline.cancel()
        for number in [number for number, asked in self._requests.items() if asked.client == client.number]:
            request = self._requests.pop(number)
            request.timer.cancel()
            error = "the session ended before it answered"
            self._tell(client, RequestAnswered(client.number, request.request, error=error))
        self._tell(client, last)
        host.end_if_done()

    def _answered(self, number: int, result: str | list[str] | None, error: str | None) -> None:
        request = self._requests.pop(number, None)
        if request and (client := self._clients.get(request.client)):
            request.timer.cancel()
            text = result if isinstance(result, str) else None
            self._tell(client, RequestAnswered(client.number, request.request, text, error))

    def _remember(self, client: Client) -> None:
        self._ended[client.number] = client.tell
        while len(self._ended) > _ENDED_KEPT:
            self._ended.popitem(last=False)

    @staticmethod
    def _tell(client: Client, event: FromHost) -> None:
        try:
            client.tell(event)
        except Exception as error:  # noqa: BLE001  # one phone's fault is no other's
            log.error(f"{type(event).__name__} was not taken: {error!r}", event="internal_error", phone_id=client.phone)

    @staticmethod
    def _later(tell: Callable[[FromHost], None], event: FromHost) -> None:
        asyncio.get_running_loop().call_soon(tell, event)

    # ------------------------------------------------------------------------------------------- the whole

    async def prepare(self) -> None:
        """Make or upgrade the store's tables. Raises DatabaseError where neonize cannot use the store."""
        self._store_url = await prepare_store(self._store_url)

    def extend_lease(self, until: float) -> None:
        """Let all hosts live until ``until`` on the monotonic clock."""
        self._lease = until
        for host in self._hosts.values():
            host.extend_lease(until)

    async def run(self) -> None:
        """Watch the hosts until cancelled. A look that fails is logged; raises what ``MOST_FAILED`` in a row raise."""
        failed = 0
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            try:
                self._look()
                failed = 0
            except Exception as error:
                failed += 1
                if failed == MOST_FAILED:
                    raise
                log.error(f"session hosts were not looked at: {error!r}", event="internal_error")

    async def end(self, timeout: float) -> None:  # noqa: ASYNC109  # what is not told by then is killed, not abandoned
        """End all hosts within ``timeout`` seconds: everything told, then killed."""
        self._closed = True
        hosts = list(self._hosts.values())
        for host in hosts:
            host.end(max(0.5, timeout - 1.0), kill_after=0.5)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*(host.gone() for host in hosts))
        except TimeoutError:
            for host in hosts:
                host.kill()
            await asyncio.gather(*(host.gone() for host in hosts))

    def is_alive(self, client: int) -> bool:
        """Whether the host of a client gave a sign of life of late; one that is only starting counts."""
        host = self._host_of.get(client)
        return host is not None and host.alive

    def running(self) -> int:
        """How many hosts there are."""
        return len(self._hosts)

    def counts(self) -> HostCounts:
        """Figures for metrics."""
        return HostCounts(len(self._hosts), len(self._clients), self._crashes, self._unknown_frames)

    # ------------------------------------------------------------------------------------------- looking after

    def _look(self) -> None:
        now = time.monotonic()
        for host in list(self._hosts.values()):
            host.look()
            if host.pairs and not host.retiring and host.settled(now):
                self._release(host)
            if client := host.next_to_move(now):
                self._tell(client, MoveAsked(client.number))
            host.end_if_done()
        if now - self._reviewed >= REVIEW_INTERVAL:
            self._reviewed = now
            self._review(now)

    def _review(self, now: float) -> None:
        for host in list(self._hosts.values()):
            if not host.retiring and (why := host.worn_out(self._located(self._store_url))):
                self._retire(host, why)
        if now - self._last_crash > MERGE_AGE and not any(host.retiring for host in self._hosts.values()):
            superfluous = self._suspects.superfluous((host.view() for host in self._hosts.values()), now)
            if superfluous is not None:
                self._retire(self._hosts[superfluous], "others have room for its sessions")

    def _release(self, host: Host) -> None:
        """A pairing that has settled moves to the others; where a host has one client anyway, it stays."""
        if self._sessions_per_host == 1:
            host.pairs = False
        else:
            host.retiring = True

    @staticmethod
    def _retire(host: Host, why: str) -> None:
        log.info(f"session host {host.pid} is replaced: {why}", event="host_retires", pid=host.pid)
        host.retiring = True
