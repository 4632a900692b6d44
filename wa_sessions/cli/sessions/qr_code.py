"""A QR code in characters, or as a picture in a file."""

import io
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import segno

from wa_sessions.actions import atomic_file

BORDER, NARROW_BORDER = 2, 1
BESIDE = 2
"""Lines of a terminal that something else needs: what stands above the QR, and the prompt below it."""

PICTURE_BORDER, PICTURE_SCALE = 4, 8
_BLACK_ON_WHITE, _RESET = "\x1b[30;107m", "\x1b[0m"
_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def drawn(text: str, *, terminal: bool, room: tuple[int, int] | None = None) -> str:
    """Two modules a character: black on white at a terminal, else light on dark as most viewers show a log.

    ``room``: lines and columns of the terminal. With a narrower border where it fits only so.
    """
    border = NARROW_BORDER if room and not _fits(text, BORDER, room) and _fits(text, NARROW_BORDER, room) else BORDER
    rows = [[bool(module) is terminal for module in row] for row in _code(text).matrix_iter(border=border)]
    lines = []
    for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=[not terminal] * len(rows[0])):
        line = "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        lines.append(f"{_BLACK_ON_WHITE}{line}{_RESET}" if terminal else line)
    return "\n".join(lines)


def too_large(text: str, room: tuple[int, int] | None) -> str | None:
    """What to say where a QR does not fit a terminal, and cannot be scanned there; None where it does."""
    if room is None or _fits(text, NARROW_BORDER, room):
        return None
    lines, columns = _size(text, NARROW_BORDER)
    return (
        f"this QR needs {lines + BESIDE} lines and {columns} columns, and the terminal has {room[0]} and {room[1]}: "
        "make it larger or its letters smaller, or have a picture of it: wa-sessions qr PHONE --png FILE"
    )


def _code(text: str) -> Any:
    return segno.make_qr(text, error="l", boost_error=False)


def _size(text: str, border: int) -> tuple[int, int]:
    """Lines and columns."""
    modules = _code(text).symbol_size(border=border)[0]
    return (modules + 1) // 2, modules


def _fits(text: str, border: int, room: tuple[int, int]) -> bool:
    lines, columns = _size(text, border)
    return lines + BESIDE <= room[0] and columns <= room[1]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to be made in a file that only its owner can read."""

    file: Path
    kind: Literal["png", "svg"]

    def write(self, text: str) -> None:
        """Make it of a QR's text; the file is there whole, or as it was before. Raises WaSessionsError."""
        picture = io.BytesIO()
        segno.make_qr(text).save(picture, kind=self.kind, scale=PICTURE_SCALE, border=PICTURE_BORDER)
        atomic_file.write(self.file, picture.getvalue(), force=True, otherwise="no picture was made")
