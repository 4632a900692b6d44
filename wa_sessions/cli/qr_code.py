"""A QR code in characters, or as a picture in a file."""

import io
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import segno

from wa_sessions.actions import whole_file

BORDER = 2
PICTURE_BORDER, PICTURE_SCALE = 4, 8
_BLACK_ON_WHITE, _RESET = "\x1b[30;107m", "\x1b[0m"
_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def drawn(text: str, *, terminal: bool) -> str:
    """Two modules a character: black on white at a terminal, else light on dark as most viewers show a log."""
    code = segno.make_qr(text, error="l", boost_error=False)
    rows = [[bool(module) is terminal for module in row] for row in code.matrix_iter(border=BORDER)]
    lines = []
    for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=[not terminal] * len(rows[0])):
        line = "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        lines.append(f"{_BLACK_ON_WHITE}{line}{_RESET}" if terminal else line)
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to be made in a file that only its owner can read."""

    file: Path
    kind: Literal["png", "svg"]

    def write(self, text: str) -> None:
        """Make it of a QR's text; the file is there whole, or as it was before. Raises WaSessionsError."""
        picture = io.BytesIO()
        segno.make_qr(text).save(picture, kind=self.kind, scale=PICTURE_SCALE, border=PICTURE_BORDER)
        whole_file.write(self.file, picture.getvalue(), force=True, otherwise="no picture was made")
