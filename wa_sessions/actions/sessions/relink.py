"""Opening pairing again."""

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import ask, find, require_owner
from wa_sessions.db.phones import Phone
from wa_sessions.keys.phone_ref import PhoneRef

ANSWER_TIMEOUT = 20.0  # seconds for a worker to begin


def relink(opened: Opened, phone: PhoneRef, organization_id: int | None = None) -> Phone:
    """Have the worker show QR codes for another pairing window.

    Raises UsageError while there are keys still, WaSessionsError where no worker runs the phone or it does not answer,
    OwnedByAnother for a phone that no worker may run, PhoneNotFound, AmbiguousPhone, SchemaMissing.
    """
    found, owner = find(opened, phone, organization_id)
    ask(opened, found, require_owner(found, owner), "relink", ANSWER_TIMEOUT)
    return found
