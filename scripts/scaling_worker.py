"""One simulated machine of ``bench_scaling.py``: real workers, but for their hosts, side by side in one event loop.

Run as ``scaling_worker.py NAME CONNINFO``; lines on stdin say what to do (``start N``, ``stop``, ``counts``, ``messages
RATE SECONDS``), JSON lines on stdout what has come about. It is another machine to all others: its host's name and boot
id are its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import psycopg
from support.stand_in_hosts import StandInHosts

from wa_sessions.actions.connection import open_target
from wa_sessions.actions.sessions.run import CONNECTIONS, INBOX_CONNECTIONS
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target
from wa_sessions.health.model import Limits
from wa_sessions.process_identity import ProcessIdentity
from wa_sessions.worker import log
from wa_sessions.worker.delivery.dispatcher import Dispatcher
from wa_sessions.worker.delivery.inbox import Inbox, RetryPolicy
from wa_sessions.worker.delivery.spec import HandlerSpec
from wa_sessions.worker.fleet import Scope
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.lease_times import DEFAULT_LEASE, LeaseTimes
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.session import Settings
from wa_sessions.worker.supervisor import Supervisor, WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from wa_sessions.worker.ports import FromHost

LOGIN = 0.05  # seconds that a stand-in takes to log in
LEASE = float(os.environ.get("SCALING_LEASE", DEFAULT_LEASE))
THREADS = 8  # of each worker, for its transactions: more than it has connections
ARGUMENTS = 3


def tell(**what: Any) -> None:
    """One line; the time is that of the monotonic clock."""
    sys.stdout.write(json.dumps({"at": time.monotonic(), **what}) + "\n")
    sys.stdout.flush()


class Hosts(StandInHosts):
    """Clients that log in at once; which of them are connected is told."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self.worker = worker

    def open(self, phone_id: int, device: str | None, tell_task: Callable[[FromHost], None]) -> int:
        client = super().open(phone_id, device, tell_task)
        asyncio.get_running_loop().call_later(LOGIN, self._connected, client, phone_id)
        return client

    def _connected(self, client: int, phone_id: int) -> None:
        if client in self.clients:
            self.tell(client, protocol.Connected(client))
            tell(what="connected", phone=phone_id, worker=self.worker)

    def close(self, client: int) -> None:
        if client in self.clients:
            tell(what="closed", phone=self.clients[client][0], worker=self.worker)
        super().close(client)

    drop = close


class Simulation:
    """The workers of this process."""

    def __init__(self, name: str, conninfo: str) -> None:
        self.name = name
        self._target = Target(conninfo, None, "bench")
        self._opened = open_target(self._target)
        self._numbers = itertools.count(1)
        self._hosts: list[Hosts] = []
        self._workers: list[tuple[Supervisor, asyncio.Task[None]]] = []
        self._doing: set[asyncio.Task[None]] = set()
        self._messages = itertools.count(1)

    def start(self) -> None:
        """Begin with one more worker."""
        hosts = Hosts(f"{self.name}/{next(self._numbers)}")
        inbox = Inbox(Database(self._target, INBOX_CONNECTIONS), RetryPolicy())
        dispatcher = Dispatcher(
            HandlerSpec.named("scaling_worker:handle", None),
            inbox,
            processes=1,
            tell=lambda phone_id, event: supervisor.handler_event(phone_id, event),
            output=lambda _number, _line: None,
        )
        options = WorkerOptions(Settings(Limits()), LeaseTimes(LEASE), scope=Scope())
        database = Database(self._target, CONNECTIONS)
        supervisor = Supervisor(database, self._opened.backend, options, hosts, dispatcher)
        self._hosts.append(hosts)
        tell(what="started", worker=hosts.worker, id=str(supervisor.worker_id))
        task = asyncio.create_task(supervisor.run())
        task.add_done_callback(lambda done: tell(what="ended", worker=hosts.worker, error=repr(done.exception())))
        self._workers.append((supervisor, task))

    async def stop(self) -> None:
        """End all of them."""
        for supervisor, _ in self._workers:
            supervisor.stop()
        await asyncio.gather(*(task for _, task in self._workers), return_exceptions=True)

    async def send(self, rate: float, seconds: float) -> None:
        """Messages for connected phones of this process, in turn."""
        began, sent = time.monotonic(), 0
        clients = [(hosts, client) for hosts in self._hosts for client in hosts.clients]
        for hosts, client in itertools.cycle(clients):
            await asyncio.sleep(max(0.0, began + sent / rate - time.monotonic()))
            if time.monotonic() > began + seconds:
                break
            if client in hosts.clients:
                hosts.tell(client, protocol.MessageArrived(client, _message(next(self._messages))))
                sent += 1
        tell(what="sent", count=sent)

    async def obey(self, line: str) -> bool:
        """Do what a line says; False at the end."""
        words = line.split()
        match words:
            case ["start", count]:
                for _ in range(int(count)):
                    self.start()
                    await asyncio.sleep(0)
            case ["messages", rate, seconds]:
                task = asyncio.create_task(self.send(float(rate), float(seconds)))
                self._doing.add(task)
            case ["counts"]:
                tell(what="counts", counts=QUERIES, seconds=SECONDS)
            case _:
                await self.stop()
                return False
        return True


def _message(number: int) -> IncomingMessage:
    chat = f"{77_060_000_000 + number % 50}@s.whatsapp.net"
    return IncomingMessage(
        f"M{number}-{os.getpid()}", chat, chat, None, False, False, int(time.time()), "conversation", "hello", b"hello"
    )


def handle(_message: IncomingMessage) -> None:
    """For ``--on-message``: nothing."""


BEFORE_SQL = re.compile(r"""^(Composed\(\[)?SQL\(['"]""")
QUERIES: Counter[str] = Counter()
SECONDS: defaultdict[str, float] = defaultdict(float)


def count_queries() -> None:
    """How often each query is made, and how long its answer takes, by its beginning."""
    execute = psycopg.Cursor.execute

    def counted(self: Any, query: Any, *more: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(self, query, *more, **named)
        finally:
            text = query.decode() if isinstance(query, bytes) else str(query).replace("\\n", " ")
            name = " ".join(BEFORE_SQL.sub("", text).split())[:80]
            QUERIES[name] += 1
            SECONDS[name] += time.perf_counter() - began

    mock.patch.object(psycopg.Cursor, "execute", counted).start()


def be_another_machine(name: str) -> None:
    """What this process says of itself is that of a machine of its own."""
    own = ProcessIdentity.own()
    other = replace(own, host=name, boot_id=f"boot-of-{name}")
    mock.patch.object(ProcessIdentity, "own", return_value=other).start()


async def main() -> None:
    name, conninfo = sys.argv[1:ARGUMENTS]
    loop = asyncio.get_running_loop()
    workers = int(os.environ.get("SCALING_WORKERS", "10"))
    loop.set_default_executor(ThreadPoolExecutor(THREADS * workers))
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    simulation = Simulation(name, conninfo)
    tell(what="up")
    while await simulation.obey((await reader.readline()).decode()):
        pass
    tell(what="over")


if __name__ == "__main__":
    log.configure("json")
    count_queries()
    be_another_machine(sys.argv[1])
    asyncio.run(main())
