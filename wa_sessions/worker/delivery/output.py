"""PURE: what a handler prints, as lines that a log can bear: cut, cleaned, and not too many of them."""

from wa_sessions.plain_text import plain

LINE_LIMIT = 4096
"""Bytes of a line that are kept."""

RATE = 1000
"""Lines of one process that are passed on in a second."""


class OutputLines:
    """Makes lines out of the bytes that a handler prints. Holds ``LINE_LIMIT`` bytes at most, however long a line is.

    ``now`` is in seconds of any clock that does not go back. Lines over ``RATE`` cost next to nothing.
    """

    def __init__(self) -> None:
        self._begun = b""
        self._cut = 0
        self._second = float("-inf")
        self._ended = 0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Lines that were dropped and not told of yet."""
        return self._dropped

    def feed(self, data: bytes, now: float) -> list[str]:
        """The lines that end in ``data``."""
        lines = self._begin_second(now)
        at = 0
        while (end := data.find(b"\n", at)) >= 0:
            if self._ended >= RATE:
                self._dropped += data.count(b"\n", at)
                self._begun, self._cut, at = b"", 0, data.rfind(b"\n") + 1
                break
            self._append(data[at:end])
            lines += self._end_line()
            at = end + 1
        self._append(data[at:])
        return lines

    def end_line(self, now: float) -> list[str]:
        """The line that was begun, as nothing will be added to it."""
        return self.feed(b"\n", now) if self._begun or self._cut else []

    def tell_dropped(self) -> list[str]:
        """How many lines were dropped, if any were."""
        dropped, self._dropped = self._dropped, 0
        return [f"(and {dropped} more lines, which were dropped)"] if dropped else []

    def _begin_second(self, now: float) -> list[str]:
        if now < self._second + 1:
            return []
        self._second, self._ended = now, 0
        return self.tell_dropped()

    def _append(self, part: bytes) -> None:
        kept = part[: LINE_LIMIT - len(self._begun)]
        self._begun += kept
        self._cut += len(part) - len(kept)

    def _end_line(self) -> list[str]:
        text, cut = self._begun.decode(errors="replace").rstrip().replace("\t", " "), self._cut
        self._begun, self._cut = b"", 0
        self._ended += 1
        shown = f"{text} … ({cut} bytes more)" if cut else text
        return [plain(shown)] if shown else []
