"""Bringing phones back from a backup: the whole file is read and believed first, then one transaction changes all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import fenced
from wa_sessions.actions.engine.plan import Change, Changed, Plan, PlanItem, Scope, Target
from wa_sessions.actions.move.backup_contents import Contents, Saved, read_again
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, key_transfer, operations, phones, quarantine, restoring, restoring_file, rights
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import KEEP, Phone
from wa_sessions.db.quarantine import QuarantineResult
from wa_sessions.errors import AmbiguousPhone, Conflict, OwnedByAnother, PhoneNotFound, WaSessionsError
from wa_sessions.health.backend_words import BackendStatus, ConnectionType
from wa_sessions.health.events.operators import RestoredFromFile
from wa_sessions.health.reconnect import DOWN_STATUSES, State, Status
from wa_sessions.keys.backup_format import SavedRow
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING

if TYPE_CHECKING:
    from wa_sessions.actions.move.encryption import Identity

_INSIST = "--overwrite puts what is there into quarantine and restores all the same"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTarget(Target):
    """A phone of this database and what the backup has of it; without a phone the file has no session of it."""

    saved: Saved

    @property
    def stores(self) -> list[ConnectionType]:
        """The key stores that are touched: the phone's own, and those that the file has keys of."""
        own = {str(self.phone.connection_type)} if self.phone else set()
        return [ConnectionType(store) for store in sorted((self.saved.stores | own) - {"waba"})]


@dataclass(frozen=True, slots=True)
class ReturnedPhone:
    """A phone that is back: how many keys, what was taken before, and its status now."""

    phone: Phone
    restored: int
    taken: QuarantineResult
    status: BackendStatus


@dataclass(frozen=True, slots=True)
class FileRestored:
    """Phones that are back. ``operation`` holds what was there before; None where there was nothing.

    ``skipped`` counts phones of which the file has no session: they stay as they are. ``down``: why the Node process
    could not be started again, where it could not.
    """

    file: Path
    made_at: datetime
    operation: str | None
    phones: tuple[ReturnedPhone, ...]
    skipped: int
    dry_run: bool
    down: WaSessionsError | None = None

    @classmethod
    def of(cls, changed: Changed[ReturnedPhone], planned: "FilePlan", read: Contents) -> "FileRestored":
        """What became of it."""
        made_at, skipped = read.header.made_at, len(planned.others)
        return cls(read.file, made_at, changed.operation, changed.phones, skipped, changed.dry_run, changed.down)

    @property
    def matched(self) -> int:
        """How many keys stood there before."""
        return sum(phone.taken.matched for phone in self.phones)

    @property
    def quarantined(self) -> int:
        """How many of them went into quarantine."""
        return sum(phone.taken.quarantined for phone in self.phones)

    @property
    def left(self) -> int:
        """How many of them are left."""
        return sum(phone.taken.left for phone in self.phones)

    @property
    def restored(self) -> int:
        """How many keys came back."""
        return sum(phone.restored for phone in self.phones)

    @property
    def undo(self) -> str | None:
        """The command that brings back what was there before."""
        return f"wa-sessions restore {self.operation} --overwrite" if self.operation and self.quarantined else None


FileItem = PlanItem[FileTarget, None]
FilePlan = Plan[FileTarget, None, ReturnedPhone]


