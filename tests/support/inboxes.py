"""A dispatcher over the inbox of a real database, with real handler processes, in one event loop."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from support.dispatching import CHAT, MESSAGE, Heard
from support.waiting import PATIENCE

from wa_sessions.db import backend, phones
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.worker.delivery.dispatcher import Dispatcher
from wa_sessions.worker.delivery.inbox import Inbox, RetryPolicy
from wa_sessions.worker.delivery.spec import HandlerSpec

TELLING = """
import pathlib, time
def answer(message):
    if message.text.startswith("bad") and not pathlib.Path("mended").exists():
        raise ValueError(message.text)
    if message.text.startswith("wait"):
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
    print("handled", message.text, message.phone)
"""
NUMBERS = ("77051234567", "77057654321")


@dataclass
class StandInWorker:
    """The worker around it: what it was told."""

    worker_id: UUID = field(default_factory=uuid4)
    taken: Counter[int] = field(default_factory=Counter)
    suspected: int = 0
    stuck: list[frozenset[int]] = field(default_factory=list)
    freed: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def message_taken(self, client: int, count: int) -> None:
        self.taken[client] += count
        self.changed.set()

    def suspect_store(self) -> None:
        self.suspected += 1

    def inbox_stuck(self, phone_ids: frozenset[int]) -> None:
        self.stuck.append(phone_ids)
        self.changed.set()

    def inbox_free(self) -> None:
        self.freed += 1
        self.changed.set()


class InboxBench:
    """Two phones of a database, their inbox and its dispatcher."""

    def __init__(self, database: Database, spec: HandlerSpec, policy: RetryPolicy, **settings: Any) -> None:
        self.database = database
        self.phones = phones_of(database)
        self.worker = StandInWorker()
        self.heard = Heard()
        self.own = Database(database.target, 1)
        self.inbox = Inbox(self.own, policy)
        self.dispatcher = Dispatcher(spec, self.inbox, tell=self.heard.tell, output=self.heard.output, **settings)
        self.dispatcher.begin(self.worker)
        self.count = 0

    def put(self, *texts: str, phone: int = 0, chat: str = CHAT, client: int = 1) -> None:
        for text in texts:
            self.count += 1
            message = replace(MESSAGE, id=f"{self.worker.worker_id}-{self.count}", text=text, chat=chat)
            its = self.phones[phone]
            self.dispatcher.put(its.id, replace(message, phone=its.number), client)

    def rows(self, query: str = "SELECT * FROM wa_sessions.inbox ORDER BY id") -> list[dict[str, object]]:
        with self.database.transaction() as conn:
            return conn.execute(query.encode()).fetchall()

    async def until(self, query: str, found: object, seconds: float = 20) -> None:
        """Until the first column of a query's first row is that."""
        await until(lambda: any(next(iter(row.values())) == found for row in self.rows(query)[:1]), seconds)

    async def empty(self) -> None:
        await until(lambda: not self.inbox.unwritten)
        await self.until("SELECT count(*) FROM wa_sessions.inbox", 0)

    async def empty_of_what_was_there(self, count: int) -> None:
        """Until the first so many rows are handled and gone."""
        await self.until(f"SELECT count(*) FROM wa_sessions.inbox WHERE id <= {count}", 0)

    async def until_taken(self, count: int, client: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.worker.taken[client] < count:
                self.worker.changed.clear()
                await self.worker.changed.wait()


async def until(true: Callable[[], object], seconds: float = 20) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < end, "it did not come about"
        await asyncio.sleep(0.02)


def phones_of(database: Database) -> list[Phone]:
    with database.transaction() as conn:
        found = backend.detect(conn)
        listed = {phone.number: phone for phone in phones.list_phones(conn, found)}
        return [listed.get(number) or phones.add(conn, found, number, 1) for number in NUMBERS]


@contextlib.asynccontextmanager
async def inbox_running(
    database: Database,
    spec: HandlerSpec,
    policy: RetryPolicy = RetryPolicy(first_pause=0.05),  # noqa: B008  # frozen
    *,
    serve: Collection[int] = (0, 1),
    drain: float | None = 20,
    **settings: float,
) -> AsyncIterator[InboxBench]:
    """One worker's life; it is killed at the end if ``drain`` is None."""
    bench = InboxBench(database, spec, policy, **settings)
    for number in serve:
        bench.dispatcher.serve(bench.phones[number])
    async with contextlib.AsyncExitStack() as ending:
        ending.callback(bench.own.close)
        group = await ending.enter_async_context(asyncio.TaskGroup())
        task = group.create_task(bench.dispatcher.run())
        await asyncio.sleep(0)
        try:
            yield bench
            if drain is not None:
                bench.dispatcher.wind_down()
                await bench.dispatcher.drain(drain)
        finally:
            task.cancel()


def touch(name: str) -> None:
    """Let what a handler waits for come about."""
    Path(name).touch()


def handled(bench: InboxBench) -> list[str]:
    return [text.split()[1] for text in bench.heard.texts() if text.startswith("handled ")]
