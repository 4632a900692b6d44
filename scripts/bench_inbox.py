"""What a million messages cost on their way through the inbox, and what they leave in the database.

    .venv/bin/python scripts/bench_inbox.py --messages 1000000 --backlog 100000

The inbox as a worker has it, on a Postgres of its own with its usual settings; sessions and handlers are stand-ins:
whoever tells a message waits for nobody while fewer than 64 of its phone are on their way, and a handler takes each at
once. First a stream that is taken as it comes. Then backlogs, that a worker finds as it starts: of one chat, of many.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psutil
import psycopg
from bench_support import machine
from many_keys import USUAL_SETTINGS

from wa_sessions.actions.connection import Opened, open_target
from wa_sessions.actions.sessions.add import add_phone
from wa_sessions.db import inbox as table
from wa_sessions.db import phones
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.inbox import InboxMessage
from wa_sessions.db.settings import embedded_target
from wa_sessions.worker.delivery.inbox import Inbox
from wa_sessions.worker.hosts.delivery_window import WINDOW
from wa_sessions.worker.message import IncomingMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from wa_sessions.db.phones import Phone

PHONES, CHATS = 50, 20
TEXT = "Good morning! Is the blue one still there in size 42? I could come by on Friday, after five."
RAW = bytes(range(256)) + TEXT.encode()
LOOK = """
    SELECT s.n_live_tup AS live, s.n_dead_tup AS dead, s.autovacuum_count AS vacuums,
           pg_total_relation_size(s.relid) - pg_indexes_size(s.relid) AS table, pg_indexes_size(s.relid) AS indexes
    FROM pg_stat_user_tables AS s WHERE s.schemaname = 'wa_sessions' AND s.relname = 'inbox'
