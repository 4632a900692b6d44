"""Single protobuf fields, for the Signal messages whose classes neonize does not ship."""

from collections.abc import Iterator

from wa_sessions.emulator.errors import Malformed

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
SIZES = {FIXED_64: 8, FIXED_32: 4}


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(tag: int, value: int | bytes) -> bytes:
    """One field with a number or with bytes."""
    if isinstance(value, int):
        return varint(tag << 3 | VARINT) + varint(value)
    return varint(tag << 3 | BYTES) + varint(len(value)) + value


def spans(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Every field of a message as (number, start, end) of its value."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == VARINT:
            start, (_, at) = at, _read_varint(data, at)
        elif kind == BYTES:
            size, start = _read_varint(data, at)
            at = start + size
        elif kind in SIZES:
            start, at = at, at + SIZES[kind]
        else:
            raise Malformed(f"protobuf has no wire type {kind}")
        if at > len(data):
            raise Malformed("a protobuf field ends too early")
        yield key >> 3, start, at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise Malformed("a protobuf number ends too early")
