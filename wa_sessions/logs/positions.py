"""How far a log has been read, whatever its owner does to it meanwhile: appends, renames, truncates, packs.

The bytes before a position say whether a file is still the one that was read: an inode alone may have been given to
another file, and a truncated log may have grown beyond the position again.
"""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from wa_sessions.errors import UsageError
from wa_sessions.logs.scanner import LONGEST_LINE, unfinished_from

GZIP = b"\x1f\x8b"
TAIL = 4096
"""Bytes before a position that must be the same."""
STRONGEST_PACKING = 250
"""Times its size is the most that a log may unpack to; gzip gets to a thousand with nothing but zeros."""
SMALL_WHEN_UNPACKED = 2**28

_LONGEST_UNFINISHED = 2**20
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Position:
    """Everything before byte ``read_to`` was read. ``tail``: SHA-256 of the last ``TAIL`` bytes before it.

    ``zone``: ms by which times without a zone in it are ahead of UTC; None while no line has told.
    ``unfinished`` is the line that had begun behind it, ``begun`` one that had begun before the log was truncated; both
    are kept in memory alone.
    """

    device: int
    inode: int
    read_to: int
    tail: bytes
    zone: int | None = None
    unfinished: bytes = field(default=b"", repr=False)
    begun: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to read: ``[begin, end)`` of a file, of a packed one of what is in it."""

    name: str
    begin: int
    end: int
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Unread:
    """What is to be read next: the ``rotated`` logs, the oldest first, then ``begun`` and the piece behind it.

    ``position``: where one is after that. ``lost``: a log was truncated, and whether something in it was still unread
    is not known. ``gone``: there is no such file, and none that its owner may go on writing.
    """

    piece: Piece | None
    position: Position
    begun: bytes = b""
    rotated: tuple[Piece, ...] = ()
    lost: bool = False
    gone: bool = False


def unread(name: str, known: Position | None) -> Unread:
    """What stands in a log behind a position, up to the end of its last whole line.

    A log that was renamed is read to its end once the new one has content; one that was copied and truncated, in its
    copy, which may be packed. Raises OSError.
    """
    try:
        with Path(name).open("rb") as file:
            status = os.fstat(file.fileno())
            packed = file.read(len(GZIP)) == GZIP
            if known is None:
                return _anew(name, file, packed=packed)
            same = (status.st_dev, status.st_ino) == (known.device, known.inode)
            if (same or known.read_to) and _continues(file, known, packed=packed):
                return _further(name, file, known, packed=packed)
            if status.st_size == 0 and not same:
                return _renamed(name, known) or Unread(None, known)
            rotated = _rotated(name, known)
            begun = b""
            if same and rotated:
                last, begun = _whole_lines(rotated[-1])
                rotated = (*rotated[:-1], last)
            elif same:
                begun = known.begun + known.unfinished
            new = _anew(name, file, packed=packed, begun=begun)
    except FileNotFoundError:
        if known is None:
            raise
        renamed = _renamed(name, known)
        return renamed or Unread(None, known, gone=True)
    return Unread(new.piece, new.position, new.begun, rotated, lost=not rotated and known.read_to > 0)


def at_end(piece: Piece) -> Position:
    """Where one is after a rotated log was read to its end."""
    with Path(piece.name).open("rb") as file:
        status = os.fstat(file.fileno())
        tail = _digest_before(piece.name, piece.end) if piece.packed else _tail(file, piece.end)
    return Position(status.st_dev, status.st_ino, piece.end, tail or b"")


def holds(name: str, known: Position) -> bool:
    """Whether a file has, before the position, what was read of it."""
    try:
        with Path(name).open("rb") as file:
            return known.read_to > 0 and _continues(file, known, packed=file.read(len(GZIP)) == GZIP)
    except OSError:
        return False


def _anew(name: str, file: BinaryIO, *, packed: bool, begun: bytes = b"") -> Unread:
    status = os.fstat(file.fileno())
    start = Position(status.st_dev, status.st_ino, 0, _digest(b""), begun=begun)
    return _further(name, file, start, packed=packed)


def _further(name: str, file: BinaryIO, known: Position, *, packed: bool) -> Unread:
    """What an open file, which is the one that was read, has behind the position."""
    status = os.fstat(file.fileno())
    if packed:
        size = _length(name)
        position = Position(status.st_dev, status.st_ino, size, _digest_before(name, size) or b"")
        return Unread(Piece(name, known.read_to, size, packed=True) if size > known.read_to else None, position)
    end, unfinished = _readable_end(file, known.read_to, status.st_size)
    if end == known.read_to:
        return Unread(None, replace(known, device=status.st_dev, inode=status.st_ino, unfinished=unfinished))
    position = Position(status.st_dev, status.st_ino, end, _tail(file, end), unfinished=unfinished)
    return Unread(Piece(name, known.read_to, end), position, known.begun)


def _renamed(name: str, known: Position) -> Unread | None:
    """The log is away, or its successor still empty: its owner may go on writing under the name that it has now."""
    rotated = _rotated(name, known)
    if len(rotated) != 1 or rotated[0].packed:
        return None
    with Path(rotated[0].name).open("rb") as file:
        return _further(rotated[0].name, file, known, packed=False)


def _rotated(name: str, known: Position) -> tuple[Piece, ...]:
    """Where what was read of ``name`` stands now, from the position on, and the logs that came between it and now."""
    beside = _beside(name)
    for path in sorted(beside, key=lambda path: _inode(path) != (known.device, known.inode)):
        own = _inode(path) == (known.device, known.inode)
        if not (own or (known.read_to and path.name.startswith(_stem(name)))):
            continue
        try:
            with path.open("rb") as file:
                packed = file.read(len(GZIP)) == GZIP
                if _continues(file, known, packed=packed):
                    size = _length(str(path)) if packed else os.fstat(file.fileno()).st_size
                    return (Piece(str(path), known.read_to, size, packed), *_between(name, path, beside))
        except (OSError, EOFError, zlib.error):  # it is being packed at this moment
            continue
    return ()


def _between(name: str, oldest: Path, beside: Sequence[Path]) -> list[Piece]:
    """The logs of the same name that were rotated after ``oldest``, in order."""
    pattern = re.compile(rf"{re.escape(Path(name).name)}\.\d+(\.gz)?|{re.escape(_stem(name))}(__|[-_.])\d{{4}}.*")
    after = oldest.stat().st_mtime_ns
    later = [path for path in beside if pattern.fullmatch(path.name) and path.stat().st_mtime_ns > after]
    pieces = []
    for path in sorted(later, key=lambda path: path.stat().st_mtime_ns):
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
        pieces.append(Piece(str(path), 0, _length(str(path)) if packed else path.stat().st_size, packed))
    return pieces


def _beside(name: str) -> list[Path]:
    """The other files of the log's folder, and of the folder that a link leads to."""
    log = Path(name).absolute()
    found = []
    for folder in dict.fromkeys((log.parent, log.resolve().parent)):
        try:
            found += [path for path in folder.iterdir() if path not in (log, log.resolve()) and path.is_file()]
        except OSError:
            continue
    return found


