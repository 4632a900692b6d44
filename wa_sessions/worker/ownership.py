"""Which phones are this worker's: leases, taken one by one, renewed all at once, and taken again after a loss."""

import contextlib
import os
import socket
import time
from collections.abc import Collection, Iterator
from importlib.metadata import version
from uuid import UUID

from wa_sessions.db import leases, phones, workers
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection, Database, errors_of, pinned
from wa_sessions.errors import Contended, DatabaseError, OwnedByAnother, PhoneNotFound, WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker import log

LEASE = 30.0  # seconds that a lease stands in the database after its last renewal
LEASE_MARGIN = 10.0  # seconds before that at which a host ends itself
STALE = 3600.0  # seconds of silence after which a killed worker's row is removed


class Ownership:
    """The leases of one worker. Its methods block, and raise DatabaseError while the database is away.

    One thread calls them: the locks of all leases are those of one connection.
    """

    def __init__(self, database: Database, backend: Backend, worker_id: UUID) -> None:
        self._database = database
        self._backend = backend
        self._worker_id = worker_id
        self._locks: Connection | None = None
        self._over = False
        self.until = 0.0

    def register(self) -> None:
        """Make the worker known."""
        with self._database.transaction() as conn:
            workers.forget_stale(conn, STALE)
            self._register(conn)

    def take(self, phone_id: int) -> int:
        """Own a phone that is ours to run; returns the epoch. Raises OwnedByAnother."""
        locks = self._connected()
        with self._database.transaction() as conn:
            dead = _is_gone(leases.owner(conn, phone_id))
            epoch = leases.take(locks, conn, phone_id, self._worker_id, LEASE, dead=dead)
            refusal = self._refusal(conn, phone_id)
            if refusal:
                leases.release(locks, conn, phone_id, self._worker_id)
        if refusal:
            raise refusal
        return epoch

    def renew(self, alive: Collection[int]) -> set[int]:
        """Prolong all leases that stand, and say which sessions are ``alive``; returns the phones that are still ours.

        Raises DatabaseError where the connection that holds the locks is lost: ``reclaim`` then.
        """
        started = time.monotonic()
        with self._apart() as conn:
            if not workers.heartbeat(conn, self._worker_id):
                self._register(conn)
            mine = leases.renew(conn, self._worker_id, LEASE, alive)
        self.until = started + LEASE - LEASE_MARGIN
        return mine

    def reclaim(self, phone_ids: Collection[int]) -> dict[int, int | OwnedByAnother]:
        """After a loss, or a long pause: take again what is not ours by now; the new epoch of each, or who has it."""
        mine = self._still_ours()
        taken: dict[int, int | OwnedByAnother] = {}
        for phone_id in sorted(set(phone_ids) - mine):
            leases.unlock(self._connected(), phone_id)
            try:
                taken[phone_id] = self.take(phone_id)
            except OwnedByAnother as error:
                taken[phone_id] = error
        return taken

    def _still_ours(self) -> set[int]:
        """The phones of which both the lock and the lease have come through."""
        try:
            return self.renew([])
        except Contended:
            raise
        except DatabaseError:
            self._drop_locks()
        self.renew([])
        return set()

    def release(self, phone_id: int) -> None:
        """Give a phone back to whoever takes it next."""
        with self._database.transaction() as conn:
            leases.release(self._connected(), conn, phone_id, self._worker_id)

    def let_go(self, phone_ids: Collection[int]) -> None:
        """End: give everything back, as far as the database answers."""
        try:
            with self._database.transaction() as conn:
                for phone_id in phone_ids:
                    leases.release(self._connected(), conn, phone_id, self._worker_id)
                workers.forget(conn, self._worker_id)
        except WaSessionsError as error:
            log.warn(f"leases end by themselves in {LEASE:.0f} s: {error}", event="not_released")
        self._over = True
        self._drop_locks()

    @contextlib.contextmanager
    def _apart(self) -> Iterator[Connection]:
        """A transaction on the connection that holds the locks: sessions may have all others, and wait."""
        with errors_of(self._database.target), pinned(locks := self._connected()):
            yield locks

    def _connected(self) -> Connection:
        if self._locks is None:
            locks = self._database.dedicated()
            if self._over:  # on a thread that nobody waits for any more
                locks.close()
                raise DatabaseError("the worker has ended")
            self._locks = locks
        return self._locks

    def _drop_locks(self) -> None:
        if self._locks is not None:
            with contextlib.suppress(DatabaseError, OSError):
                self._locks.close()
        self._locks = None

    def _register(self, conn: Connection) -> None:
        workers.register(conn, self._worker_id, socket.gethostname(), os.getpid(), version("wa-sessions"))

    def _refusal(self, conn: Connection, phone_id: int) -> OwnedByAnother | None:
        """Why no worker may run a phone by now."""
        try:
            phone = phones.find(conn, self._backend, PhoneRef(phone_id=phone_id))
            if phone.connection_type != "neonize":
                return OwnedByAnother(f"{phone.number} is a {phone.connection_type} phone by now")
            phones.require_alone(conn, self._backend, phone)
        except PhoneNotFound as error:
            return OwnedByAnother(str(error))
        except OwnedByAnother as error:
            return error
        return None


def _is_gone(owner: leases.WorkerInfo | None) -> bool:
    """Whether a worker of this machine was killed, and its hosts with it; in a container it had our pid."""
    if owner is None:
        return False
    return (owner.host, owner.pid) == (socket.gethostname(), os.getpid()) or workers.was_killed(owner)
