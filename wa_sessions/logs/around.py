"""What the lines around one show: whether something stands before all of them, or before a stack of the library's.

Whoever carries a log does the same to all of its lines; what a customer writes stands in some of them.
"""

import re
from collections.abc import Iterator

from wa_sessions.logs.lines import behind, shape
from wa_sessions.logs.path import Path, clean, follow
from wa_sessions.logs.pretty import MOST_LINES
from wa_sessions.logs.words import SESSION_ERROR

SAMPLE = 2**16
"""Bytes that are looked at."""

LONGEST_FRAME = 4096
_FEWEST, _FEWEST_ENTRIES = 8, 2
_MOST_STACKS = 64
_PROGRAMS = re.compile(rb"[ \t]*\"?[ \t]*(?:at [^\n]{0,400}[a-z]:\d{1,6}:\d{1,6}\)?|\{[\"\\\\])")
"""What a program prints and hardly anybody writes: a frame of a stack, JSON."""


class Around:
    """The lines that are at hand, and those before them. Each question is answered once."""

    def __init__(self) -> None:
        self.lines, self.before = b"", b""
        self._prefixes, self._stacks = set[bytes](), set[bytes]()
        self._wrappers: dict[Path, bool] = {}

    def have_before_them(self, prefix: bytes) -> bool:
        """Whether all lines have such a prefix before them, not texts alone, or the frames of a stack have."""
        form = shape(prefix)
        return self._all_have(form, prefix) or self._a_stack_has(form)

    def wrap_alike(self, path: Path) -> bool | None:
        """Whether each line has its text at that place; None where too few lines are there to tell."""
        form = tuple(shape(step) if isinstance(step, bytes) else step for step in path)
        if form not in self._wrappers:
            lines = self._whole_lines()
            if len(lines) < _FEWEST_ENTRIES:
                return None
            if len(self._wrappers) > MOST_LINES:
                return False
            self._wrappers[form] = all(follow(clean(line), path) is not None for line in lines)
        return self._wrappers[form]

    def _all_have(self, form: bytes, prefix: bytes) -> bool:
        if form in self._prefixes or len(self._prefixes) > MOST_LINES:
            return False
        lines = self._whole_lines()
        if len(lines) <= _FEWEST:
            return False
        self._prefixes.add(form)
        found = [(line, match) for line in map(clean, lines) if (match := behind(prefix)(line))]
        return len(found) == len(lines) and any(_PROGRAMS.match(line, match.end()) for line, match in found)

    def _a_stack_has(self, form: bytes) -> bool:
        """A line that stands before the first stack is read as those behind it are."""
        if not form or form in self._stacks or len(self._stacks) > MOST_LINES:
            return False
        self._stacks.add(form)
        return any(shape(prefix) == form and self._is_frame(prefix, below) for prefix, below in self._errors())

    def _errors(self) -> Iterator[tuple[bytes, bytes]]:
        """What stands before libsignal's errors, and the line below each."""
        for lines in (self.lines, self.before):
            at = -1
            for _ in range(_MOST_STACKS):
                if (at := lines.find(SESSION_ERROR, at + 1)) < 0 or (end := lines.find(b"\n", at)) < 0:
                    break
                start = lines.rfind(b"\n", max(0, at - SAMPLE), at) + 1
                yield clean(lines[start:at]), lines[end + 1 : end + 1 + LONGEST_FRAME]

    @staticmethod
    def _is_frame(prefix: bytes, below: bytes) -> bool:
        text = follow(clean(below.partition(b"\n")[0]), (prefix,))
        return text is not None and text.lstrip().startswith(b"at ")

    def _whole_lines(self) -> list[bytes]:
        """Those that are not empty; the last, and the first of those before, may have been cut."""
        lines = (self.before + self.lines[:SAMPLE]).split(b"\n")[:-1]
        return [line for line in lines[bool(self.before) :] if line.strip()]
