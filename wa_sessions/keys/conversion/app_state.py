"""App state: the hash of a collection, and the fingerprint of a key as protobuf."""

import struct
from collections.abc import Iterable

from wa_sessions.keys.baileys.app_state import Fingerprint
from wa_sessions.keys.conversion.crypto import hkdf
from wa_sessions.keys.fields import U32

_WORDS = struct.Struct("<64H")
_VARINT, _LENGTH = 0, 2


def lthash(value_macs: Iterable[bytes]) -> bytes:
    """The hash of the values of a collection, in any order (whatsmeow: ``appstate/lthash``)."""
    sums = [0] * 64
    for mac in value_macs:
        words = _WORDS.unpack(hkdf(mac, _WORDS.size, b"WhatsApp Patch Integrity"))
        sums = [one + other for one, other in zip(sums, words, strict=True)]
    return _WORDS.pack(*(one & 0xFFFF for one in sums))


def to_protobuf(fingerprint: Fingerprint) -> bytes:
    """``AppStateSyncKeyFingerprint``: 1 rawID, 2 currentIndex, 3 deviceIndexes (packed)."""
    out = b""
    for number, value in ((1, fingerprint.raw_id), (2, fingerprint.current_index)):
        if value is not None:
            out += _varint(number << 3 | _VARINT) + _varint(value)
    indexes = b"".join(map(_varint, fingerprint.device_indexes))
    return out + (_varint(3 << 3 | _LENGTH) + _varint(len(indexes)) + indexes if indexes else b"")


def of_protobuf(data: bytes) -> Fingerprint | None:
    """What ``to_protobuf`` made, or whatsmeow; None where it is none of it."""
    found: dict[int, int] = {}
    indexes: list[int] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _read_varint(data, at)
            value, at = _read_varint(data, at)
            match tag:
                case 0x08 | 0x10:
                    found[tag >> 3] = value
                case 0x18:
                    indexes.append(value)
                case 0x1A:
                    end = at + value
                    while at < end:
                        index, at = _read_varint(data[:end], at)
                        indexes.append(index)
                case _:
                    return None
    except IndexError:
        return None
    if any(value > U32 for value in (*found.values(), *indexes)):
        return None
    return Fingerprint(found.get(1), found.get(2), tuple(indexes))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return number, at
