"""Lines that whoever carried them broke in pieces.

supervisord's own log at the level ``debug`` has what its programs write piece by piece, each below a line of its own; a
piece ends wherever it read on, in the middle of a line too. Kubernetes' runtimes write a long line as several, of which
all but the last are marked ``P``.
"""

import re

_AT = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
_ABOVE = re.compile(
    rb"(?m)(?P<before>\A|^" + _AT + rb"(?!DEBG '[^'\n]{1,80}' std(?:out|err) output:$)[A-Z]{4} [^\n]*\n|\n)"
    + _AT + rb"DEBG (?P<whose>'[^'\n]{1,80}' std(?:out|err)) output:\n"
)  # fmt: skip
_SIGN = b" output:\n"
_MARK = rb"\d{4}-\d\d-\d\dT[\d:.]{8,20}(?:Z|[+-]\d\d:\d\d) "
_PARTIAL = re.compile(
    rb"(?m)^(?P<mark>" + _MARK + rb"(?P<stream>std(?:out|err)) )P (?P<text>[^\n]*)\n"
    + _MARK + rb"(?P=stream) (?P<last>[PF] )"
)  # fmt: skip
_STREAMS = b" stdout ", b" stderr "
_FIRST_LINE, _SAMPLE = 2**9, 2**14
"""Bytes that show whether lines are such: looking for pieces everywhere would take longer than reading most logs."""
_MOST_ROUNDS = 16
"""Each joins pieces two by two."""


class Pieces:
    """Puts together what one program wrote to one stream."""

    def __init__(self) -> None:
        self._whose = b""
        self._supervised = False

    def joined(self, lines: bytes) -> bytes:
        """The lines that the program wrote, as far as all of their pieces are there."""
        first = lines[:_FIRST_LINE]
        if any(stream in first for stream in _STREAMS):
            lines = _whole(lines)
        self._supervised = self._supervised or _SIGN in lines[:_SAMPLE]
        return _ABOVE.sub(self._between, lines) if self._supervised else lines

    def _between(self, above: re.Match[bytes]) -> bytes:
        goes_on, self._whose = above["whose"] == self._whose, above["whose"]
        return b"" if goes_on and above["before"] == b"\n" else above["before"]


def _whole(lines: bytes) -> bytes:
    for _ in range(_MOST_ROUNDS):
        lines, joined = _PARTIAL.subn(rb"\g<mark>\g<last>\g<text>", lines)
        if not joined:
            break
    return lines
