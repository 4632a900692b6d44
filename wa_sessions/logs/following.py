"""Waiting for logs to grow, and reading them on."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import watchfiles

from wa_sessions.logs.files import read_on
from wa_sessions.logs.scan_result import ScanResult

if TYPE_CHECKING:
    from wa_sessions.logs.positions import Position

LOOK_EVERY = 30.0
"""Seconds after which logs are read on even if they seem not to have changed."""

_POLL = 1000  # ms after which sizes are looked at where the file system tells of no change, as some never do
_GATHER = 500  # ms for which changes are gathered, so that a storm is read in large pieces


def follow(names: Sequence[str]) -> Iterator[list[ScanResult]]:
    """All that the logs have said: at once, and again whenever they say more. Raises OSError, UsageError."""
    known: dict[str, Position] = {}
    whole = [ScanResult() for _ in names]
    told: list[tuple[int, int]] = []
    for _ in growth(names):
        steps = read_on(names, known)
        known |= {name: step.position for name, step in steps.items()}
        for found, name in zip(whole, names, strict=True):
            found.extend(steps[name].found)
        now = [(found.events, found.secrets) for found in whole]
        if now != told:
            told = now
            yield [finished(found) for found in whole]


def follow_news(names: Sequence[str]) -> Iterator[list[ScanResult]]:
    """What is new in the logs: all of it at once, then what they say more. Raises OSError, UsageError."""
    known: dict[str, Position] = {}
    for _ in growth(names):
        steps = read_on(names, known)
        known |= {name: step.position for name, step in steps.items()}
        new = [finished(steps[name].found) for name in names]
        yield new


def growth(names: Sequence[str]) -> Iterator[None]:
    """At once, whenever one of these files has changed, and every ``LOOK_EVERY`` seconds."""
    seen, at = _marks(names), time.monotonic()
    yield
    folders = {Path(name).absolute().parent for name in names}
    for _ in watchfiles.watch(
        *folders, debounce=_GATHER, rust_timeout=_POLL, yield_on_timeout=True, recursive=False, raise_interrupt=True
    ):
        now = _marks(names)
        if now != seen or time.monotonic() - at >= LOOK_EVERY:
            seen, at = now, time.monotonic()
            yield


def _marks(names: Sequence[str]) -> list[tuple[int, ...] | None]:
    marks: list[tuple[int, ...] | None] = []
    for name in names:
        try:
            status = Path(name).stat()
            marks.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            marks.append(None)
    return marks


def finished(found: ScanResult) -> ScanResult:
    """The same as it would be if no more came."""
    copy = ScanResult()
    copy.extend(found)
    copy.finish()
    return copy
