"""Connecting a session anew."""

from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import alone, ask, find, require_neonize, require_owner
from wa_sessions.actions.sessions.workers import read, takers
from wa_sessions.db import health, leases, whatsmeow
from wa_sessions.db.phones import Phone
from wa_sessions.errors import WaSessionsError
from wa_sessions.health.reconnect import State
from wa_sessions.keys.phone_ref import PhoneRef

ANSWER_TIMEOUT = 20.0  # seconds for a worker to close its WebSocket and begin


@dataclass(frozen=True, slots=True)
class Restarted:
    """A session that connects again; ``pairing``: it has no keys and shows a QR instead."""

    phone: Phone
    pairing: bool


def restart(opened: Opened, phone: PhoneRef, organization_id: int | None = None) -> Restarted:
    """Have the worker close the session and connect it again, whatever had ended it.

    A phone that was set down for its faults, or is kept from workers as it was exported, is theirs again. Raises
    WaSessionsError where no worker runs the phone or it does not answer, OwnedByAnother for a phone that no worker may
    run, PhoneNotFound, AmbiguousPhone, SchemaMissing.
    """
    found, owner = find(opened, phone, organization_id)
    require_neonize(found)
    if owner is None and (pairing := _given_to_workers(opened, found)) is not None:
        return Restarted(found, pairing)
    answer = ask(opened, found, require_owner(found, owner), "restart", ANSWER_TIMEOUT)
    return Restarted(found, bool(answer.get("pairing")))


def _given_to_workers(opened: Opened, phone: Phone) -> bool | None:
    """Have a worker take up a phone that they leave alone, and whether it will pair; None if they do not."""
    with opened.database.transaction() as conn:
        row = health.load(conn, phone.id)
        if not (row and row.state == State.FAULTED) and not leases.is_reserved(conn, phone.id):
            return None
        able = bool(takers(phone, read(conn)))
    with alone(opened, phone.id) as (conn, current):
        health.clear_counters(conn, current, State.IDLE, "to be run again")
        pairing = not whatsmeow.device_of(conn, current.number)
    if not able:
        raise WaSessionsError(f"{phone.number} may be run again, but no worker does: wa-sessions run {phone.number}")
    return pairing
