"""Which entries of the history are repairs, closes and ends, and what they say about the connection."""

from wa_sessions.health.limits import ErrorKind
from wa_sessions.health.reconnect import End

REPAIRED = ("session_quarantined", "sender_key_quarantined", "collection_quarantined")
KEPT = ("session_kept", "sender_key_kept", "collection_kept")
CLOSES = {f"session_closed.{kind.value}": kind.value for kind in ErrorKind} | {
    "force_closed": "forced",
    "backend_closed": "backend",
}
"""By the kind of entry, with the kind of error behind a dot: why a session was closed."""

ENDS = ("disconnected", *sorted(set(End) - {End.STORE_DOWN}))
"""How a connection ended without anybody wanting it."""

UP = frozenset({"connected", "answers_again", "moved"})
DOWN = frozenset(
    {*ENDS, "no_answer", "store_lost", "store_back", "pairing_started", "pairing_expired", "pairing_failed"}
    | {"wrong_number", "paired", "session_closed", "force_closed", "backend_closed", "set_aside", "faulted"}
)
UNSEEN = frozenset({"stopped"})
"""From there on a worker sees the session connected, sees it not connected, or does not look any more."""
