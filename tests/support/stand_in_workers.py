"""Workers without sessions: real rows and locks, and what the operator's wishes in those rows have them do."""

import contextlib
import threading
from collections.abc import Iterator
from uuid import UUID, uuid4

from support.waiting import PATIENCE

from wa_sessions.db import leases, workers
from wa_sessions.db.dedicated import pinned
from wa_sessions.db.gateway import Database
from wa_sessions.health.workers import serves
from wa_sessions.process_identity import ProcessIdentity

LONG = 600.0  # seconds: a lease that no test outlives, so that nobody has to renew


class FleetWorker:
    """One worker. ``scope`` and ``lease`` as ``workers.register`` takes them."""

    def __init__(
        self,
        database: Database,
        host: str,
        pid: int,
        *,
        scope: str | None = "all",
        lease: float | None = LONG,
        identity: ProcessIdentity | None = None,
    ) -> None:
        self.id: UUID = uuid4()
        self.name = f"{host}/{pid}"
        self.scope = scope
        self.database = database
        self.phones: set[int] = set()
        self._locks = database.dedicated()
        with database.transaction() as conn:
            workers.register(conn, self.id, identity or ProcessIdentity(host, pid), "0.2.0", lease=lease, scope=scope)

    def take(self, *phone_ids: int) -> None:
        for phone_id in phone_ids:
            with pinned(self._locks):
                leases.take(self._locks, phone_id, self.id)
            self.phones.add(phone_id)

    def release(self, phone_id: int) -> None:
        with pinned(self._locks):
            leases.release(self._locks, phone_id, self.id)
        self.phones.discard(phone_id)

    def silent(self, seconds: float) -> None:
        with self.database.transaction() as conn:
            conn.execute(
                """UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp() - make_interval(secs => %s)
                   WHERE id = %s""",
                (seconds, self.id),
            )

    def close(self) -> None:
        self._locks.close()


@contextlib.contextmanager
def obeying(*fleet: FleetWorker, most: int = 1000) -> Iterator[None]:
    """Have them look at their rows whenever they are told to: ``most`` phones in all change hands."""
    database = fleet[0].database
    by_id = {worker.id: worker for worker in fleet}
    over, left = threading.Event(), [most]

    def obey() -> None:
        with contextlib.closing(database.dedicated()) as listening:
            leases.listen(listening)
            ready.set()
            while not over.is_set():
                workers.hear(listening, 0.2)
                _obey(database, by_id, left)

    ready = threading.Event()
    thread = threading.Thread(target=obey)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield
    finally:
        over.set()
        thread.join()


def _obey(
    database: Database,
    by_id: "dict[UUID, FleetWorker]",
    left: list[int],
) -> None:
    with database.transaction() as conn:
        wanted = {
            row["phone_id"]: row["wanted_by"]
            for row in conn.execute(
                "SELECT phone_id, wanted_by FROM wa_sessions.lease WHERE wanted_until > clock_timestamp()"
            )
            if row["wanted_by"]
        }
        draining = {row.id for row in workers.roster(conn) if row.draining}
        organizations = {
            row["id"]: row["organizationId"]
            for row in conn.execute('SELECT id, "organizationId" FROM public."OrganizationPhone"')
        }
    for worker in by_id.values():
        for phone_id in sorted(worker.phones):
            to = by_id.get(wanted[phone_id]) if phone_id in wanted else None
            if to is None and worker.id in draining:
                able = [one for one in by_id.values() if one.id not in draining]
                able = [one for one in able if serves(one.scope, organizations[phone_id])]
                to = min(able, key=lambda other: len(other.phones), default=None)
            if to is not None and to is not worker and left[0] > 0:
                left[0] -= 1
                worker.release(phone_id)
                to.take(phone_id)
    for phone_id, wanting in wanted.items():
        if wanting in by_id and not any(phone_id in worker.phones for worker in by_id.values()):
            by_id[wanting].take(phone_id)
