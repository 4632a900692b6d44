"""Logs that Windows wrote: UTF-16 with a byte order mark becomes UTF-8."""

import codecs
from collections.abc import Iterator

_WIDE = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def wide(start: bytes) -> str | None:
    """The encoding of a file that begins so; None where it is UTF-8, or something that has its line ends."""
    return _WIDE.get(start[:2])


def utf8(blocks: Iterator[bytes], encoding: str | None = None) -> Iterator[bytes]:
    """The blocks of a file in UTF-8. ``encoding``: of one that is read on, which no mark tells any more."""
    first = next(blocks, b"")
    encoding = encoding or wide(first)
    if encoding is None:
        yield first
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    yield decoder.decode(first).removeprefix("\ufeff").encode("utf-8", "replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")