@dataclass(frozen=True, slots=True)
class RestoreFile(Change[FileTarget, None, ReturnedPhone]):
    """Bring the phones of a backup back, all of them or the one that is named, in one transaction.

    Their present keys go into quarantine first, as one operation. ``overwrite``: also where a phone went on since.
    """

    at_once: ClassVar[bool] = True
    never_beside_node: ClassVar[bool] = True
    read: Contents
    identities: "Sequence[Identity]" = ()
    overwrite: bool = False

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[FileTarget]:
        """Find the file's phones in the database. Raises PhoneNotFound, AmbiguousPhone, PermissionMissing."""
        opened.backend.require_phones()
        targets = []
        for saved in self._wanted(conn, opened, scope):
            if saved.keys and (scope.phone or saved.was_paired):
                ref = PhoneRef(digits=saved.phone.number)
                seen = Target.of(phones.find(conn, opened.backend, ref, saved.phone.organization_id))
            else:
                seen = Target(-1 - saved.at, saved.phone.number, {})
            targets.append(FileTarget(seen.id, seen.name, seen.like, seen.phone, saved=saved))
        stores = {store for target in targets if target.phone for store in target.stores}
        keys = ("SELECT", "INSERT", "DELETE")
        rights.require(conn, opened.backend, stores, keys=keys, phones=("SELECT", "UPDATE"))
        return targets

    def look(self, conn: Connection, opened: Opened, target: FileTarget, owner: WorkerInfo | None) -> FileItem:
        """See that it can come back.

        Raises OwnedByAnother for a phone that a worker runs; Conflict where it has changed sides since, or, unless that
        is insisted on, was connected or paired anew.
        """
        item: FileItem = PlanItem(target, None, target.saved.keys if target.phone else 0, owner)
        if target.phone is None:
            return item
        if owner:
            raise OwnedByAnother(f"{owner.name} runs {item.phone.number}: end that worker first")
        self._refuse(conn, opened, target, item.phone)
        return item

    def concerns(self, item: FileItem) -> bool:
        """Of others the file has no session."""
        return item.target.phone is not None

    def beside_node(self, item: FileItem) -> bool:
        """Where it is the Node backend's."""
        return item.target.phone is not None

    def stops_node(self, items: Sequence[FileItem]) -> bool:
        """Where rows of the Node backend change."""
        return any(ConnectionType.BAILEYS in item.target.stores for item in items)

    def apply(
        self, conn: Connection, opened: Opened, item: FileItem, operation: str | None, *, stopped: bool
    ) -> tuple[str | None, ReturnedPhone]:
        """Put everything that the phone has into quarantine, and write down what comes back."""
        phone = fenced(conn, opened, item, stopped=stopped)
        self._refuse(conn, opened, item.target, phone)
        status = Status.DISCONNECTED if phone.status in (Status.LOGGED_OUT, Status.PENDING) else None
        part = quarantine.begin(
            conn,
            opened.backend,
            phone,
            action="restore_file",
            reason=f"restored from {self.read.file.name}",
            actor=operator(),
            status_after=status,
            operation_id=operation,
        )
        taken = [
            quarantine.take(conn, opened.backend, part, replace(phone, connection_type=store), EVERYTHING)
            for store in item.target.stores
        ]
        orphans = quarantine.under_devices(conn, part, item.target.saved.devices)
        together = quarantine.together([*taken, QuarantineResult(sum(orphans.values()), orphans)])
        kept = part.operation_id if together.quarantined or status is not None else None
        if kept is None:
            operations.discard(conn, part)
        returned = ReturnedPhone(phone, item.keys, together, status or phone.status)
        self._write_down(conn, opened, item.target.saved, returned, kept)
        return operation or kept, returned

    def finish(self, conn: Connection, opened: Opened, items: Sequence[FileItem]) -> None:
        """Put the rows of all of them back; the file is read once more, and must still be the same."""
        wanted = {item.target.saved.at for item in items}

        def feed(take: Callable[[SavedRow], None]) -> None:
            def chosen(at: int, row: SavedRow) -> None:
                if at in wanted:
                    take(row)

            if read_again(self.read, self.identities, chosen) != self.read.totals:
                raise Conflict(f"{self.read.file} has changed while it was read: nothing was changed")

        restoring_file.put_back(conn, opened.backend, feed, binary=self.read.header.auth_binary)

    def _wanted(self, conn: Connection, opened: Opened, scope: Scope) -> list[Saved]:
        """The phones of the file that are meant; raises PhoneNotFound, AmbiguousPhone."""
        ref, organization_id = scope.phone, scope.organization_id
        digits = ref.digits if ref else None
        if ref and digits is None:
            found = phones.find(conn, opened.backend, ref, organization_id)
            digits, organization_id = found.number, found.organization_id
        wanted = [
            saved
            for saved in self.read.phones
            if digits in (None, saved.phone.number) and organization_id in (None, saved.phone.organization_id)
        ]
        organizations = sorted({saved.phone.organization_id for saved in wanted})
        if not wanted:
            what = f"no phone {ref}" if ref else "no phone"
            where = f" of organization {organization_id}" if organization_id is not None else ""
            raise PhoneNotFound(f"{self.read.file} has {what}{where}")
        if ref and len(organizations) > 1:
            listed = ", ".join(map(str, organizations))
            raise AmbiguousPhone(f"{ref} is in {self.read.file} in organization {listed}: choose one with --org")
        if ref and not any(saved.keys for saved in wanted):
            raise WaSessionsError(f"{self.read.file} has {ref} without a single key: there is nothing to restore")
        return wanted

    def _refuse(self, conn: Connection, opened: Opened, target: FileTarget, phone: Phone) -> None:
        """Raise Conflict where the file's keys are of a store that the phone has left, or older than its own."""
        own = {target.saved.store, target.saved.phone.connection_type}
        restoring.require_own_store(conn, opened.backend, phone, own, str(self.read.file))
        if not self.overwrite:
            _refuse_newer(conn, opened, self.read, target, phone)

    def _write_down(
        self, conn: Connection, opened: Opened, saved: Saved, returned: ReturnedPhone, operation: str | None
    ) -> None:
        """The phone's row, the LIDs of those that it talks to, and its history."""
        key_transfer.put_lid_map(conn, saved.phone.lid_map)
        phone, jid = returned.phone, saved.phone.phone_jid
        changed = returned.status != phone.status
        if changed or jid != phone.phone_jid:
            status, qr_code = (returned.status, None) if changed else (KEEP, KEEP)
            phones.set_status(conn, opened.backend, phone.id, status, qr_code=qr_code, phone_jid=jid)
        told = f"restored from {self.read.file.name}"
        if row := health.load(conn, phone.id):
            now = datetime.now(UTC)
            health.save(conn, replace(row, state=State.IDLE, state_detail=told, state_since=now, closing=None))
        detail = RestoredFromFile(
            actor=operator(),
            file=self.read.file.name,
            made_at=self.read.header.made_at.isoformat(),
            keys=returned.restored,
            quarantined=returned.taken.quarantined,
        )
        health.record_event(conn, phone.id, phone.organization_id, detail, operation_id=operation)


