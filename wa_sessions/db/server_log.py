"""What the embedded server wrote about itself."""

import re
from dataclasses import dataclass
from pathlib import Path

LARGEST = 4 * 1024 * 1024

_COMPLAINT = re.compile(r"\b(FATAL|PANIC)\b(?!: +(?:the database system is |terminating connection ))|^sh: ")
"""Of the server itself, not what it told those who knocked while it started, or were there as it was killed."""


@dataclass(frozen=True, slots=True)
class ServerLog:
    """The log of one server, which may not be there yet."""

    path: Path

    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def keep_small(self) -> int:
        """Put a large log aside; returns the size of what is left."""
        if self.size() > LARGEST:
            self.path.replace(self.path.with_suffix(".log.1"))
        return self.size()

    def complaint(self, offset: int) -> str:
        """The first line since ``offset`` that may tell why the server ended, or nothing."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as log:
            log.seek(offset)
            text = log.read(64 * 1024).decode(errors="replace")
        return next((line for line in text.splitlines() if _COMPLAINT.search(line)), "")


def last_line(text: str) -> str:
    """The last line of what a program wrote that says anything."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
