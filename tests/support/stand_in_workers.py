"""Workers without sessions: real rows and locks, and what the operator's wishes in those rows have them do."""

from uuid import UUID, uuid4

from wa_sessions.db import leases, workers
from wa_sessions.db.gateway import Database, pinned
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
        self.database = database
        self.phones: set[int] = set()
        self._locks = database.dedicated()
        with database.transaction() as conn:
            workers.register(conn, self.id, identity or ProcessIdentity(host, pid), "0.1.0", lease=lease, scope=scope)

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
