"""Files that appear whole, or not at all, for their owner alone, and never through a symbolic link."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wa_sessions.errors import WaSessionsError


def target(file: Path, *, force: bool) -> Path:
    """Where the file will stand; raises WaSessionsError before anything is done.

    A link is refused, with ``force`` too: whoever may write in its folder would choose which file is overwritten.
    """
    if file.is_symlink():
        raise WaSessionsError(f"{file} is a symbolic link: name the file that it leads to")
    found = file.parent.resolve() / file.name
    if found.is_dir():
        raise WaSessionsError(f"{file} is a folder: name a file in it")
    if found.exists():
        if not force:
            raise WaSessionsError(f"{file} exists already: name another file, or say --force to overwrite it")
        if not found.is_file():
            raise WaSessionsError(f"{file} is no ordinary file: name another")
    if not found.parent.is_dir():
        raise WaSessionsError(f"there is no folder {file.parent}: make it first")
    return found


@contextlib.contextmanager
def part_of(place: Path, otherwise: str, mode: int = 0o600) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside the target, by default of its owner alone, that goes again unless it was renamed."""
    path = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.part")
    with file_errors(place, otherwise):
        out = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
    try:
        yield path, out
    finally:
        with contextlib.suppress(OSError):
            out.close()
        path.unlink(missing_ok=True)


def to_disk(out: BinaryIO) -> None:
    """End the file, when the disk has all of it."""
    out.flush()
    os.fsync(out.fileno())
    out.close()


def publish(path: Path, place: Path, *, force: bool) -> None:
    """Give the part its name, for good; raises what ``target`` raises."""
    target(place, force=force)
    path.replace(place)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def file_errors(file: Path, otherwise: str) -> Iterator[None]:
    """Turn what the disk refuses into one line; ``otherwise`` says what did not come about."""
    try:
        yield
    except OSError as error:
        raise WaSessionsError(f"cannot write {file}: {error.strerror or error}; {otherwise}") from None


def write(file: Path, content: bytes, *, force: bool, otherwise: str, mode: int = 0o600) -> None:
    """Write what is of one piece. Raises WaSessionsError where the file is there, or cannot be written."""
    place = target(file, force=force)
    with part_of(place, otherwise, mode) as (path, out), file_errors(file, otherwise):
        out.write(content)
        to_disk(out)
        publish(path, place, force=force)
