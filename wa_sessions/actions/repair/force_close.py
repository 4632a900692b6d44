"""Ending a session on purpose: by its worker, or in the database where none runs it."""

from wa_sessions.actions.engine.changes import LONGEST_REASON, Change
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.selection import EVERYTHING

DEFAULT_REASON = "closed by an operator"


def change(*, reason: str = DEFAULT_REASON, logout: bool = False) -> Change:
    """Close the session: WebSocket closed, counters cleared, status ``disconnected``, keys kept.

    A phone of the Node backend only while that is stopped, as nobody else can close its WebSocket. With ``logout`` all
    its keys go into quarantine and the status is ``logged_out``.
    """
    return Change(
        "force_close",
        "force_closed",
        " ".join(reason.split())[:LONGEST_REASON] or DEFAULT_REASON,
        EVERYTHING if logout else None,
        status=(Status.LOGGED_OUT if logout else Status.DISCONNECTED).value,
        verb="force_close",
        arguments={"logout": logout},
        clears_counters=True,
        ends_session=True,
    )
