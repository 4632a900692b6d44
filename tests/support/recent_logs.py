"""The logs of ``tests/data/logs/cases/record``, as if they had been written some minutes ago."""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "data" / "logs" / "cases" / "record"
NEWEST = datetime(2026, 11, 27, 2, 0, 30, tzinfo=UTC)
_STAMP = re.compile(r"2026-11-27T\d\d:\d\d:\d\d")
_MILLISECONDS = re.compile(r'"time":(\d{13})')


def recent(folder: Path, *cases: str, minutes: int = 10) -> list[str]:
    """Write logs of the cases as they would have been written so many minutes ago; their names."""
    shift = timedelta(seconds=time.time() - NEWEST.timestamp() - 60 * minutes)

    def stamp(match: re.Match[str]) -> str:
        return (datetime.fromisoformat(match[0]) + shift).strftime("%Y-%m-%dT%H:%M:%S")

    def milliseconds(match: re.Match[str]) -> str:
        return f'"time":{int(match[1]) + round(shift.total_seconds() * 1000)}'

    names = []
    for case in cases:
        text = (FOLDER / f"{case}.log").read_text(encoding="utf-8")
        path = folder / f"{case}.log"
        path.write_text(_MILLISECONDS.sub(milliseconds, _STAMP.sub(stamp, text)), encoding="utf-8")
        names.append(str(path))
    return names
