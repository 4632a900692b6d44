"""Taking a phone away: its row and its keys go into quarantine."""

from wa_sessions.actions.engine.changes import Change
from wa_sessions.keys.selection import EVERYTHING


def change(*, reason: str = "removed by an operator") -> Change:
    """Take the phone's keys and its row; whoever runs it has to end that first, and the Node backend keeps its own."""
    return Change("remove", "removed", reason, EVERYTHING, removes_phone=True)
