"""Several workers in one event loop, over one real database, each with hosts of its own that are stand-ins."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

from support.outages import outage
from support.stand_in_hosts import StandInHandlers, StandInHosts
from support.waiting import PATIENCE

from wa_sessions.db import backend, phones
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.health.model import Limits
from wa_sessions.worker.fleet import Scope
from wa_sessions.worker.fleet_watch import FleetWatch
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.session import Settings
from wa_sessions.worker.supervisor import Supervisor, WorkerOptions

LEASE = 3.0  # seconds
SHARED = Scope()


async def until(true: Callable[[], bool], within: float = PATIENCE) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


class RunningWorker:
    """A worker with its hosts. While it is frozen it keeps no lease and looks at nothing, as after SIGSTOP."""

    def __init__(
        self,
        database: Database,
        found: backend.Backend,
        scope: Scope | None,
        handlers: Any = None,
        *,
        lease: float = LEASE,
    ) -> None:
        self.hosts = StandInHosts()
        options = WorkerOptions(Settings(Limits()), LeaseTimes(lease), scope=scope)
        self.worker = Supervisor(database, found, options, self.hosts, handlers or StandInHandlers())
        self.id = self.worker.worker_id
        self.task: asyncio.Task[None]
        self._thawed = asyncio.Event()
        self._thawed.set()
        call = self.worker._guard.call

        async def call_unless_frozen(*work: Any) -> Any:
            await self._thawed.wait()
            return await call(*work)

        self.worker._guard.call = call_unless_frozen  # type: ignore[method-assign, assignment]

    def start(self, named: Sequence[Phone] = (), *, wait: bool = True) -> "RunningWorker":
        self.task = asyncio.create_task(self.worker.run(named, wait=wait))
        return self

    @property
    def phones(self) -> set[int]:
        """The phones of which it has a login."""
        return {phone_id for phone_id, _, _ in self.hosts.clients.values()}

    @property
    def watch(self) -> FleetWatch:
        """Its service that looks at phones, once it has begun."""
        return cast("FleetWatch", getattr(self.worker._sessions.changed, "__self__", None))

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    async def stop(self) -> None:
        self.worker.stop()
        await self.task


class WorkerFleet:
    """A database with phones, and workers that come and go."""

    def __init__(self, database: Database, server: EmbeddedServer, count: int) -> None:
        self.database = database
        self._server = server
        self.workers: list[RunningWorker] = []
        self._numbers = iter(range(100))
        with database.transaction() as conn:
            self.backend = backend.detect(conn)
        self.phones = [self.add() for _ in range(count)]

    def add(self, organization: int = 1) -> Phone:
        with self.database.transaction() as conn:
            return phones.add(conn, self.backend, str(77_055_000_000 + next(self._numbers)), organization)

    @contextlib.asynccontextmanager
    async def running(self, *scopes: Scope | None) -> AsyncIterator[list[RunningWorker]]:
        """Workers; those of the fleet that run still are stopped at the end, and must end well."""
        try:
            yield [self.begin(scope) for scope in scopes]
        finally:
            for worker in self.workers:
                worker.thaw()
                worker.worker.stop()
            ends = await asyncio.gather(*(worker.task for worker in self.workers), return_exceptions=True)
        assert [end for end in ends if end is not None] == []
        assert self.rows("SELECT 1 FROM wa_sessions.lease WHERE expires_at > clock_timestamp()") == []
        assert self.rows("SELECT 1 FROM wa_sessions.worker") == []

    def begin(
        self, scope: Scope | None = SHARED, named: Sequence[Phone] = (), *, wait: bool = True, lease: float = LEASE
    ) -> RunningWorker:
        worker = RunningWorker(self.database, self.backend, scope, lease=lease).start(named, wait=wait)
        self.workers.append(worker)
        return worker

    @property
    def ids(self) -> set[int]:
        return {phone.id for phone in self.phones}

    def is_run_once(self, ids: set[int] | None = None) -> bool:
        """Whether each of these phones, all of them, has one login, of the worker that has its lease."""
        ids = self.ids if ids is None else ids
        logins = Counter(phone_id for worker in self.workers for phone_id in worker.phones if phone_id in ids)
        return logins == Counter(ids) and all(self.held(worker) & ids == worker.phones & ids for worker in self.workers)

    def held(self, worker: RunningWorker) -> set[int]:
        held = "SELECT phone_id FROM wa_sessions.lease WHERE worker_id = %s AND expires_at > clock_timestamp()"
        return {row["phone_id"] for row in self.rows(held, worker.id)}

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self.database.transaction() as conn:
            cursor = conn.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def kinds(self, phone: Phone) -> list[str]:
        query = "SELECT kind FROM wa_sessions.event WHERE phone_id = %s ORDER BY id"
        return [row["kind"] for row in self.rows(query, phone.id)]

    def taken(self, phone: Phone) -> list[dict[str, Any]]:
        """What the history says of who took it."""
        query = "SELECT detail FROM wa_sessions.event WHERE phone_id = %s AND kind = 'taken' ORDER BY id"
        return [row["detail"] for row in self.rows(query, phone.id)]

    def outage(self) -> contextlib.AbstractContextManager[None]:
        return outage(self._server, self.database)
