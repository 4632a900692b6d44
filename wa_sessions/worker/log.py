"""The worker's log on stderr: one event a line, as text for people or as JSON for machines."""

import atexit
import contextlib
import logging
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import Literal

from wa_sessions.plain_text import as_json, one_line
from wa_sessions.wording import counted

LogFormat = Literal["text", "json"]

MOST_WAITING = 10_000
"""Lines that wait for whoever reads stderr; what comes after them is counted."""

LAST_LINES_TIMEOUT = 1.0
"""Seconds for the lines that wait when the program ends."""

_logger = logging.getLogger("wa_sessions")


def configure(log_format: LogFormat) -> None:
    """Send the worker's log to stderr in this format."""
    handler = _PatientHandler() if _has_descriptor() else logging.StreamHandler(sys.stderr)
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


def _has_descriptor() -> bool:
    try:
        return sys.stderr.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False


class _PatientHandler(logging.Handler):
    """Writes on a thread of its own: a reader of stderr that has stopped reading must not keep a session, or the end.

    It writes to the file descriptor: a thread that waits in Python's own stderr would end the program with an abort.
    """

    def __init__(self) -> None:
        super().__init__()
        self._descriptor = sys.stderr.fileno()
        self._lines: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._dropped = 0
        threading.Thread(target=self._write_all, name="log", daemon=True).start()
        atexit.register(self._finish)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if self._dropped and not self._lines.full():
            dropped, self._dropped = self._dropped, 0
            told = logging.makeLogRecord({"levelno": logging.WARNING, "levelname": "WARNING"})
            told.msg, told.wa = (
                f"{counted(dropped, 'line')} of the log dropped: nobody reads it",
                {"event": "log_dropped"},
            )
            line = f"{self.format(told)}\n{line}"
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write_all(self) -> None:
        while True:
            view = memoryview(f"{self._lines.get()}\n".encode(errors="backslashreplace"))
            with contextlib.suppress(OSError):
                while view:
                    view = view[os.write(self._descriptor, view) :]
            self._lines.task_done()

    def _finish(self) -> None:
        written = self._lines.all_tasks_done
        with written:
            written.wait_for(lambda: not self._lines.unfinished_tasks, LAST_LINES_TIMEOUT)


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
