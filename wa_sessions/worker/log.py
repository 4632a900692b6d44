"""The worker's log on stderr: one event a line, as text for people or as JSON for machines."""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from wa_sessions.plain_text import as_json, one_line

LogFormat = Literal["text", "json"]

_logger = logging.getLogger("wa_sessions")


def configure(log_format: LogFormat) -> None:
    """Send the worker's log to stderr in this format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    _logger.handlers[:] = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False


def log(level: int, message: str, /, *, phone: str | None = None, event: str | None = None, **fields: object) -> None:
    """Write one line. ``fields`` are for machines; people read ``message``."""
    _logger.log(level, message, extra={"wa": {"phone": phone, "event": event, **fields}})


def info(message: str, /, *, phone: str | None = None, event: str | None = None, **fields: object) -> None:
    """Something happened."""
    log(logging.INFO, message, phone=phone, event=event, **fields)


def warn(message: str, /, *, phone: str | None = None, event: str | None = None, **fields: object) -> None:
    """Something happened that an operator should see."""
    log(logging.WARNING, message, phone=phone, event=event, **fields)


def error(message: str, /, *, phone: str | None = None, event: str | None = None, **fields: object) -> None:
    """Something happened that an operator has to act on."""
    log(logging.ERROR, message, phone=phone, event=event, **fields)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        phone = record.__dict__.get("wa", {}).get("phone")
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{at} {record.levelname:<7} {one_line(f'{phone}: ' * bool(phone) + record.getMessage())}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {key: value for key, value in record.__dict__.get("wa", {}).items() if value is not None}
        entry = {"at": at, "level": record.levelname.lower(), "message": record.getMessage(), **fields}
        return as_json(entry, default=str)
