"""Files that are encrypted with age: to whom, with which key, written and read without holding them in memory."""

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from wa_sessions.errors import UsageError, WaSessionsError
from wa_sessions.input_files import read_text

if TYPE_CHECKING:
    import pyrage

    Recipient: TypeAlias = pyrage.x25519.Recipient | pyrage.ssh.Recipient
    Identity: TypeAlias = pyrage.x25519.Identity | pyrage.ssh.Identity

PIECE = 1 << 16  # bytes: what age encrypts at a time
LARGEST_KEY_FILE = 1 << 20  # bytes
_AGE, _ARMORED, _SSH_KEY = b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED", "-----BEGIN "


class Unreadable(WaSessionsError):
    """A file cannot be decrypted; ``str()`` of it goes on after the file's name."""


def make_key(file: Path) -> str:
    """Write a new key to a file of its owner alone, as age-keygen would; returns the recipient that belongs to it."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise WaSessionsError(f"{file} exists already, and no key is overwritten: name another file") from None
    with open(descriptor, "w", encoding="ascii") as key:  # noqa: PTH123  # a descriptor
        key.write(f"# public key: {recipient}\n{identity}\n")
        key.flush()
        os.fsync(descriptor)
    return recipient


def recipients(texts: Iterable[str], file: Path | None = None) -> "list[Recipient]":
    """Those who can read a file; ``file`` has one a line. Raises UsageError, which never repeats what was given."""
    found = {text: _recipient(text, f"recipient {n}") for n, text in enumerate(map(str.strip, texts), 1)}
    if file:
        for n, line in _lines(read_text(file, LARGEST_KEY_FILE, "the recipients")):
            found[line] = _recipient(line, f"{file}, line {n}")
    return list(found.values())


def identities(file: Path) -> "list[Identity]":
    """The keys in a file: age's, one a line, or an OpenSSH private key without a passphrase. Raises UsageError."""
    import pyrage

    text = read_text(file, LARGEST_KEY_FILE, "the key")
    try:
        if text.startswith(_SSH_KEY):
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        found = [pyrage.x25519.Identity.from_str(line) for _, line in _lines(text)]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise UsageError(
            f"{file} has no key that can be read: it takes AGE-SECRET-KEY-1… lines, or an OpenSSH private key without "
            "a passphrase"
        )
    return found


def write(lines: Iterable[bytes], out: BinaryIO, readers: "Sequence[Recipient]") -> None:
    """Write lines, encrypted unless there are no ``readers``. What ``lines`` or ``out`` raise is raised."""
    if not readers:
        out.writelines(lines)
        return
    import pyrage

    source, target = _Lines(lines), _Recorded(out)
    with _first_error(source, target):
        pyrage.encrypt_io(io.BufferedReader(source, PIECE), target, readers)


def read(file: BinaryIO, keys: "Sequence[Identity]", take: Callable[[bytes], None]) -> None:
    """Hand over what a file holds piece by piece, decrypted if it is encrypted; raises Unreadable."""
    start = file.read(len(_ARMORED))
    file.seek(0)
    if not start.startswith((_AGE, _ARMORED)):
        while piece := file.read(PIECE):
            take(piece)
        return
    if not keys:
        raise Unreadable("is encrypted: name the file of its key with --identity")
    import pyrage

    source, target = _Recorded(file), _Taker(take)
    try:
        with _first_error(source, target):
            pyrage.decrypt_io(source, target, keys)
    except pyrage.DecryptError as error:
        wrong = "No matching keys" in str(error)
        raise Unreadable("is not encrypted to this key" if wrong else "is cut short or damaged") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise Unreadable("is cut short or damaged") from None


class _Stream(io.RawIOBase):
    """A stream for pyrage, which turns the errors of a stream into its own, in words: the first is kept here."""

    error: BaseException | None = None

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.error = self.error or error
            raise


class _Lines(_Stream):
    """Reads from an iterator."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._keeping():
            if not self._rest:
                self._rest = memoryview(next(self._lines, b""))
        size = min(len(self._rest), len(buffer))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class _Taker(_Stream):
    """Writes to a function."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with self._keeping():
            self._take(bytes(data))
        return len(data)


class _Recorded(_Stream):
    """Reads from or writes to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with self._keeping():
            return self._file.read(size)

    def write(self, data: Any) -> int:
        with self._keeping():
            return self._file.write(data)


@contextlib.contextmanager
def _first_error(*streams: _Stream) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for stream in streams:
            if stream.error is not None:
                raise stream.error from None
        raise


def _recipient(text: str, where: str) -> "Recipient":
    import pyrage

    kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
    try:
        return kind.from_str(text)
    except pyrage.RecipientError:
        secret = " (a secret key is given to restore, never to backup)" if text.startswith("AGE-SECRET") else ""
        raise UsageError(
            f"{where} is no recipient{secret}: write age1… or ssh-ed25519 …, the public half of a key"
        ) from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, numbered."""
    for number, line in enumerate(text.splitlines(), 1):
        if (word := line.strip()) and not word.startswith("#"):
            yield number, word
