"""libsignal's stacks: a frame names the sender, as long as it belongs to the stack and to no line behind it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wa_sessions.logs.senders import FRAME, of_frame

FARTHEST_FRAME = 4096
"""How many bytes after an error the frame of its stack that names the sender may stand."""

_INDENTED = b"    at "
_MOST_WRAPPED = 3


@dataclass(frozen=True, slots=True)
class Stack:
    """The sender that a stack names, if it does, and how many ``frames`` were read below; ``cut``: more may follow."""

    sender: bytes = b""
    frames: int = 0
    cut: bool = False


def plain_stack(lines: bytes, prefix: bytes, begin: int) -> bytes:
    """The sender that the stack at ``begin`` names, its lines behind the same prefix; empty: it needs a closer look."""
    frame = lines.find(FRAME, begin, begin + FARTHEST_FRAME)
    if frame < 0:
        return b""
    head, stack = b"\n" + prefix + _INDENTED, lines[begin - 1 : frame]
    return of_frame(lines, begin, frame) if stack.count(head) == stack.count(b"\n") else b""


def read_stack(error: bytes, following: Iterable[bytes], inner: Callable[[bytes], bytes | None]) -> Stack:
    """A stack that begins on the error's own line or behind it, each line in whatever it is wrapped in."""
    frame = error.find(FRAME)
    if frame >= 0:
        return Stack(of_frame(error, 0, frame))
    frames, bytes_read, wrapped, open_ = 0, 0, 0, False
    for line in following:
        bytes_read += len(line)
        text = inner(line)
        if text is not None and text.lstrip().startswith(b"at "):
            frame = text.find(FRAME)
            if frame >= 0:
                return Stack(of_frame(text, 0, frame), frames + 1)
            frames, wrapped, open_ = frames + 1, 0, _is_open(text)
        elif open_ and wrapped < _MOST_WRAPPED:
            wrapped, open_ = wrapped + 1, b")" not in line
        else:
            return Stack(b"", frames)
        if bytes_read > FARTHEST_FRAME:
            return Stack(b"", frames)
    return Stack(b"", frames, cut=True)


def _is_open(frame: bytes) -> bool:
    """Whether a terminal broke a frame's line before its end."""
    return b"(" in frame and b")" not in frame.rsplit(b"(", 1)[1]
