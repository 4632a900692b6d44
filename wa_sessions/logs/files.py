"""Reading logs: whole, or on from a position; plain and gzipped files, stdin, pm2's; big ones on all processors."""

import contextlib
import gc
import gzip
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from wa_sessions import config
from wa_sessions.config.table import PM2_HOME
from wa_sessions.errors import UsageError
from wa_sessions.input_files import open_file_or_pipe, refuse_device
from wa_sessions.logs.encodings import utf8, wide
from wa_sessions.logs.lines import zone_of
from wa_sessions.logs.positions import GZIP, Piece, Position, Unread, at_end, unpacked, unread
from wa_sessions.logs.scan_result import ScanResult
from wa_sessions.logs.scanner import BEHIND, Scanner
from wa_sessions.logs.stacks import FARTHEST_FRAME

STDIN = "-"
PART = 32 * 2**20
"""Bytes of a file that are at least worth a process."""
_BLOCK = 2**20
_HEAD = 2**18


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file: the lines that begin in ``[begin, end)``; ``end`` is None for all of a file that has no bytes
    of lines to begin at, as it is gzipped or in UTF-16.
    """

    name: str
    zone: int
    begin: int = 0
    end: int | None = None
    naming: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What was new in a log. ``lost``: it was truncated or removed with something in it that had not been read.

    ``gone``: there is no such file, and none in its folder that its owner may go on writing.
    """

    found: ScanResult
    position: Position
    lost: bool = False
    gone: bool = False


def read(names: Sequence[str]) -> list[ScanResult]:
    """What each file says. Raises OSError, and UsageError for a gzipped file that is damaged."""
    regular = [name for name in names if name != STDIN and not _is_stream(name)]
    zone = _zone(regular)
    parts = [part for name in regular for part in _parts(name, zone)]
    found: dict[str, ScanResult] = {}
    for part, piece in zip(parts, _read_all(parts), strict=True):
        if part.name in found:
            found[part.name].extend(piece)
        else:
            found[part.name] = piece
    for name in names:
        if name == STDIN:
            refuse_device(sys.stdin.fileno(), "stdin")
            found[name] = _read_stream(sys.stdin.buffer)
        elif name not in found:
            with open_file_or_pipe(Path(name)) as file:
                found[name] = _read_stream(file)
    for whole in found.values():
        whole.finish()
    return [found[name] for name in names]


def read_on(names: Sequence[str], known: Mapping[str, Position], *, naming: bool = False) -> dict[str, Step]:
    """What each file says behind its position, by whole lines; a message may go on. ``naming``: and whom lines name.

    A log that was rotated is read to its end first, and has a step of its own, without anything found. Raises OSError,
    UsageError (a pipe, a damaged gzipped file).
    """
    for name in names:
        if _is_stream(name):
            raise UsageError(f"{name} cannot be read on later: name a file")
    found: dict[str, Unread] = {}
    for name in names:
        with _whole_gzip(name):
            found[name] = unread(name, known.get(name))
    told = _told_zone(names, known, found.values())
    zone = _local_zone() if told is None else told
    rotated = {piece.name: piece for what in found.values() for piece in what.rotated}
    steps = {}
    for name, what in found.items():
        if name not in known and str(Path(name).absolute()) in rotated:
            continue
        found_in_it = _read_unread(what, zone, naming=naming)
        steps[name] = Step(found_in_it, replace(what.position, zone=told), what.lost, what.gone)
    for name in names:
        if name not in steps:
            steps[name] = Step(ScanResult(), replace(at_end(rotated.pop(str(Path(name).absolute()))), zone=told))
    return steps | {
        name: Step(ScanResult(), replace(at_end(piece), zone=told))
        for name, piece in rotated.items()
        if name not in steps
    }


def of_pm2(name: str) -> list[str]:
    """The logs that pm2 keeps of one of its processes now. Raises UsageError where it has none."""
    home = Path(config.value(PM2_HOME) or Path.home() / ".pm2")
    wanted = re.compile(re.escape(name.replace(" ", "-")) + r"-(?:out|error)(?:-\d+)?\.log")
    folder = home / "logs"
    found = sorted(str(path) for path in folder.glob("*.log") if wanted.fullmatch(path.name)) if folder.is_dir() else []
    if not found:
        raise UsageError(
            f"pm2 keeps no log of {name!r} in {folder}: pm2 list shows names, PM2_HOME names another folder"
        )
    return found


def _read_unread(what: Unread, zone: int, *, naming: bool) -> ScanResult:
    found = ScanResult()
    for piece in what.rotated:
        found.extend(_read_piece(piece, zone, naming=naming))
    if what.piece:
        found.extend(_read_piece(what.piece, zone, what.begun, naming=naming))
    return found


def _read_piece(piece: Piece, zone: int, begun: bytes = b"", *, naming: bool) -> ScanResult:
    encoding = None if piece.packed else _encoding(piece.name)
    if not piece.packed and not begun and not encoding and piece.end - piece.begin > PART:
        whole = ScanResult()
        parts = _split(piece.name, zone, piece.begin, piece.end)
        for part in _read_all([replace(part, naming=naming) for part in parts]):
            whole.extend(part)
        return whole
    with _whole_gzip(piece.name), gzip.open(piece.name) if piece.packed else Path(piece.name).open("rb") as file:
        plain = not piece.packed and not begun and not encoding
        scanner = Scanner(zone, _before(piece.name, piece.begin) if plain else b"", naming=naming)
        scanner.feed(begun)
        begin = piece.begin & ~1 if encoding else piece.begin
        file.seek(begin)
        blocks = (file.read(min(_BLOCK, piece.end - at)) for at in range(begin, piece.end, _BLOCK))
        for block in utf8(blocks, encoding) if encoding else blocks:
            scanner.feed(block)
    return scanner.finish()


