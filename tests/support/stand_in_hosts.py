"""Hosts and handlers without processes: a test says what their clients tell."""

import asyncio
from collections.abc import Callable
from typing import Any

from wa_sessions.db.phones import Phone
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.message import IncomingMessage
from wa_sessions.worker.ports import ClientLost, FromHost, RequestAnswered
from wa_sessions.worker.processes import DeliveryWorker


class StandInHosts:
    """Clients that end as soon as they are closed, unless ``closes_clients`` is False."""

    def __init__(self) -> None:
        self.clients: dict[int, tuple[int, str | None, Callable[[FromHost], None]]] = {}
        self.opened: list[tuple[int, str | None]] = []
        self.sent: list[tuple[str, str]] = []
        self.taken: dict[int, int] = {}
        self.until = 0.0
        self.closes_clients = True
        self.living = True

    def open(self, phone_id: int, device: str | None, tell: Callable[[FromHost], None]) -> int:
        self.opened.append((phone_id, device))
        client = len(self.opened)
        self.clients[client] = phone_id, device, tell
        return client

    def close(self, client: int) -> None:
        if self.closes_clients and client in self.clients:
            self.clients.pop(client)[2](protocol.Stopped(client))

    drop = close

    def send_text(self, client: int, request: int, to: str, text: str) -> None:
        self.sent.append((to, text))
        self.tell(client, RequestAnswered(client, request, "ID"))

    def unlink(self, client: int, request: int) -> None:
        self.tell(client, RequestAnswered(client, request))

    def message_taken(self, client: int, count: int) -> None:
        self.taken[client] = self.taken.get(client, 0) + count

    def lose(self, client: int, reason: str = "killed", **how: Any) -> None:
        self.clients.pop(client)[2](ClientLost(client, reason, **how))

    def tell(self, client: int, event: FromHost) -> None:
        self.clients[client][2](event)

    def client_of(self, phone_id: int) -> int | None:
        return next((client for client, (owner, _, _) in self.clients.items() if owner == phone_id), None)

    async def prepare(self) -> None:
        """Their store needs no preparation."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def end(self, within: float) -> None:
        self.clients.clear()

    def extend_lease(self, until: float) -> None:
        self.until = until

    def running(self) -> int:
        return 1

    def is_alive(self, client: int) -> bool:
        return self.living


class StandInHandlers:
    """Take every message."""

    def __init__(self) -> None:
        self.messages: list[IncomingMessage] = []

    def begin(self, worker: DeliveryWorker) -> None:
        """Nobody needs to be told anything."""

    def serve(self, phone: Phone) -> None:
        """Every phone is."""

    def forget(self, phone_id: int) -> None:
        """There is nothing to forget."""

    def hold_back(self, phone_id: int) -> None:
        """Nothing waits."""

    async def settled(self, phone_id: int) -> None:
        """Everything is."""

    def put(self, phone_id: int, message: IncomingMessage, client: int) -> None:
        self.messages.append(message)

    def store_back(self) -> None:
        """Nothing waits for it."""

    def wind_down(self) -> None:
        """Nothing is begun."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def drain(self, within: float) -> None:
        """Nothing is left."""
