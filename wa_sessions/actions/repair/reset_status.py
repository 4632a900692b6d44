"""Setting a phone's status by hand."""

from wa_sessions.actions.engine.changes import Change
from wa_sessions.errors import UsageError
from wa_sessions.health.reconnect import Status

LONGEST_STATUS = 50


def change(status: str, *, force: bool = False, reason: str = "status set by an operator") -> Change:
    """Set a status that the backend knows; ``force`` also another. Any known one but ``pending`` clears the QR.

    Raises UsageError.
    """
    word = status.strip()
    if word not in set(Status) and not force:
        raise UsageError(f"{status[:40]!r} is no status: write one of {', '.join(Status)}, or add --force")
    if not 0 < len(word) <= LONGEST_STATUS or not word.isprintable():
        raise UsageError(f"{status[:40]!r} cannot be a status: up to {LONGEST_STATUS} printable characters")
    return Change("reset_status", "status_reset", reason, status=word)
