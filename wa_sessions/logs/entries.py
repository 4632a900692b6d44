"""JSON entries: which of their fields is the log's own line, and when it was written."""

from collections.abc import Iterator, Mapping
from typing import Any

from wa_sessions.logs.times import NO_TIME, written_time

DEEPEST = 4
"""Wrappers around a line: a collector's entry around a container's around a process manager's around the backend's."""

_LINES = ("msg", "message", "MESSAGE", "log", "line", "textPayload", "_raw", "Body", "body")
_OF_LOGS = frozenset(
    {"level", "severity", "stream", "type", "PRIORITY", "source", "logStream", "host", "container_name"}
)
_OF_MESSAGES = frozenset({"key", "from", "fromMe", "remoteJid", "chatId", "pushName", "notifyName", "author"})
_TIMES = ("time", "timestamp", "@timestamp", "ts", "__REALTIME_TIMESTAMP", "Timestamp", "datetime")


def time_of(entry: Mapping[str, Any], otherwise: int) -> int:
    """When an entry was written; ``otherwise`` where it does not say."""
    return next((time for name in _TIMES if (time := written_time(entry.get(name))) != NO_TIME), otherwise)


def line_of(entry: Mapping[str, Any]) -> str | None:
    """The text that an entry was written for, by the name of its field."""
    return next((value for name in _LINES if isinstance(value := entry.get(name), str)), None)


def texts_of(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts that stand in it, by name; of an entry that has a line of its own that alone."""
    line = line_of(entry)
    for name, value in entry.items():
        if isinstance(value, str) and (line is None or (name in _LINES and value is line)):
            yield name, value


def is_message(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a chat's message that somebody printed, whose text is a customer's: it has a sender."""
    return not _OF_MESSAGES.isdisjoint(entry)


def is_of_a_log(entry: Mapping[str, Any], name: str, time: int) -> bool:
    """Whether a field holds lines of a log for all that its entry shows: it is called so, with a time or a level."""
    return name in _LINES and (time != NO_TIME or not _OF_LOGS.isdisjoint(entry))


def is_pinos(entry: Mapping[str, Any], name: str) -> bool:
    """Whether a field is the text of an entry of pino's: whoever wrote it wrote all of its lines."""
    return name == "msg" and type(entry.get("level")) is int and "time" in entry


def inner_entries(entry: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Entries that are fields of it, by name."""
    return ((name, value) for name, value in entry.items() if isinstance(value, dict))


def failed_message(entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The key and the error of a message that failed, where an entry, or one within it, has them."""
    for one in (entry, *(inner for _, inner in inner_entries(entry))):
        key = one.get("key")
        if isinstance(key, dict) and isinstance(key.get("remoteJid"), str) and isinstance(key.get("id"), str):
            error = one.get("err") or one.get("error")
            return key, error if isinstance(error, dict) else {"message": error if isinstance(error, str) else ""}
    return None


def error_text(entry: Mapping[str, Any]) -> str:
    """Why a collection failed."""
    error = entry.get("error") or entry.get("err")
    return str(error.get("message") if isinstance(error, dict) else error)
