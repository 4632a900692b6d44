"""Files that operators name: opened without waiting for ever, and read no further than makes sense."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from wa_sessions.errors import UsageError

_DESCRIPTORS = ("/dev/fd/", "/dev/stdin", "/proc/")
"""A pipe under such a name is open already; its end may have come."""


def open_file(file: Path) -> BufferedReader:
    """An ordinary file, which can be read again; raises OSError for all else."""
    return _open(file, pipes=False)


def open_file_or_pipe(file: Path) -> BufferedReader:
    """An ordinary file, a terminal, or a pipe that somebody writes into, as in ``<(zcat log.gz)``; raises OSError."""
    return _open(file, pipes=True)


def read_text(file: Path, limit: int, what: str) -> str:
    """A small file or pipe, as UTF-8; ``what`` begins the message. Raises UsageError."""
    try:
        with open_file_or_pipe(file) as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{what}: cannot read {file}: {error.strerror or error}") from None
    if len(content) > limit:
        raise UsageError(f"{what}: {file} has more than {limit // 1024:,} KiB: is it the right file?")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{what}: {file} is no UTF-8 text") from None


def refuse_device(descriptor: int, name: str) -> None:
    """Raise OSError for a device, which may have no end: any but a terminal and ``/dev/null``."""
    status = os.fstat(descriptor)
    harmless = os.isatty(descriptor) or status.st_rdev == Path(os.devnull).stat().st_rdev
    if stat.S_ISCHR(status.st_mode) and not harmless:
        raise OSError(errno.EINVAL, "it is a device, which may have no end: name a file", name)


def _open(file: Path, *, pipes: bool) -> BufferedReader:
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    stream = os.fdopen(descriptor, "rb")
    try:
        os.set_blocking(descriptor, True)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not pipes:
            raise OSError(errno.EINVAL, "it is no ordinary file: copy it into one", str(file))
        refuse_device(descriptor, str(file))
        if stat.S_ISFIFO(mode) and not str(file).startswith(_DESCRIPTORS) and not stream.peek(1):
            raise OSError(errno.EINVAL, "no program writes into this pipe: start that first", str(file))
    except BaseException:
        stream.close()
        raise
    return stream
