"""Why nobody knows how a phone's session is, told with the same words by ``stats``, ``check`` and ``sessions``."""

from datetime import timedelta
from enum import StrEnum

from wa_sessions.health.reconnect import Status

FRESH = timedelta(minutes=5)
"""What was observed longer ago says nothing about now, unless somebody asks for less."""


class Because(StrEnum):
    """Why a severity is ``unknown``."""

    WABA = "waba"
    NODE = "baileys"
    LOGS = "logs"
    NO_WORKER = "no_worker"
    NO_SIGN_OF_LIFE = "no_sign_of_life"
    NOT_CONNECTED = "not_connected"
    NO_SCHEMA = "no_schema"
    NO_PERMISSION = "no_permission"
    FOREIGN = "unknown_type"


_REASONS = {
    Because.WABA: "nobody observes it: the official API runs it",
    Because.NODE: "nobody observes it: the Node backend runs it and its logs are not read",
    Because.LOGS: "its logs do not say how it is",
    Because.NO_WORKER: "no worker runs it",
    Because.NO_SIGN_OF_LIFE: "its session gives no sign of life, though its worker does",
    Because.NO_SCHEMA: "nobody observes it: run wa-sessions db upgrade",
    Because.NO_PERMISSION: "the database role may not read the schema wa_sessions",
    Because.FOREIGN: "nobody observes it: its connection type is none that is known",
}


def reason(
    because: str,
    *,
    connection_type: str,
    status: str,
    state: str | None,
    logs_age: timedelta | None = None,
    doubt: str | None = None,
) -> str:
    """The reason in words. ``logs_age``: how long ago its logs were read; ``doubt``: why they do not tell how it is."""
    if because == Because.NOT_CONNECTED:
        doing = status if connection_type == "baileys" else state or "not begun"
        if doing == "connected":
            return f"its worker says connected, its status {_words(status)}"
        if connection_type == "baileys" and status not in set(Status):
            return f"its status is none that is known ({_words(status)})"
        return f"not connected ({_words(doing)})"
    if because == Because.NODE and logs_age is not None:
        return f"nobody has read the logs for {in_words(logs_age)}"
    if because == Because.LOGS and doubt:
        return doubt
    return _REASONS.get(Because(because), "nobody observes it")


def _words(text: str) -> str:
    return text.replace("_", " ") or "without a word"


def in_words(age: timedelta) -> str:
    """How long, in the unit that fits.

    >>> [in_words(timedelta(minutes=minutes)) for minutes in (18, 119, 120, 6_392)]
    ['18 min', '119 min', '2 h', '4 days']
    """
    minutes = age // timedelta(minutes=1)
    return (
        f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2_880 else f"{minutes // 1_440} days"
    )
