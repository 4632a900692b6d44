"""``quarantine purge``: old keys in quarantine go for good; the history keeps their operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Self

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import outdated
from wa_sessions.actions.engine.plan import Change, Plan, PlanItem, Scope, Target
from wa_sessions.actions.operator import operator
from wa_sessions.db import operations, rights
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.quarantine import QuarantineResult

_KEYS = "number of keys"


@dataclass(frozen=True, slots=True)
class PurgedOperation:
    """An operation whose keys went for good."""

    id: str
    purged: int

    @property
    def taken(self) -> QuarantineResult:
        """Nothing goes to quarantine."""
        return QuarantineResult(self.purged)


PurgeItem = PlanItem[Target, None]
PurgePlan = Plan[Target, None, PurgedOperation]


@dataclass(frozen=True, slots=True)
class Purge(Change[Target, None, PurgedOperation]):
    """Delete the quarantined keys of operations that were older than ``older_than`` at ``now``: all, or one's."""

    called: ClassVar[str] = "operations"
    older_than: timedelta
    now: datetime
    organization_id: int | None = None

    @classmethod
    def of(cls, opened: Opened, older_than: timedelta, organization_id: int | None = None) -> Self:
        """Those that are so old by the database's clock. Raises SchemaMissing."""
        with opened.database.transaction() as conn:
            rights.require(conn, opened.backend, set())
            return cls(older_than, operations.now(conn), organization_id)

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[Target]:  # noqa: ARG002
        """The operations, the oldest first."""
        found = operations.purgeable(conn, self.now, self.older_than.total_seconds(), self.organization_id)
        return [Target(id_, id_, {_KEYS: keys}) for id_, keys in found]

    def look(self, conn: Connection, opened: Opened, target: Target, owner: WorkerInfo | None) -> PurgeItem:  # noqa: ARG002
        """How many keys that are."""
        return PlanItem(target, None, int(str(target.like[_KEYS])))

    def beside_node(self, item: PurgeItem) -> bool:  # noqa: ARG002
        """Nobody uses what is in quarantine."""
        return False

    def apply(
        self,
        conn: Connection,
        opened: Opened,  # noqa: ARG002
        item: PurgeItem,
        operation: str | None,
        *,
        stopped: bool,  # noqa: ARG002
    ) -> tuple[str | None, PurgedOperation]:
        """Delete one operation's. Raises Conflict where some came back meanwhile."""
        purged = operations.purge(conn, item.target.name, operator(), self.organization_id)
        if purged != item.keys:
            raise outdated([f"{item.target.name}: its {_KEYS} was {item.keys} and is {purged}"])
        return operation, PurgedOperation(item.target.name, purged)


def kept_keys(opened: Opened, organization_id: int | None = None) -> int:
    """How many keys are in quarantine."""
    with opened.database.transaction() as conn:
        return operations.kept_keys(conn, organization_id)
