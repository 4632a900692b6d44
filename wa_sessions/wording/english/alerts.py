"""What an alert says, in English: by its case."""

from wa_sessions.wording.phrases import Template

ALERTS: dict[str, Template] = {
    "next_error_closes": "{label} error {count} of {limit}: the next one closes the session",
    "limit_reached": "{label} error {count} of {limit}",
    "closed": "session closed: {why}; scan the new QR{back}",
    "closed.uncounted": "{label} limit reached",
    "closed.limit": "{label} limit reached ({count} of {limit})",
    "closed.reason": "closed",
    "closed.back": ", or wa-sessions restore {operation} without a QR",
    "pairing_expired": "no QR was scanned: wa-sessions relink {phone} shows new ones",
    "still_down": "down for {minutes} min, still trying: {reason}",
    "set_aside": "{reason}, again and again; it waits half an hour, or for wa-sessions restart {phone}",
    "stays_down": "{reason}; look with wa-sessions stats {phone}",
    "handler_ended": "the message handler's process ended: {error}",
    "handler_timeout": "the message handler took too long for a message and was killed",
    "handler_unfinished": (
        "the worker ended with {n} message that the message handler had not finished",
        "the worker ended with {n} messages that the message handler had not finished",
    ),
    "handler_dead": (
        "a message is set aside after {n} attempt of its handler: {error}; wa-sessions inbox {phone} --dead",
        "a message is set aside after {n} attempts of its handler: {error}; wa-sessions inbox {phone} --dead",
    ),
    "node_logged_out": "logged out: start the Node backend again and scan its QR",
    "all_clear": "connected and healthy again",
    "test": "a test: alerts of wa-sessions arrive here",
    "times": "{line} ({n} times)",
    "more": "and {n} more",
    "phones": ("{n} phone", "{n} phones"),
}
