"""Why nobody knows how a phone is, in English: by the reason, and where more is known by that; why messages fail."""

from wa_sessions.wording.phrases import Template

REASONS: dict[str, Template] = {
    "waba": "nobody observes it: the official API runs it",
    "baileys": "nobody observes it: the Node backend runs it and its logs are not read",
    "logs": "its logs do not say how it is",
    "no_worker": "no worker runs it",
    "no_sign_of_life": "its session gives no sign of life, though its worker does",
    "not_connected": "not connected ({doing})",
    "no_schema": "nobody observes it: run wa-sessions db upgrade",
    "no_permission": "the database role may not read the schema wa_sessions",
    "unknown_type": "nobody observes it: its connection type is none that is known",
    "logs_too_old": "nobody has read the logs for {age}",
    "status_overwritten": "its worker says connected, its status {status}",
    "strange_status": "its status is none that is known ({status})",
    "no_word": "without a word",
    "no_session": (
        "{n} message failed again: there is no session with its sender",
        "{n} messages failed again: there is no session with their senders",
    ),
    "invalid_prekey": (
        "{n} message failed again: it was meant for a pre-key that is not there any more",
        "{n} messages failed again: they were meant for pre-keys that are not there any more",
    ),
    "no_sender_key": (
        "{n} message failed again: its sender's key of the group is missing or wrong",
        "{n} messages failed again: their senders' keys of the group are missing or wrong",
    ),
    "other": (
        "{n} message failed again for a reason that no counter knows",
        "{n} messages failed again for a reason that no counter knows",
    ),
    "failed_too": ("{most}; {n} more for another reason", "{most}; {n} more for other reasons"),
}