def _refuse_newer(conn: Connection, opened: Opened, read: Contents, target: FileTarget, phone: Phone) -> None:
    """Raise Conflict where the phone has gone on since."""
    file, number, made_at = read.file, phone.number, read.header.made_at
    connected = phone.last_connected_at
    if connected and made_at < connected:
        raise Conflict(
            f"{file} was made at {made_at:%Y-%m-%d %H:%M:%S} UTC, and {number} connected at "
            f"{connected:%Y-%m-%d %H:%M:%S} UTC: older keys would not decrypt what comes now; {_INSIST}"
        )
    if ConnectionType.NEONIZE in target.stores:
        present = restoring_file.devices(conn, [number]).get(number, {})
        if newer := sorted(jid for jid, key in present.items() if target.saved.devices.get(jid) != key):
            raise Conflict(f"{number} was paired anew since {file} was made ({', '.join(newer)}); {_INSIST}")
    if ConnectionType.BAILEYS in target.stores:
        now = quarantine.pairing_of(conn, opened.backend, replace(phone, connection_type=ConnectionType.BAILEYS))
        if now is not None and now != target.saved.pairing:
            raise Conflict(f"{number} was paired anew since {file} was made; {_INSIST}")
    changed = phone.updated_at
    in_use = phone.status not in DOWN_STATUSES or (changed is not None and made_at < changed)
    stores = (replace(phone, connection_type=store) for store in target.stores)
    if in_use and any(quarantine.pairing_of(conn, opened.backend, one) for one in stores):
        raise Conflict(
            f"{number} has keys and was in use after {file} was made: older keys would not decrypt what comes now; "
            f"{_INSIST}"
        )
