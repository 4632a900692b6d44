"""supervisord's own log at the level ``debug``: what its programs write, piece by piece, each below a line of its own.

A piece ends wherever supervisord read on, in the middle of a line too.
"""

import re

_AT = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
_ABOVE = re.compile(
    rb"(?m)(?P<before>\A|^" + _AT + rb"(?!DEBG '[^'\n]{1,80}' std(?:out|err) output:$)[A-Z]{4} [^\n]*\n|\n)"
    + _AT + rb"DEBG (?P<whose>'[^'\n]{1,80}' std(?:out|err)) output:\n"
)  # fmt: skip
_SIGN = b" output:\n"


class Pieces:
    """Puts together what one program wrote to one stream."""

    def __init__(self) -> None:
        self._whose = b""

    def joined(self, lines: bytes) -> bytes:
        """Whole lines, without those of supervisord above pieces."""
        return _ABOVE.sub(self._between, lines) if _SIGN in lines else lines

    def _between(self, above: re.Match[bytes]) -> bytes:
        goes_on, self._whose = above["whose"] == self._whose, above["whose"]
        return b"" if goes_on and above["before"] == b"\n" else above["before"]
