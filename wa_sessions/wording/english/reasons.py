"""Why nobody knows how a phone is, in English: by the reason, and where more is known by that."""

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
}