def _before(name: str, begin: int) -> bytes:
    """What stands before a piece, which shows how its lines are written."""
    with Path(name).open("rb") as file:
        file.seek(max(0, begin - BEHIND))
        return file.read(min(begin, BEHIND))


def _encoding(name: str) -> str | None:
    with Path(name).open("rb") as file:
        return wide(file.read(2))


def _read_all(parts: list[Part]) -> Iterator[ScanResult]:
    workers = min(os.cpu_count() or 1, len(parts))
    if workers < 2 or sum((part.end or PART) - part.begin for part in parts) <= PART:
        yield from map(_read_part, parts)
        return
    with ProcessPoolExecutor(workers, initializer=gc.disable) as pool:
        yield from pool.map(_read_part, parts)


def _is_stream(name: str) -> bool:
    """A pipe or a terminal: what was read of it is gone."""
    path = Path(name)
    return path.exists() and not path.is_file()


def _parts(name: str, zone: int) -> list[Part]:
    with Path(name).open("rb") as file:
        start = file.read(2)
        if start == GZIP or wide(start):
            return [Part(name, zone)]
        size = file.seek(0, os.SEEK_END)
    return _split(name, zone, 0, size) or [Part(name, zone, 0, 0)]


def _split(name: str, zone: int, begin: int, end: int) -> list[Part]:
    step = max(PART, -(-(end - begin) // (os.cpu_count() or 1)))
    return [Part(name, zone, start, min(start + step, end)) for start in range(begin, end, step)]


def _read_part(part: Part) -> ScanResult:
    if part.end is None:
        return _read_whole(part)
    with Path(part.name).open("rb", buffering=0) as file:
        begin, end = _line_at(file, part.begin), _line_at(file, part.end)
        scanner = Scanner(part.zone, _before(part.name, begin), naming=part.naming)
        file.seek(begin)
        while begin < end and (block := file.read(min(_BLOCK, end - begin))):
            scanner.feed(block)
            begin += len(block)
        return scanner.finish(file.read(2 * FARTHEST_FRAME))


def _line_at(file: BinaryIO, offset: int) -> int:
    """Where the first line that begins at or after ``offset`` begins."""
    if offset == 0:
        return 0
    file.seek(offset - 1)
    at = offset - 1
    while block := file.read(_HEAD):
        end = block.find(b"\n")
        if end >= 0:
            return at + end + 1
        at += len(block)
    return at


def _read_whole(part: Part) -> ScanResult:
    scanner = Scanner(part.zone)
    with _whole_gzip(part.name), Path(part.name).open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        for block in utf8(unpacked(part.name) if packed else _blocks(file)):
            scanner.feed(block)
    return scanner.finish()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


@contextlib.contextmanager
def _whole_gzip(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{name} is no whole gzip file ({error}): unpack what there is with gzip -dc") from None


def _read_stream(file: BinaryIO) -> ScanResult:
    scanner: Scanner | None = None
    for block in utf8(_blocks(file)):
        if scanner is None:
            told = zone_of(block)
            scanner = Scanner(_local_zone() if told is None else told)
        scanner.feed(block)
    return scanner.finish() if scanner else ScanResult()


def _zone(names: Sequence[str]) -> int:
    """By how many ms pm2's times are ahead of UTC: as lines with both times say, else as on this machine."""
    told = _zone_of(_heads(names))
    return _local_zone() if told is None else told


def _told_zone(names: Sequence[str], known: Mapping[str, Position], found: Iterable[Unread]) -> int | None:
    """What lines say that are new, else what lines said earlier, else what the beginning of a log says."""
    if (told := _zone_of(_new_heads(found))) is not None:
        return told
    earlier = (known[name].zone for name in names if name in known)
    return next((zone for zone in earlier if zone is not None), _zone_of(_heads(names)))


def _new_heads(found: Iterable[Unread]) -> Iterator[bytes]:
    for piece in (what.piece for what in found if what.piece and not what.piece.packed):
        with Path(piece.name).open("rb") as file:
            file.seek(piece.begin)
            yield file.read(min(_HEAD, piece.end - piece.begin))


def _heads(names: Sequence[str]) -> Iterator[bytes]:
    for name in names:
        with contextlib.suppress(FileNotFoundError), Path(name).open("rb") as file:
            head = file.read(_HEAD)
            if head.startswith(GZIP):
                with gzip.open(name) as packed, contextlib.suppress(EOFError, OSError, zlib.error):
                    head = packed.read(_HEAD)
            yield b"".join(utf8(iter((head,))))


def _zone_of(heads: Iterable[bytes]) -> int | None:
    return next((zone for head in heads if (zone := zone_of(head)) is not None), None)


def _local_zone() -> int:
    offset = datetime.now().astimezone().utcoffset()
    return round(offset.total_seconds() * 1000) if offset else 0
