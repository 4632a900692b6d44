"""A QR code in characters."""

from itertools import zip_longest

import segno

BORDER = 2
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
