"""Session hosts without a worker around them: phones paired straight into a store, a pool on a loop of its own."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support import warm
from support.client_process import PROGRAM
from support.clients import Clients
from support.pairing import Party, link
from support.waiting import PATIENCE, Record

from wa_sessions.db import whatsmeow
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target, store_url
from wa_sessions.emulator import Emulator
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.hosts.pool import HostPool
from wa_sessions.worker.ports import ClientLost, FromHost, RequestAnswered

LEASE = 300.0
ValueT = TypeVar("ValueT")


def store_of(database: Database, target: Target) -> str:
    """The URL of whatsmeow's store in a database."""
    with database.transaction() as conn:
        whatsmeow.ensure_schema(conn)
        return store_url(conn, target)


def paired(emu: Emulator, store: str, count: int, folder: Path) -> list[Party]:
    """Phones whose devices are in the store, and run nowhere."""
    with Clients([sys.executable, str(PROGRAM)], emu.client_env(), folder) as clients:
        parties = [link(emu, clients, f"ours {number}", store=store) for number in range(count)]
    for party in parties:
        emu.wait_disconnected(party.device)
    return parties


@dataclass(frozen=True)
class Told:
    """An event of a client, and when it came."""

    client: int
    event: FromHost
    at: float


class Hosts:
    """A pool, run by a thread of its own. Every method may be called from any other."""

    def __init__(self, store: str, sessions_per_host: int = 25, *, lease: float = LEASE) -> None:
        self.told = Record[Told]()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hosts")
        self._thread.start()
        self.pool = self.run(self._pool(store, sessions_per_host))
        self._watching = self.call(self._loop.create_task, self.pool.run())
        self.call(self.pool.extend_lease, now() + lease)

    def __enter__(self) -> "Hosts":
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.pool.end(3))
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _end(self) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    @staticmethod
    async def _pool(store: str, sessions_per_host: int) -> HostPool:
        return HostPool(store, sessions_per_host, deliver=True)

    def run(self, work: Coroutine[Any, Any, ValueT]) -> ValueT:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def call(self, work: Any, *arguments: Any) -> Any:
        async def called() -> Any:
            return work(*arguments)

        return self.run(called())

    # ------------------------------------------------------------------------------------------------ clients

    def open(self, phone_id: int, device: str | None) -> int:
        def tell(event: FromHost) -> None:
            self.told.add(Told(event.client, event, time.monotonic()))

        return int(self.call(self.pool.open, phone_id, device, tell))

    def start(self, *parties: Party) -> list[int]:
        """Clients of these phones, connected."""
        clients = [self.open(int(party.number), str(party.device.jid)) for party in parties]
        for client in clients:
            self.expect(client, protocol.Connected, timeout=PATIENCE)
        return clients

    def close(self, *clients: int) -> None:
        for client in clients:
            self.call(self.pool.close, client)

    def expect(
        self, client: int, kind: type[ValueT], *, since: int = 0, timeout: float = PATIENCE, **fields: object
    ) -> ValueT:
        told = self.told.wait(
            lambda told: (
                told.client == client
                and isinstance(told.event, kind)
                and all(getattr(told.event, name) == value for name, value in fields.items())
            ),
            since=since,
            timeout=timeout,
        )
        return told.event  # type: ignore[return-value]  # its kind was looked at

    def ended(self, client: int, *, since: int = 0, timeout: float = PATIENCE) -> Told:
        """The last event of a client."""
        last = (protocol.Stopped, ClientLost)
        return self.told.wait(
            lambda told: told.client == client and isinstance(told.event, last), since=since, timeout=timeout
        )

    def message(self, client: int, text: str, *, since: int = 0, timeout: float = PATIENCE) -> None:
        self.told.wait(
            lambda told: (
                told.client == client
                and isinstance(told.event, protocol.MessageArrived)
                and told.event.message.text == text
            ),
            since=since,
            timeout=timeout,
        )

    def send(self, client: int, to: str, text: str) -> RequestAnswered:
        since = self.told.mark()
        self.call(self.pool.send_text, client, 77, to, text)
        return self.expect(client, RequestAnswered, since=since)

    def events(self, client: int, *, since: int = 0) -> list[FromHost]:
        return [told.event for told in self.told.since(since) if told.client == client]

    def texts(self, client: int, *, since: int = 0) -> list[str]:
        events = self.events(client, since=since)
        return [event.message.text for event in events if isinstance(event, protocol.MessageArrived)]

    # -------------------------------------------------------------------------------------------------- hosts

    def pids(self) -> dict[int, tuple[int, ...]]:
        """Each host's phones."""
        hosts = self.call(lambda: list(self.pool._hosts.values()))
        return {host.pid: tuple(sorted(host.phones)) for host in hosts if host.pid is not None}

    def pid_of(self, party: Party) -> int:
        return next(pid for pid, phones in self.pids().items() if int(party.number) in phones)

    def until(self, is_so: Any, timeout: float = PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)


def use_environment(monkeypatch: pytest.MonkeyPatch, emu: Emulator, *, cold: bool = False) -> None:
    """Hosts inherit what leads to the emulator. ``cold``: they are started as a worker does it."""
    if not cold:
        monkeypatch.setattr("wa_sessions.worker.hosts.client.subprocess", warm)
    for name, value in emu.client_env().items():
        monkeypatch.setenv(name, value)
    assert os.environ["PYTHONPATH"]