def _inode(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_dev, status.st_ino


def _whole_lines(rest: Piece) -> tuple[Piece, bytes]:
    """The same up to the end of its last whole line, and the line that begins there."""
    with gzip.open(rest.name) if rest.packed else Path(rest.name).open("rb") as file:
        end, begun = _readable_end(cast("BinaryIO", file), rest.begin, rest.end)
    return replace(rest, end=end), begun


def _stem(name: str) -> str:
    return Path(name).name.split(".", maxsplit=1)[0]


def _continues(file: BinaryIO, known: Position, *, packed: bool) -> bool:
    """Whether an open file has, before the position, what was read."""
    try:
        if packed:
            return _digest_before(cast("str", file.name), known.read_to) == known.tail
        return os.fstat(file.fileno()).st_size >= known.read_to and _tail(file, known.read_to) == known.tail
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False


def _tail(file: BinaryIO, end: int) -> bytes:
    begin = max(0, end - TAIL)
    file.seek(begin)
    return _digest(file.read(end - begin))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _digest_before(name: str, end: int) -> bytes | None:
    """The digest before ``end`` of what is in a packed file; None where it has less."""
    last = b""
    for block in unpacked(name):
        last = (last + block)[-(TAIL + len(block)) :]
        end -= len(block)
        if end <= 0:
            return _digest(last[: len(last) + end][-TAIL:])
    return _digest(b"") if end == 0 else None


def _length(name: str) -> int:
    return sum(map(len, unpacked(name)))


def unpacked(name: str) -> Iterator[bytes]:
    """What is in a packed log, block by block; raises UsageError for more than a log can be packed to."""
    most = max(Path(name).stat().st_size * STRONGEST_PACKING, SMALL_WHEN_UNPACKED)
    with gzip.open(name) as file:
        while block := file.read(_BLOCK):
            most -= len(block)
            if most < 0:
                raise UsageError(f"{name} unpacks to over {STRONGEST_PACKING} times its size, which no log does")
            yield block


def _readable_end(file: BinaryIO, begin: int, end: int) -> tuple[int, bytes]:
    """Up to where ``[begin, end)`` can be read, and what stands behind that if it is not too long.

    Behind it are a line that has no end yet, and lines of an error whose stack has only begun.
    """
    behind = b""
    at = end
    while at > begin and len(behind) < LONGEST_LINE:
        step = min(_BLOCK, at - begin)
        file.seek(at - step)
        behind = file.read(step) + behind
        at -= step
        if found := unfinished_from(behind):
            rest = behind[found:]
            return at + found, rest if len(rest) <= _LONGEST_UNFINISHED else b""
    if at > begin:
        return end, b""  # no line is that long
    return begin, behind if len(behind) <= _LONGEST_UNFINISHED else b""
