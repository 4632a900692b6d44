"""The kinds of event in the history: which are repairs, closes and ends, and what they say of the connection."""

from enum import StrEnum

from wa_sessions.health.limits import ErrorKind
from wa_sessions.health.reconnect import End


class EventKind(StrEnum):
    """What happened; ``wa_sessions.health.events`` has what is told of each."""

    ADDED = "added"
    ASSIGNED = "assigned"
    RENAMED = "renamed"
    PAIRING_STARTED = "pairing_started"
    PAIRING_EXPIRED = "pairing_expired"
    PAIRING_FAILED = "pairing_failed"
    WRONG_NUMBER = "wrong_number"
    PAIRED = "paired"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    STREAM_ERROR = "stream_error"
    NO_ANSWER = "no_answer"
    ANSWERS_AGAIN = "answers_again"
    REPLACED = "replaced"
    LOGGED_OUT = "logged_out"
    OUTDATED = "outdated"
    LOGIN_REFUSED = "login_refused"
    BANNED = "banned"
    UNREACHABLE = "unreachable"
    CRASHED = "crashed"
    STORE_LOST = "store_lost"
    STORE_BACK = "store_back"
    MESSAGE_PENDING = "message_pending"
    MESSAGE_RECOVERED = "message_recovered"
    MESSAGE_LOST = "message_lost"
    ERROR_COUNTED = "error_counted"
    COUNTER_RESET = "counter_reset"
    SESSION_QUARANTINED = "session_quarantined"
    SENDER_KEY_QUARANTINED = "sender_key_quarantined"
    COLLECTION_QUARANTINED = "collection_quarantined"
    SESSION_KEPT = "session_kept"
    SENDER_KEY_KEPT = "sender_key_kept"
    COLLECTION_KEPT = "collection_kept"
    SESSION_CLOSED = "session_closed"
    BACKEND_CLOSED = "backend_closed"
    KEYS_QUARANTINED = "keys_quarantined"
    FORCE_CLOSED = "force_closed"
    STATUS_RESET = "status_reset"
    ADOPTED = "adopted"
    RETURNED = "returned"
    EXPORTED = "exported"
    IMPORTED = "imported"
    REMOVED = "removed"
    RESTORED = "restored"
    RESTORED_FROM_FILE = "restored_from_file"
    UNLINKED = "unlinked"
    HANDLER_FAILED = "handler_failed"
    HANDLER_SLOW = "handler_slow"
    HANDLER_ENDED = "handler_ended"
    HANDLER_UNFINISHED = "handler_unfinished"
    HANDLER_DEAD = "handler_dead"
    INBOX_RETRIED = "inbox_retried"
    INBOX_DROPPED = "inbox_dropped"
    MOVE_ASKED = "move_asked"
    TAKEN = "taken"
    MOVED = "moved"
    SET_ASIDE = "set_aside"
    FAULT = "fault"
    FAULTED = "faulted"
    STOPPED = "stopped"
    HISTORY_PRUNED = "history_pruned"


REPAIRED = (EventKind.SESSION_QUARANTINED, EventKind.SENDER_KEY_QUARANTINED, EventKind.COLLECTION_QUARANTINED)
KEPT = (EventKind.SESSION_KEPT, EventKind.SENDER_KEY_KEPT, EventKind.COLLECTION_KEPT)
CLOSES = {f"{EventKind.SESSION_CLOSED}.{kind}": kind.value for kind in ErrorKind} | {
    EventKind.FORCE_CLOSED.value: "forced",
    EventKind.BACKEND_CLOSED.value: "backend",
}
"""By the kind of event, with the kind of error behind a dot: why a session was closed."""

ENDS = (EventKind.DISCONNECTED, *(EventKind(end) for end in sorted(set(End) - {End.STORE_DOWN})))
"""How a connection ended without anybody wanting it."""

UP = frozenset({EventKind.CONNECTED, EventKind.ANSWERS_AGAIN, EventKind.MOVED})
DOWN = frozenset(
    {*ENDS, EventKind.NO_ANSWER, EventKind.STORE_LOST, EventKind.STORE_BACK, EventKind.PAIRING_STARTED}
) | {
    EventKind.PAIRING_EXPIRED,
    EventKind.PAIRING_FAILED,
    EventKind.WRONG_NUMBER,
    EventKind.PAIRED,
    EventKind.SESSION_CLOSED,
    EventKind.FORCE_CLOSED,
    EventKind.BACKEND_CLOSED,
    EventKind.SET_ASIDE,
    EventKind.FAULTED,
}
UNSEEN = frozenset({EventKind.STOPPED})
"""From there on a worker sees the session connected, sees it not connected, or does not look any more."""
