"""Connecting a session anew."""

from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import ask, find, require_owner
from wa_sessions.db.phones import Phone
from wa_sessions.keys.phone_ref import PhoneRef

ANSWER_TIMEOUT = 20.0  # seconds for a worker to close its WebSocket and begin


@dataclass(frozen=True, slots=True)
class Restarted:
    """A session that connects again; ``pairing``: it has no keys and shows a QR instead."""

    phone: Phone
    pairing: bool


def restart(opened: Opened, phone: PhoneRef, organization_id: int | None = None) -> Restarted:
    """Have the worker close the session and connect it again, whatever had ended it.

    Raises WaSessionsError where no worker runs the phone or it does not answer, OwnedByAnother for a phone that no
    worker may run, PhoneNotFound, AmbiguousPhone, SchemaMissing.
    """
    found, owner = find(opened, phone, organization_id)
    answer = ask(opened, found, require_owner(found, owner), "restart", ANSWER_TIMEOUT)
    return Restarted(found, bool(answer.get("pairing")))
