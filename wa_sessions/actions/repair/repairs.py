"""``clean-app-state``, ``clean-sessions``, ``force-close``, ``reset-status`` and ``remove``: each is a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import fenced
from wa_sessions.actions.engine.plan import Change, Changed, Plan, PlanItem, Scope, Target
from wa_sessions.actions.node_process import running_in_node
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import ask
from wa_sessions.db import health, operations, phones, quarantine, rights
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import KEEP, Phone
from wa_sessions.db.quarantine import QuarantineResult
from wa_sessions.errors import OwnedByAnother, PhoneNotFound, UsageError
from wa_sessions.health.backend_words import BackendStatus, ConnectionType, UnknownWord
from wa_sessions.health.events.detail import EventDetail, from_json
from wa_sessions.health.events.operators import ForceClosed, KeysQuarantined, Removed, StatusReset
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.selection import (
    APP_STATE,
    APP_STATE_VERSIONS,
    CONVERSATIONS,
    CONVERSATIONS_AND_PRE_KEYS,
    EVERYTHING,
    Selection,
    of_peer,
    parse_peer,
)

LONGEST_REASON, LONGEST_STATUS = 500, 50
CLOSED = "closed by an operator"
KEYS_WARNING = (
    "--with-keys takes the app-state sync keys too. Measured: snapshot, patches and own changes then all fail to "
    "decrypt, and Baileys has no code that asks for the keys again. Taking the versions alone restores fully."
)
RECIPE_WARNING = (
    "--recipe takes the pre-keys too. Measured: peers that wrote and were never answered, and new peers that hold one "
    "of our one-time keys, then fail with Invalid PreKey ID. The least that mends is one peer's session: --peer."
)
BROAD_WARNING = (
    "this takes the sessions of all peers. Measured: the next message of every established peer then fails with No "
    "session record until it is sent again. If one peer fails, --peer takes that one's alone."
)


@dataclass(frozen=True, slots=True)
class ChangedPhone:
    """What was done at one phone; ``status`` is its status now, ``worker_id`` who did it (None: we)."""

    phone: Phone
    taken: QuarantineResult
    status: BackendStatus
    worker_id: UUID | None


@dataclass(frozen=True, slots=True)
class Repair(Change[Target, dict[str, int], ChangedPhone]):
    """What is done to each phone. ``verb`` is what a worker is asked; None refuses phones that a worker runs.

    ``ends_session``: it is only true where nothing runs the session afterwards. What is found of a phone is how many of
    its keys are selected, by type.
    """

    action: str
    event: type[EventDetail]
    reason: str
    selection: Selection | None = None
    status: BackendStatus | None = None
    verb: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    clears_counters: bool = False
    removes_phone: bool = False
    ends_session: bool = False

    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[Target]:
        """One phone, or all but those of the official API.

        Raises PhoneNotFound, AmbiguousPhone, PermissionMissing, SchemaMissing.
        """
        if scope.phone is not None:
            found = [phones.find(conn, opened.backend, scope.phone, scope.organization_id)]
        else:
            listed = phones.list_phones(conn, opened.backend, scope.organization_id)
            found = [phone for phone in listed if phone.connection_type != ConnectionType.WABA]
        if not found:
            where = f" in organization {scope.organization_id}" if scope.organization_id is not None else ""
            raise PhoneNotFound(f"no phones{where} but those of the official API: wa-sessions sessions lists all")
        on_keys = ("SELECT", "DELETE") if self.selection is not None else ()
        on_phones = (("UPDATE",) if self.status else ()) + (("DELETE",) if self.removes_phone else ())
        rights.require(conn, opened.backend, {phone.connection_type for phone in found}, keys=on_keys, phones=on_phones)
        return [Target.of(phone) for phone in found]

    def look(
        self, conn: Connection, opened: Opened, target: Target, owner: WorkerInfo | None
    ) -> PlanItem[Target, dict[str, int]]:
        """Count what is selected. Raises OwnedByAnother, UsageError."""
        assert target.phone
        self._refuse_foreign(conn, opened, target.phone, owner)
        matched: dict[str, int] = {}
        if self.selection is not None:
            matched = quarantine.count(conn, opened.backend, target.phone, self.selection)
        return PlanItem(target, matched, sum(matched.values()), owner)

    def concerns(self, item: PlanItem[Target, dict[str, int]]) -> bool:
        """A phone without keys of these kinds needs no repair."""
        return self.status is not None or self.removes_phone or bool(item.found)

    def beside_node(self, item: PlanItem[Target, dict[str, int]]) -> bool:
        """Where its keys go, or its session shall end."""
        return self.ends_session or bool(item.found)

    def stops_node(self, items: Sequence[PlanItem[Target, dict[str, int]]]) -> bool:
        """Where a phone is changed that a Node process may have in memory."""
        return any(item.phone.connection_type == ConnectionType.BAILEYS for item in items if self.beside_node(item))

    def apply(
        self,
        conn: Connection,
        opened: Opened,
        item: PlanItem[Target, dict[str, int]],
        operation: str | None,
        *,
        stopped: bool,
    ) -> tuple[str | None, ChangedPhone]:
        """Change one phone in the database, and write down that it was done."""
        phone = fenced(conn, opened, item, stopped=stopped or not self.beside_node(item))
        self._refuse_foreign(conn, opened, phone, None)
        part, taken = None, QuarantineResult()
        if self._undoable:
            part = quarantine.begin(
                conn,
                opened.backend,
                phone,
                action=self.action,
                reason=self.reason,
                actor=operator(),
                status_after=self.status,
                operation_id=operation,
            )
        if part and self.selection is not None:
            taken = quarantine.take(conn, opened.backend, part, phone, self.selection)
        if self.status is not None:
            phones.set_status(conn, opened.backend, phone.id, self.status, qr_code=_qr_code(self.status))
        if self.clears_counters:
            health.clear_counters(conn, phone, State.FORCE_CLOSED, self.reason)
        if part and self.removes_phone:
            rows = quarantine.phone_row(conn, opened.backend, part)
            taken = replace(taken, matched=taken.matched + 1, by_type=taken.by_type | {"phone": rows})
        if part and not taken.quarantined and self.status is None:
            operations.discard(conn, part)
            part = None
        kept = part.operation_id if part else None
        if part or self.status is not None:
            self._record(conn, phone, taken, kept, stopped=stopped)
        return operation or kept, ChangedPhone(phone, taken, self.status or phone.status, None)

    def by_worker(
        self, opened: Opened, item: PlanItem[Target, dict[str, int]], operation: str | None
    ) -> tuple[str | None, ChangedPhone]:
        """Have its worker do it. Raises OwnedByAnother where a worker cannot, WaSessionsError where it is silent."""
        assert item.owner
        if self.verb is None:
            raise OwnedByAnother(f"{item.owner.name} runs {item.phone.number}")
        arguments = {"reason": self.reason, "operation": operation, **self.arguments}
        answer = ask(opened, item.phone, item.owner, self.verb, **arguments)
        status = self.status or item.phone.status
        done = ChangedPhone(item.phone, QuarantineResult(**answer["taken"]), status, item.owner.worker_id)
        return operation or answer["operation"], done

    @property
    def _undoable(self) -> bool:
        """Whether the history keeps it as an operation."""
        return self.selection is not None or self.action == "reset_status"

    def _record(
        self, conn: Connection, phone: Phone, taken: QuarantineResult, operation: str | None, *, stopped: bool
    ) -> None:
        told = {"actor": operator(), "reason": self.reason, "keys": taken.quarantined, **self.arguments}
        if self.status:
            runs = not stopped and bool(running_in_node(conn, [phone]))
            told |= {"status_before": phone.status, "status": self.status, "node_runs": runs}
        health.record_event(conn, phone.id, phone.organization_id, from_json(self.event, told), operation_id=operation)

    def _refuse_foreign(self, conn: Connection, opened: Opened, phone: Phone, owner: WorkerInfo | None) -> None:
        if self.removes_phone and phone.connection_type != ConnectionType.NEONIZE:
            raise OwnedByAnother(
                f"{phone.number} is a {phone.connection_type} phone of the Node backend: remove it there"
            )
        if self.removes_phone and (referring := phones.referring_tables(conn, opened.backend)):
            raise UsageError(
                f"{', '.join(referring)} refer to phones and would lose rows: remove {phone.number} in the backend"
            )
        if phone.connection_type == ConnectionType.WABA and self.action != "reset_status":
            raise UsageError(f"{phone.number} is a waba phone (the official API): it has no keys and no session here")
        if owner and self.verb is None:
            raise OwnedByAnother(
                f"{owner.name} runs {phone.number} and writes its row itself: end that worker first, or use "
                "wa-sessions restart, relink or force-close"
            )


Repaired = Changed[ChangedPhone]
RepairPlan = Plan[Target, dict[str, int], ChangedPhone]


def clean_app_state(*, with_keys: bool = False, reason: str = "app state cleaned by an operator") -> Repair:
    """Mend Bad Decrypt: take the versions of all collections, so that they sync anew.

    ``with_keys`` takes the sync keys too, as the seed's clean-app-state.js.
    """
    return _cleaned("clean_app_state", reason, APP_STATE if with_keys else APP_STATE_VERSIONS)


def clean_sessions(
    *, peer: str | None = None, recipe: bool = False, reason: str = "sessions cleaned by an operator"
) -> Repair:
    """Mend Bad MAC: take the sessions and sender keys of one peer, or of all, so that they are made anew.

    ``recipe`` takes the pre-keys too. Raises UsageError for what is no peer.
    """
    if peer is not None:
        return _cleaned("clean_sessions", reason, of_peer(parse_peer(peer)))
    return _cleaned("clean_sessions", reason, CONVERSATIONS_AND_PRE_KEYS if recipe else CONVERSATIONS)


def force_close(*, reason: str = CLOSED, logout: bool = False) -> Repair:
    """Close the session: WebSocket closed, counters cleared, status ``disconnected``, keys kept.

    A phone of the Node backend only while that is stopped, as nobody else can close its WebSocket. With ``logout`` all
    its keys go into quarantine and the status is ``logged_out``.
    """
    return Repair(
        "force_close",
        ForceClosed,
        " ".join(reason.split())[:LONGEST_REASON] or CLOSED,
        EVERYTHING if logout else None,
        status=Status.LOGGED_OUT if logout else Status.DISCONNECTED,
        verb="force_close",
        arguments={"logout": logout},
        clears_counters=True,
        ends_session=True,
    )


def reset_status(status: str, *, force: bool = False, reason: str = "status set by an operator") -> Repair:
    """Set a status that the backend knows; ``force`` also another. Any known one but ``pending`` clears the QR.

    Raises UsageError.
    """
    word = status.strip()
    if word not in set(Status) and not force:
        raise UsageError(f"{status[:40]!r} is no status: write one of {', '.join(Status)}, or add --force")
    if not 0 < len(word) <= LONGEST_STATUS or not word.isprintable():
        raise UsageError(f"{status[:40]!r} cannot be a status: up to {LONGEST_STATUS} printable characters")
    given = Status(word) if word in set(Status) else UnknownWord(word)
    return Repair("reset_status", StatusReset, reason, status=given)


def remove(*, reason: str = "removed by an operator") -> Repair:
    """Take the phone's keys and its row; whoever runs it has to end that first, and the Node backend keeps its own."""
    return Repair("remove", Removed, reason, EVERYTHING, removes_phone=True)


def _cleaned(action: str, reason: str, selection: Selection) -> Repair:
    arguments = {"action": action, "selection": selection.as_dict()}
    return Repair(action, KeysQuarantined, reason, selection, verb="clean", arguments=arguments)


def _qr_code(status: BackendStatus) -> Any:
    """A QR is for a phone that is being paired; any other known status ends that."""
    return KEEP if status == Status.PENDING or isinstance(status, UnknownWord) else None
