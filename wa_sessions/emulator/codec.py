"""WhatsApp's binary XML (whatsmeow: ``binary/encoder.go``, ``binary/decoder.go``).

Decoding needs the token tables. Encoding writes every string out in full, which all clients accept.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import TypeAlias

from wa_sessions.emulator.errors import Malformed
from wa_sessions.emulator.stanza import JID, LID, SERVER, Node, Value

LIST_EMPTY = 0
DICTIONARY_0, DICTIONARY_3 = 236, 239
AD_JID, LIST_8, LIST_16, JID_PAIR, HEX_8 = 247, 248, 249, 250, 251
BINARY_8, BINARY_20, BINARY_32, NIBBLE_8 = 252, 253, 254, 255
COMPRESSED = 2

MAX_DEPTH = 32
MAX_INFLATED = 1 << 25
LENGTH_BYTES = {BINARY_8: 1, BINARY_20: 3, BINARY_32: 4}
PACKED = {HEX_8: "0123456789ABCDEF", NIBBLE_8: "0123456789-."}
DEVICE_DOMAINS = {0: SERVER, 1: LID}

Piece: TypeAlias = str | bytes | JID | tuple[Node, ...] | None


@dataclass(frozen=True)
class Tokens:
    """The dictionaries that stand for common strings."""

    single: tuple[str, ...]
    double: tuple[tuple[str, ...], ...]


class Codec:
    """Turns stanzas into bytes and back."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def encode(self, node: Node) -> bytes:
        out = bytearray(b"\0")
        _write_node(out, node)
        return bytes(out)

    def decode(self, data: bytes) -> Node:
        try:
            return _Reader(_inflate(data), self._tokens).node()
        except (IndexError, UnicodeDecodeError, zlib.error) as error:
            raise Malformed(f"not a stanza: {error}") from error


def _inflate(data: bytes) -> bytes:
    if not data[0] & COMPRESSED:
        return data[1:]
    engine = zlib.decompressobj()
    out = engine.decompress(data[1:], MAX_INFLATED)
    if engine.unconsumed_tail:
        raise Malformed("a compressed stanza is too large")
    return out


def _write_node(out: bytearray, node: Node) -> None:
    attrs = [(name, value) for name, value in node.attrs.items() if value not in (None, "")]
    _write_size(out, 2 * len(attrs) + 1 + (node.content is not None))
    _write_bytes(out, node.tag.encode())
    for name, value in attrs:
        _write_bytes(out, name.encode())
        _write_value(out, value)
    if isinstance(node.content, bytes):
        _write_bytes(out, node.content)
    elif node.content is not None:
        _write_size(out, len(node.content))
        for child in node.content:
            _write_node(out, child)


def _write_value(out: bytearray, value: Value) -> None:
    if not isinstance(value, JID):
        _write_bytes(out, str(value).encode())
    elif value.device and value.server in (SERVER, LID):
        out += bytes((AD_JID, 1 if value.server == LID else 0, value.device))
        _write_bytes(out, value.user.encode())
    else:
        out.append(JID_PAIR)
        if value.user:
            _write_bytes(out, value.user.encode())
        else:
            out.append(LIST_EMPTY)
        _write_bytes(out, value.server.encode())


def _write_size(out: bytearray, size: int) -> None:
    if size == 0:
        out.append(LIST_EMPTY)
    elif size < 1 << 8:
        out += bytes((LIST_8, size))
    else:
        out += struct.pack(">BH", LIST_16, size)


def _write_bytes(out: bytearray, data: bytes) -> None:
    if len(data) < 1 << 8:
        out += bytes((BINARY_8, len(data)))
    elif len(data) < 1 << 20:
        out.append(BINARY_20)
        out += len(data).to_bytes(3, "big")
    else:
        out += struct.pack(">BI", BINARY_32, len(data))
    out += data


class _Reader:
    """Reads one stanza; every step past the end is an ``IndexError``."""

    def __init__(self, data: bytes, tokens: Tokens) -> None:
        self._data, self._at, self._tokens, self._depth = data, 0, tokens, 0

    def node(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Malformed("stanzas are nested too deeply")
        size = self._list_size(self._number(1))
        if size == 0:
            raise Malformed("a stanza without a tag")
        tag = self._string()
        attrs: dict[str, Value] = {}
        for _ in range((size - 1) // 2):
            name = self._string()
            value = self._piece(text=True)
            attrs[name] = value if isinstance(value, JID | None) else _as_text(value)
        content = self._piece(text=False) if size % 2 == 0 else None
        self._depth -= 1
        if isinstance(content, str):
            content = content.encode()
        elif isinstance(content, JID):
            raise Malformed("an address stands where content should")
        return Node(tag, attrs, content)

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise IndexError("the bytes end too early")
        piece, self._at = self._data[self._at : end], end
        return piece

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _list_size(self, tag: int) -> int:
        if tag == LIST_EMPTY:
            return 0
        if tag not in (LIST_8, LIST_16):
            raise Malformed(f"{tag} does not begin a list")
        return self._number(1 if tag == LIST_8 else 2)

    def _string(self) -> str:
        return _as_text(self._piece(text=True))

    def _piece(self, *, text: bool) -> Piece:
        tag = self._number(1)
        if tag == LIST_EMPTY:
            return None
        if tag in (LIST_8, LIST_16):
            return tuple(self.node() for _ in range(self._list_size(tag)))
        if tag in LENGTH_BYTES:
            data = self._take(self._number(LENGTH_BYTES[tag]))
            return data.decode() if text else data
        if tag in PACKED:
            return self._packed(PACKED[tag])
        if tag == JID_PAIR:
            user = self._piece(text=True)
            return JID("" if user is None else _as_text(user), self._string())
        if tag == AD_JID:
            domain, device = self._number(1), self._number(1)
            return JID(self._string(), DEVICE_DOMAINS.get(domain, SERVER), device)
        if DICTIONARY_0 <= tag <= DICTIONARY_3:
            return self._tokens.double[tag - DICTIONARY_0][self._number(1)]
        return self._tokens.single[tag]

    def _packed(self, alphabet: str) -> str:
        """Two characters a byte; the first byte's top bit says that the last half is padding."""
        head = self._number(1)
        halves = [half for byte in self._take(head & 127) for half in (byte >> 4, byte & 15)]
        return "".join(alphabet[half] for half in (halves[:-1] if head & 128 else halves))


def _as_text(piece: Piece) -> str:
    if not isinstance(piece, str):
        raise Malformed("a string was expected")
    return piece
