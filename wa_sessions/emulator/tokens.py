"""The binary-XML dictionaries, read out of the installed neonize library, so that no copy of them is shipped.

Go keeps ``token.SingleByteTokens`` and ``token.DoubleByteTokens`` (whatsmeow: ``binary/token/token.go``) as rows of
(pointer, length) in a data section. In a shared object each pointer is a relative relocation, which this follows.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wa_sessions.emulator.codec import Tokens
from wa_sessions.emulator.errors import UnsupportedPlatform

RELATIVE_RELOCATION = {62: 8, 183: 1027}  # by machine: R_X86_64_RELATIVE, R_AARCH64_RELATIVE
STRING_HEADER = 16
SINGLE_TOKENS = 236
DOUBLE_DICTIONARIES, DOUBLE_TOKENS = 4, 256
LONGEST_TOKEN = 200


@dataclass(frozen=True)
class _Section:
    address: int
    offset: int
    size: int


class _Library:
    """The parts of an ELF file that the dictionaries need."""

    def __init__(self, path: Path) -> None:
        self._blob = path.read_bytes()
        if self._blob[:6] != b"\x7fELF\x02\x01":
            raise UnsupportedPlatform(f"{path.name}: the emulator reads 64-bit little-endian ELF libraries only")
        (machine,) = struct.unpack_from("<H", self._blob, 18)
        if machine not in RELATIVE_RELOCATION:
            raise UnsupportedPlatform(f"{path.name}: the emulator runs on x86-64 and aarch64 only")
        self._sections = dict(self._read_sections())
        self._targets = dict(self._read_relocations(RELATIVE_RELOCATION[machine]))

    def _read_sections(self) -> Iterator[tuple[str, _Section]]:
        (table,) = struct.unpack_from("<Q", self._blob, 0x28)
        entry, count, names_index = struct.unpack_from("<HHH", self._blob, 0x3A)
        rows = [struct.unpack_from("<IIQQQQ", self._blob, table + i * entry) for i in range(count)]
        names = rows[names_index][4]
        for name, _type, _flags, address, offset, size in rows:
            end = self._blob.index(b"\0", names + name)
            yield self._blob[names + name : end].decode("latin-1"), _Section(address, offset, size)

    def _read_relocations(self, relative: int) -> Iterator[tuple[int, int]]:
        section = self._sections.get(".rela.dyn", _Section(0, 0, 0))
        rows = self._blob[section.offset : section.offset + section.size]
        for at, info, target in struct.iter_unpack("<QQq", rows):
            if info & 0xFFFFFFFF == relative:
                yield at, target

    def _offset(self, address: int) -> int | None:
        for section in self._sections.values():
            if section.address and section.address <= address < section.address + section.size:
                return section.offset + address - section.address
        return None

    def string(self, header: int) -> str:
        """The Go string whose (pointer, length) stands at this address; empty for a null pointer."""
        target, at = self._targets.get(header), self._offset(header + 8)
        start = None if target is None else self._offset(target)
        if start is None or at is None:
            return ""
        (length,) = struct.unpack_from("<Q", self._blob, at)
        return self._blob[start : start + length].decode("latin-1") if length < LONGEST_TOKEN else ""

    def _row(self, header: int) -> tuple[str, str]:
        return self.string(header), self.string(header + STRING_HEADER)

    def find_row(self, first: str, second: str) -> int:
        """The address of a string header that says ``first`` and is followed by one that says ``second``."""
        needle = first.encode()
        places = set(_find_all(self._blob, needle))
        for at, target in self._targets.items():
            if self._offset(target) in places and self._row(at) == (first, second):
                return at
        raise UnsupportedPlatform(f"no dictionary with {first!r} in the installed neonize library")


def _find_all(blob: bytes, needle: bytes) -> Iterator[int]:
    at = blob.find(needle)
    while at >= 0:
        yield at
        at = blob.find(needle, at + 1)


@lru_cache(maxsize=2)
def load_tokens(path: Path) -> Tokens:
    """Both dictionaries of this library."""
    library = _Library(path)
    start = library.find_row("xmlstreamstart", "xmlstreamend") - STRING_HEADER  # token 0 is the empty string
    single = tuple(library.string(start + STRING_HEADER * i) for i in range(SINGLE_TOKENS))
    start = library.find_row("read-self", "active")
    row = STRING_HEADER * DOUBLE_TOKENS
    double = tuple(
        tuple(library.string(start + row * d + STRING_HEADER * i) for i in range(DOUBLE_TOKENS))
        for d in range(DOUBLE_DICTIONARIES)
    )
    return Tokens(single, double)