"""
MB = 1 << 20
AUTOVACUUM_COMES = 150.0  # seconds: its naptime is a minute


@dataclass
class Worker:
    """The worker around the inbox, and the hosts that wait for it."""

    worker_id: UUID = field(default_factory=uuid4)
    on_their_way: Counter[int] = field(default_factory=Counter)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    stuck: int = 0

    def message_taken(self, client: int, count: int) -> None:
        self.on_their_way[client] -= count
        self.room.set()

    def suspect_store(self) -> None: ...

    def inbox_stuck(self, phone_ids: frozenset[int]) -> None:
        self.stuck += len(phone_ids)

    def inbox_free(self) -> None: ...


@dataclass
class Bench:
    """The phones, the inbox, and what became of it."""

    opened: Opened
    phones: list[Phone]
    url: str
    peak: dict[str, int] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def inbox(self, wake: asyncio.Event) -> AsyncIterator[tuple[Inbox, Worker]]:
        with Database(self.opened.database.target, 1) as own:
            inbox, worker = Inbox(own), Worker()
            inbox.begin(worker)
            for phone in self.phones:
                inbox.serve(phone)
            task = asyncio.create_task(inbox.run(wake.set))
            yield inbox, worker
            while inbox.unsettled:
                wake.clear()
                await wake.wait()
            task.cancel()
            await asyncio.wait({task})

    def look(self) -> dict[str, int]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute("SELECT pg_stat_force_next_flush()")
            row = conn.execute(LOOK).fetchone()
            [count] = conn.execute("SELECT count(*) FROM wa_sessions.inbox").fetchone() or (0,)
        assert row
        live, dead, vacuums, heap, indexes = row
        return {"rows": count, "dead": dead, "vacuums": vacuums, "table": heap, "indexes": indexes, "live": live}

    async def watch(self) -> None:
        """Keep the most of everything."""
        while True:
            now = await asyncio.to_thread(self.look)
            self.peak = {name: max(value, self.peak.get(name, 0)) for name, value in now.items()}
            await asyncio.sleep(1)


async def stream(bench: Bench, messages: int) -> dict[str, Any]:
    """All go through, as fast as they go; who tells them and who takes them share one core with the inbox."""
    wake = asyncio.Event()
    watching = asyncio.create_task(bench.watch())
    began, cpu = time.monotonic(), time.process_time()
    async with bench.inbox(wake) as (inbox, worker):
        taking = asyncio.create_task(take_all(inbox, wake, messages))
        for number in range(messages):
            phone = bench.phones[number % PHONES]
            while worker.on_their_way[phone.id] >= WINDOW - 1:
                worker.room.clear()
                await worker.room.wait()
            worker.on_their_way[phone.id] += 1
            inbox.put(phone.id, message(phone, number, f"{number // PHONES % CHATS}@lid"), phone.id)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await taking
    took = time.monotonic() - began
    watching.cancel()
    return {"rate": messages / took, "cpu": (time.process_time() - cpu) / messages * 1000, "stuck": worker.stuck}


async def take_all(inbox: Inbox, wake: asyncio.Event, messages: int) -> tuple[float, bool, int]:
    """When the first was taken, whether each chat kept its order, and how many were in memory at most."""
    first, taken, ordered, most = 0.0, 0, True, 0
    last: dict[tuple[int, str], int] = {}
    while taken < messages:
        wake.clear()
        most = max(most, inbox.waiting)
        while item := inbox.take():
            first = first or time.monotonic()
            taken += 1
            number = int(item.message.id)
            ordered = ordered and last.get((item.phone_id, item.chat), -1) < number
            last[item.phone_id, item.chat] = number
            inbox.finish(item, None)
            if taken % 100 == 0:
                await asyncio.sleep(0)
        if taken < messages:
            await wake.wait()
    return first, ordered, most


async def backlog(bench: Bench, messages: int, chats: int) -> dict[str, Any]:
    """What waits of one phone in so many chats, found and handled by a worker that begins."""
    phone = bench.phones[0]
    with bench.opened.database.transaction() as conn:
        for since in range(0, messages, 10_000):
            until = min(since + 10_000, messages)
            table.write(conn, [row(phone, number, f"{number % chats:06}@lid") for number in range(since, until)])
    with bench.opened.database.transaction() as conn:
        conn.execute("ANALYZE wa_sessions.inbox")
    memory, wake = psutil.Process().memory_info().rss, asyncio.Event()
    began = time.monotonic()
    async with bench.inbox(wake) as (inbox, worker):
        taking = asyncio.create_task(take_all(inbox, wake, messages))
        first, ordered, most = await taking
        memory_now = psutil.Process().memory_info().rss
    took = time.monotonic() - began
    return {
        "first": (first - began) * 1000,
        "rate": messages / took,
        "ordered": ordered,
        "memory": max(0, memory_now - memory) / MB,
        "most": most,
        "stuck": worker.stuck,
    }


def message(phone: Phone, number: int, chat: str) -> IncomingMessage:
    sender = "77050000001@lid"
    return IncomingMessage(str(number), chat, sender, None, False, False, 1, "conversation", TEXT, RAW, phone.number)


def row(phone: Phone, number: int, chat: str) -> InboxMessage:
    told = message(phone, number, chat)
    return InboxMessage(phone.id, chat, told.sender, told.id, None, False, False, 1, told.kind, told.text, told.raw)


@contextlib.contextmanager
def benched() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="wa-sessions-bench-inbox-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "data", settings=USUAL_SETTINGS | {"fsync": "on"})
    try:
        with open_target(embedded_target(server)) as opened:
            for number in range(PHONES):
                add_phone(opened, f"7705{number:07}", 1)
            with opened.database.transaction() as conn:
                listed = phones.list_phones(conn, opened.backend)
            yield Bench(opened, listed, f"postgresql://postgres@/postgres?host={server.socket_dir}&port=5432")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def after_autovacuum(bench: Bench) -> dict[str, int]:
    """As it is when autovacuum has come once more, or need not."""
    vacuums, deadline = bench.look()["vacuums"], time.monotonic() + AUTOVACUUM_COMES
    while (now := bench.look())["vacuums"] == vacuums and now["dead"] > 10_000 and time.monotonic() < deadline:
        time.sleep(2)
    return bench.look()


def sizes(name: str, seen: dict[str, int]) -> str:
    values = (seen["rows"], seen["dead"], f"{seen['table'] / MB:.1f}", f"{seen['indexes'] / MB:.1f}", seen["vacuums"])
    return f"| {name} | {' | '.join(map(str, values))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--backlog", type=int, default=100_000)
    options = parser.parse_args()
    with benched() as bench:
        before = bench.look()
        through = asyncio.run(stream(bench, options.messages))
        at_end, after = bench.look(), after_autovacuum(bench)
        print(
            f"{machine()}; {options.messages} messages of {len(RAW)} bytes, {PHONES} phones with {CHATS} chats each\n"
        )
        print(
            "| | rows | dead rows | table, MB | indexes, MB | autovacuums |\n| --- | ---: | ---: | ---: | ---: | ---: |"
        )
        named = (("before", before), ("at most", bench.peak), ("right after", at_end), ("after autovacuum", after))
        print("\n".join(sizes(name, seen) for name, seen in named))
        print(f"\n{through['rate']:.0f} messages/s, {through['cpu']:.3f} ms of CPU each; stuck: {through['stuck']}\n")
        print("| waiting | chats | first after, ms | messages/s | in memory at most | MB more | in order |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
        for chats in (1, options.backlog // 10, options.backlog):
            seen = asyncio.run(backlog(bench, options.backlog, chats))
            figures = (options.backlog, chats, f"{seen['first']:.0f}", f"{seen['rate']:.0f}", seen["most"])
            told = f"{seen['memory']:.0f} | {'yes' if seen['ordered'] else 'NO'}"
            print(f"| {' | '.join(map(str, figures))} | {told} |", "STUCK" if seen["stuck"] else "", flush=True)
        print(f"\nafter all of it:\n{sizes('', after_autovacuum(bench))}")


if __name__ == "__main__":
    main()
