"""When the last line of a log was written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wa_sessions.actions.watch.log_evidence import moment
from wa_sessions.logs.files import STDIN
from wa_sessions.logs.scan_result import ScanResult


@dataclass(frozen=True, slots=True)
class LastLine:
    """``at``: when the newest line was written that is the backend's or its library's; None where no line shows that.

    ``written_at``: when anything was written into the file; None where there is no file.
    """

    log: str
    at: datetime | None
    written_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        times = {"last_line_at": self.at, "written_at": self.written_at}
        return {"file": self.log} | {name: at and at.isoformat() for name, at in times.items()}


def last_lines(names: Sequence[str], found: Sequence[ScanResult]) -> list[LastLine]:
    """Of each log."""
    return [LastLine(name, moment(one.seen), _written_at(name)) for name, one in zip(names, found, strict=True)]


def _written_at(name: str) -> datetime | None:
    try:
        path = None if name == STDIN else Path(name)
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path and path.is_file() else None
    except OSError:
        return None
