"""Which phones are this worker's: leases, taken one by one, renewed by one row, and taken again after a loss."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version
from uuid import UUID

from wa_sessions.db import account_leases, fleet, health, leases, phones, workers
from wa_sessions.db.backend import Backend
from wa_sessions.db.dedicated import cut, pinned
from wa_sessions.db.gateway import Connection, Database, errors_of
from wa_sessions.db.leases import LastHolder
from wa_sessions.db.phones import Phone
from wa_sessions.errors import (
    DatabaseAway,
    DatabaseError,
    OwnedByAnother,
    PhoneNotFound,
    StoreAway,
    TryAgain,
    WaSessionsError,
)
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import workers as events
from wa_sessions.keys.phone_ref import PhoneRef, account_of, same_account
from wa_sessions.process_identity import ProcessIdentity
from wa_sessions.worker import log
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.repository import TRY_AGAIN

HARDLY = 0.01  # seconds for a lock, once another was waited for
FUTURE = 1.0  # seconds that a sign of life may be ahead of the database's clock, before that was put back
STALE = 3600.0  # seconds of silence after which a killed worker's row is removed

Taken = tuple[int, Phone]
"""The epoch of a lease, and the phone."""


class Ownership:
    """The leases of one worker. Its methods block, and raise StoreAway while the database is away.

    One thread calls them: the locks of all leases are those of one connection, on which everything here is done.
    ``until``: when its hosts have to be gone, on the clock of ``lease_times.now``.
    """

    def __init__(
        self,
        database: Database,
        backend: Backend,
        worker_id: UUID,
        times: LeaseTimes,
        scope: str | None = None,
        *,
        handles: bool = True,
    ) -> None:
        self._database = database
        self._backend = backend
        self._worker_id = worker_id
        self._times = times
        self._scope = scope
        self._handles = handles
        self._locks: Connection | None = None
        self._over = False
        self._draining = False
        self._silent: frozenset[int] | None = None
        self._renewed = now()
        self.until = 0.0

    def register(self) -> None:
        """Make the worker known, or its return after a silence."""
        with contextlib.suppress(*TRY_AGAIN), self._apart() as conn:
            workers.forget_stale(conn, STALE)
        asked = now()
        with self._apart(self._times.lapse) as conn:
            workers.register(
                conn,
                self._worker_id,
                ProcessIdentity.own(),
                version("wa-sessions"),
                lease=self._times.lease,
                scope=self._scope,
                handles=self._handles,
                draining=self._draining,
            )
        self._stand_from(asked)

    def take(
        self,
        phone_id: int,
        *,
        runs: str | None = None,
        waits: float | None = None,
        patience: float = leases.HOLDER_TIMEOUT,
    ) -> Taken:
        """Own a phone that is ours to run, and its number; the epoch, and the phone. Raises OwnedByAnother.

        That another worker had it before, or none, stands in the history then. ``runs``: the number of the session that
        we have of it already. ``waits``: seconds for whoever changes the phone at this moment, Busy then;
        ``patience``: for a connection that was ended to let go of its lock.
        """
        try:
            with self._apart(self._times.lapse if waits is None else waits) as conn:
                before = leases.last_holder(conn, phone_id)
                dead = before.worker_id if before is not None and before.was_killed else None
                epoch = leases.take(conn, phone_id, self._worker_id, dead=dead, patience=patience)
                phone = self._runnable(conn, phone_id, runs)
                if not self._had_it(before, epoch, phone.number):
                    account_leases.claim(conn, phone_id, phone.number, patience=patience)
                if before is None or before.worker_id != self._worker_id:
                    self._tell_history(conn, phone, before)
                return epoch, phone
        except WaSessionsError:
            if self._locks is not None:
                leases.unlock(self._locks, phone_id)
            raise

    def look(
        self, organization_id: int | None, phone_ids: Collection[int] | None, *, full: bool
    ) -> tuple[list[workers.WorkerRow], frozenset[UUID], list[fleet.PhoneRow]]:
        """All workers, those that are known to be gone, and, if it is a ``full`` look, the phones: free, or ours."""
        with self._apart() as conn:
            seen = workers.roster(conn)
            if any(row.silent_for < -FUTURE for row in seen):
                workers.date_back(conn, FUTURE)
                seen = workers.roster(conn)
            self._draining = next((row.draining for row in seen if row.id == self._worker_id), self._draining)
            gone = frozenset(row.id for row in seen if row.identity.is_gone())
            if not full:
                return seen, gone, []
            leases.date_back(conn)
            renewed = [
                row.id
                for row in seen
                if row.silence is not None and row.silence < leases.FREE_AFTER and row.id not in gone
            ]
            return seen, gone, fleet.phones(conn, self._backend, self._worker_id, renewed, organization_id, phone_ids)

    def renew(self, silent: Collection[int] = (), hosts: int | None = None) -> frozenset[int] | None:
        """Prolong everything that is ours, and say which sessions are ``silent``; the phones that are ours.

        None after a silence of our own: ``register`` and ``reclaim`` then. An answer that comes only when others may
        have thought the worker dead counts as silence, as they may have looked before it was written. DatabaseError
        where the connection with the locks is lost: the next call makes a new one, and ``reclaim`` is needed.
        """
        asked = now()
        with self._apart() as conn:
            mine = workers.renew(conn, self._worker_id, hosts)
        if mine is not None and (marked := frozenset(silent)) != self._silent:
            self._mark_silent(marked)
        if mine is None or now() - self._renewed >= self._times.lapse:
            return None
        self._stand_from(asked)
        return mine

    def reclaim(self, numbers: Mapping[int, str]) -> dict[int, int | WaSessionsError]:
        """Take phones of ours again, each under a new epoch: that, or who has it, or why it is to be tried again.

        ``numbers``: with which their sessions run, by phone.

        Somebody who has locked one phone may have locked many: for the others hardly any time is left.
        """
        taken: dict[int, int | WaSessionsError] = {}
        waits, patience = leases.HURRY, min(leases.HOLDER_TIMEOUT, self._times.lease / 4)
        for phone_id, number in numbers.items():
            leases.unlock(self._connected(), phone_id)
            try:
                taken[phone_id], _ = self.take(phone_id, runs=number, waits=waits, patience=patience)
            except OwnedByAnother as error:
                taken[phone_id] = error
            except StoreAway:
                raise
            except (DatabaseError, *TRY_AGAIN) as error:
                taken[phone_id] = error
                waits = patience = HARDLY
        return taken

    def lost_locks(self) -> bool:
        """Whether the connection that had the locks is gone; the next call makes a new one."""
        if self._locks is not None:
            try:
                with self._apart() as conn:
                    conn.execute("SELECT 1")
            except (StoreAway, TryAgain):
                self._drop_locks()
        return self._locks is None

    def release(self, phone_id: int, reserved_for: float = 0.0) -> None:
        """Give a phone back to whoever takes it next, or keep it for an operator for so many seconds."""
        with self._apart() as conn:
            leases.release(conn, phone_id, self._worker_id)
            if reserved_for:
                leases.reserve(conn, phone_id, reserved_for)

    def end(self) -> None:
        """Give back all that is left, as far as the database answers."""
        try:
            with self._apart() as conn:
                leases.release_all(conn, self._worker_id)
                workers.forget(conn, self._worker_id)
        except WaSessionsError as error:
            log.warn(f"leases end by themselves in {self._times.lease:.0f} s: {error}", event="not_released")
        self._over = True
        self._drop_locks()

    def cut(self) -> None:
        """Have whoever waits for an answer on the connection with the locks get DatabaseAway; from any thread."""
        if (locks := self._locks) is not None:
            cut(locks)

    def _mark_silent(self, silent: frozenset[int]) -> None:
        """Apart from the renewal, which waits for nobody who has locked a phone."""
        with contextlib.suppress(*TRY_AGAIN):
            with self._apart() as conn:
                leases.mark_silent(conn, self._worker_id, silent)
            self._silent = silent

    def _had_it(self, before: LastHolder | None, epoch: int, number: str) -> bool:
        """Whether the phone was ours with this number until now, and nobody's in between: then the number is, too."""
        until_now = (self._worker_id, epoch - 1, False, account_of(number))
        return before is not None and (before.worker_id, before.epoch, before.given_up, before.account) == until_now

    def _tell_history(self, conn: Connection, phone: Phone, before: LastHolder | None) -> None:
        detail = _taken(before)
        health.record_event(conn, phone.id, phone.organization_id, detail, worker_id=self._worker_id)

    def _stand_from(self, asked: float) -> None:
        self._renewed = asked
        self.until = asked + self._times.host_deadline

    @contextlib.contextmanager
    def _apart(self, waits: float = leases.HURRY) -> Iterator[Connection]:
        """A transaction on the connection that holds the locks: sessions may have all others, and wait.

        ``waits``: seconds for somebody's lock; all leases wait meanwhile. Busy then.
        """
        with errors_of(self._database.target), pinned(locks := self._connected(), self._times.lapse, waits):
            yield locks

    def _connected(self) -> Connection:
        if self._locks is None:
            locks = self._database.dedicated(abandoned_after=self._times.lapse)
            if self._over:  # on a thread that nobody waits for any more
                locks.close()
                raise DatabaseAway("the worker has ended")
            self._locks = locks
        return self._locks

    def _drop_locks(self) -> None:
        if self._locks is not None:
            self._locks.close()
        self._locks = None

    def _runnable(self, conn: Connection, phone_id: int, runs: str | None) -> Phone:
        """The phone as it is by now. Raises OwnedByAnother where no worker may run it, or not with that number."""
        try:
            phone = phones.find(conn, self._backend, PhoneRef(phone_id=phone_id))
        except PhoneNotFound as error:
            raise OwnedByAnother(str(error)) from None
        if phone.connection_type != ConnectionType.NEONIZE:
            raise OwnedByAnother(f"{phone.number} is a {phone.connection_type} phone by now")
        if not phone.phone_jid:
            raise OwnedByAnother(f'phone #{phone_id} has no number by now: its "phoneJid" is NULL')
        if runs is not None and not same_account(runs, phone.number):
            raise OwnedByAnother(f"phone #{phone_id} has the number {phone.number} by now")
        phones.require_alone(conn, self._backend, phone)
        return phone


def _taken(before: LastHolder | None) -> events.Taken:
    worker = ProcessIdentity.own().name
    if before is None or before.process is None:
        return events.Taken(worker)
    name = before.process.name
    if before.given_up:
        return events.Taken(worker, name)
    if before.was_killed:
        return events.Taken(worker, name, killed=True)
    return events.Taken(worker, name, silent_seconds=None if before.silent_for is None else round(before.silent_for, 1))
