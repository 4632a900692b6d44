"""``export``: a backup of one phone that leaves; its keys go into quarantine here only once its file is whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import after_release, fenced
from wa_sessions.actions.engine.plan import Change, Plan, PlanItem, Scope, Target
from wa_sessions.actions.move.backup import BackedUp, Destination, place_of, written
from wa_sessions.actions.move.moving import STORES, let_go
from wa_sessions.actions.operator import operator
from wa_sessions.db import health, key_transfer, leases, phones, quarantine, rights, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.operations import EXPORT
from wa_sessions.db.phones import Phone
from wa_sessions.db.quarantine import QuarantineResult
from wa_sessions.errors import Conflict, OwnedByAnother, WaSessionsError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import operators as events
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING


@dataclass(frozen=True, slots=True)
class ExportedPhone:
    """A phone that left, or with a dry run would. ``saved`` is its file, None for a dry run."""

    phone: Phone
    taken: QuarantineResult
    saved: BackedUp | None


ExportItem = PlanItem[Target, None]
ExportPlan = Plan[Target, None, ExportedPhone]


@dataclass(frozen=True, slots=True)
class Export(Change[Target, None, ExportedPhone]):
    """Write a phone and its keys to a file, as ``backup`` does, and let it go: quarantine has its keys then.

    The file gets its name before the database commits: whenever this ends, the phone is here whole or the file is.
    ``to`` is None for a dry run.
    """

    to: Destination | None
    reason: str = "moved to another machine"

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[Target]:
        """The phone. Raises PhoneNotFound, AmbiguousPhone, OwnedByAnother, PermissionMissing, SchemaMissing."""
        assert scope.phone
        phone = phones.find(conn, opened.backend, scope.phone, scope.organization_id)
        if phone.connection_type == ConnectionType.WABA:
            raise OwnedByAnother(f"{phone.number} is a waba phone (the official API): it has no keys to export")
        rights.require(conn, opened.backend, STORES, keys=("SELECT", "DELETE"), phones=("UPDATE",))
        return [Target.of(phone)]

    def look(self, conn: Connection, opened: Opened, target: Target, owner: WorkerInfo | None) -> ExportItem:
        """Count its keys in both stores. Raises WaSessionsError where it has none, OwnedByAnother."""
        item: ExportItem = PlanItem(target, None, owner=owner)
        keys = sum(
            sum(quarantine.count(conn, opened.backend, replace(item.phone, connection_type=store), EVERYTHING).values())
            for store in STORES
        )
        if not keys:
            raise WaSessionsError(f"{item.phone.number} has no keys: there is nothing to export")
        phones.require_alone(conn, opened.backend, item.phone)
        return replace(item, keys=keys)

    def prepare(self, opened: Opened, items: Sequence[ExportItem]) -> None:  # noqa: ARG002
        """See that the file can be made, before a worker lets the phone go."""
        if self.to:
            place_of(self.to)

    def apply(
        self, conn: Connection, opened: Opened, item: ExportItem, operation: str | None, *, stopped: bool
    ) -> tuple[str, ExportedPhone]:
        """Take its keys and make the file; only once that is there they are gone."""
        phone = fenced(conn, opened, item, stopped=stopped)
        phones.require_alone(conn, opened.backend, phone)
        devices = {
            *whatsmeow.device_of(conn, phone.number),
            *key_transfer.devices_in_node(conn, opened.backend, phone.number),
        }
        leaving = let_go(conn, opened, phone, action=EXPORT, reason=self.reason, operation=operation, stores=STORES)
        phones.set_status(conn, opened.backend, phone.id, Status.DISCONNECTED, qr_code=None)
        name = self.to.file.name if self.to else ""
        health.clear_counters(conn, phone, State.IDLE, f"exported to {name}")
        leases.reserve(conn, phone.id)  # a worker that shares all phones would show a QR
        devices_told = tuple(sorted(devices))
        detail = events.Exported(operator(), self.reason, leaving.taken.quarantined, name, devices_told)
        operation = leaving.part.operation_id
        health.record_event(conn, phone.id, phone.organization_id, detail, operation_id=operation)
        gone = phones.find(conn, opened.backend, PhoneRef(phone_id=phone.id))
        return operation, ExportedPhone(gone, leaving.taken, self._saved(opened, phone, leaving.taken))

    def by_worker(
        self, opened: Opened, item: ExportItem, operation: str | None
    ) -> tuple[str | None, ExportedPhone | None]:
        """Its worker ends its session and lets it go first."""
        return after_release(opened, self, item, operation, reason=self.reason, stopped=True)

    def _saved(self, opened: Opened, phone: Phone, taken: QuarantineResult) -> BackedUp | None:
        """The phone's file, whole; what it holds is what was taken here. Raises Conflict where it is not."""
        if self.to is None:
            return None
        with written(opened, PhoneRef(phone_id=phone.id), self.to) as saved:
            if saved.keys != taken.quarantined:
                raise Conflict(f"keys of {phone.number} were written meanwhile: stop what runs it; nothing was changed")
        return saved
