"""Taking a phone away: its row and its keys go into quarantine."""

from wa_sessions.actions.changes import Change
from wa_sessions.actions.connection import Opened
from wa_sessions.db import phones
from wa_sessions.errors import OwnedByAnother, UsageError
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING


def change(*, reason: str = "removed by an operator") -> Change:
    """Take the phone's keys and its row; whoever runs it has to end that first."""
    return Change("remove", "removed", reason, EVERYTHING, removes_phone=True)


def refuse_foreign(opened: Opened, who: PhoneRef | None, organization_id: int | None = None) -> None:
    """Raise OwnedByAnother for phones that the Node backend made, UsageError where its other tables refer to phones."""
    with opened.database.transaction() as conn:
        listed = (
            phones.list_phones(conn, opened.backend, organization_id)
            if who is None
            else [phones.find(conn, opened.backend, who, organization_id)]
        )
        foreign = [phone for phone in listed if phone.connection_type != "neonize"]
        if foreign:
            raise OwnedByAnother(
                f"{foreign[0].number} is a {foreign[0].connection_type} phone of the Node backend: remove it there"
            )
        if referring := phones.referring_tables(conn):
            raise UsageError(
                f"{', '.join(referring)} refer to phones and would lose rows: remove the phone in the backend"
            )
