"""Handing a phone over from the Node backend to our worker, or back."""

from dataclasses import dataclass
from typing import Final

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.node_process import running_in_node
from wa_sessions.actions.operator import operator
from wa_sessions.actions.ownership import alone, ask, find
from wa_sessions.db import health, phones, quarantine
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother, UsageError
from wa_sessions.health.backend_words import ConnectionType, PhoneType
from wa_sessions.health.events import operators as events
from wa_sessions.keys.phone_ref import PhoneRef

NOT_SEEN: Final = (
    'this backend\'s table has no column "connectionType", so the Node process cannot see the assignment and would '
    "start the phone too: take the phone out of its own list first"
)


@dataclass(frozen=True, slots=True)
class Assigned:
    """Whose a phone is now, and whose it was; ``note`` says what is still to be done, if anything."""

    phone: Phone
    connection_type: ConnectionType
    connection_type_before: PhoneType
    note: str | None


def assign(
    opened: Opened,
    phone: PhoneRef,
    connection_type: str,
    organization_id: int | None = None,
    *,
    process_stopped: bool = False,
) -> Assigned:
    """Make a phone ``neonize`` or ``baileys``.

    A worker that runs it is asked to end its session and let it go. Raises WaSessionsError where that is silent,
    OwnedByAnother where another row of its number is ours, or the Node process runs it and is not said to be stopped
    (``process_stopped``); UsageError for other types and for waba phones, PhoneNotFound, AmbiguousPhone, SchemaMissing.
    """
    if connection_type not in (ConnectionType.NEONIZE, ConnectionType.BAILEYS):
        raise UsageError(f"{connection_type[:40]!r} is no connection type: write neonize or baileys")
    kind = ConnectionType(connection_type)
    found, owner = find(opened, phone, organization_id)
    if found.connection_type == kind:
        return Assigned(found, kind, kind, None)
    if owner is not None:
        ask(opened, found, owner, "release", reason=f"assigned to {kind}")
    with alone(opened, found.id) as (conn, current):
        if kind is ConnectionType.NEONIZE:
            phones.require_alone(conn, opened.backend, current)
            if not process_stopped and running_in_node(conn, [current]):
                raise OwnedByAnother(
                    f"{current.number} is a baileys phone that the Node process runs: take it over without a QR with "
                    f"wa-sessions adopt {current.number}, or stop that process and say --process-stopped"
                )
        paired = quarantine.pairing_of(conn, opened.backend, current) is not None
        phones.assign(conn, opened.backend, current, kind)
        detail = events.Assigned(operator(), current.connection_type, kind)
        health.record_event(conn, current.id, current.organization_id, detail)
    note = _note(current, kind, seen=opened.backend.has_connection_type, paired=paired)
    return Assigned(current, kind, current.connection_type, note)


def _note(phone: Phone, kind: ConnectionType, *, seen: bool, paired: bool) -> str | None:
    if not seen and kind is ConnectionType.NEONIZE:
        return NOT_SEEN
    if paired:
        back, way = ("baileys", "adopt") if kind is ConnectionType.NEONIZE else ("neonize", "return")
        return (
            f"its keys stayed behind, so a new QR will be asked for; to move it without one: wa-sessions assign "
            f"{phone.number} {back}, then wa-sessions {way} {phone.number}"
        )
    if kind is ConnectionType.BAILEYS:
        return "start the Node backend again: it takes the phone up and shows its own QR"
    return None
