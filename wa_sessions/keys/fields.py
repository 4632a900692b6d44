"""Reading the fields of a record that may hold anything: what is wrong is told by the key's name, never by a value."""

import json
import math
from binascii import a2b_base64, b2a_base64
from typing import Any, Final

from wa_sessions.errors import WaSessionsError

Json = dict[str, Any]
U32: Final = 0xFFFF_FFFF
I64: Final = 0x7FFF_FFFF_FFFF_FFFF
SAFE_INTEGER: Final = 2**53 - 1
"""The greatest whole number that JavaScript holds exactly."""
DEEPEST: Final = 32
"""Levels of objects and lists inside a field that is only kept; real records have three."""


class BadKey(WaSessionsError):
    """An auth key does not hold what its name promises; the message names the key and what is wrong, never a value."""

    def __init__(self, key: str, what: str) -> None:
        self.key, self.what = key, what
        super().__init__(f"the key {key[:120]!r} cannot be read: {what}")


class Fields:
    """An object of a record, read field by field; ``rest`` is what nobody asked for, at any depth.

    It takes the object apart. A field that is null is as good as absent. Every method raises BadKey.
    """

    __slots__ = ("_inner", "_key", "_left", "_path")

    def __init__(self, value: object, key: str, path: str = "") -> None:
        if not isinstance(value, dict):
            raise BadKey(key, f"{path[:-1] or 'its value'} is no object")
        self._key, self._path = key, path
        self._left: Json = value
        self._inner: dict[str, Fields] | None = None

    def bad(self, name: str, what: str) -> BadKey:
        """The error that says what is wrong with a field."""
        return BadKey(self._key, f"{self._path}{name} {what}")

    def take(self, name: str) -> Any:
        """A field as it is, None where it is absent; it is no part of the rest any more."""
        return self._left.pop(name, None)

    def rest(self) -> Json:
        """The fields that were not taken, those of inner objects under the names of these."""
        rest = self._left
        if not (rest or self._inner):
            return rest
        if not shallow(rest):
            raise self.bad("a field", "is nested too deeply")
        if self._inner:
            for name, inner in self._inner.items():
                if left := inner.rest():
                    rest[name] = left
        return rest

    def inner(self, name: str) -> "Fields":
        """An object inside this one."""
        found = Fields(self._left.pop(name, None), self._key, f"{self._path}{name}.")
        if self._inner is None:
            self._inner = {}
        self._inner[name] = found
        return found

    def optional_inner(self, name: str) -> "Fields | None":
        """An object inside this one, None where it is absent."""
        return self.inner(name) if self._has(name) else None

    def integer(self, name: str, low: int = 0, high: int = U32) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self._left.pop(name, None)
        if type(value) is int and low <= value <= high:
            return value
        raise self.bad(name, f"is no whole number within {low} and {high}")

    def optional_integer(self, name: str, low: int = 0, high: int = U32) -> int | None:
        """As ``integer``, None where it is absent."""
        return self.integer(name, low, high) if self._has(name) else None

    def boolean(self, name: str) -> bool:
        """True or false."""
        value = self.take(name)
        if not isinstance(value, bool):
            raise self.bad(name, "is neither true nor false")
        return value

    def octets(self, name: str, *sizes: int) -> bytes:
        """Bytes in any form that a store has for them; with ``sizes``, of one of these lengths."""
        written = self._left.pop(name, None)
        if type(written) is str:  # nearly always, and there are thousands in a phone
            try:
                value: bytes | None = a2b_base64(written, strict_mode=True)
            except ValueError:
                value = None
        else:
            value = octets(written)
        if value is None:
            raise self.bad(name, "is not bytes")
        if sizes and len(value) not in sizes:
            raise self.bad(name, f"has {len(value)} bytes instead of {' or '.join(map(str, sizes))}")
        return value

    def optional_octets(self, name: str, *sizes: int) -> bytes | None:
        """As ``octets``, None where it is absent."""
        return self.octets(name, *sizes) if self._has(name) else None

    def text(self, name: str) -> str:
        """A text."""
        value = self.take(name)
        if not isinstance(value, str):
            raise self.bad(name, "is no text")
        return value

    def optional_text(self, name: str) -> str | None:
        """As ``text``, None where it is absent."""
        return self.text(name) if self._has(name) else None

    def items(self, name: str) -> list[Any]:
        """A list, empty where it is absent."""
        value = self.take(name)
        if not isinstance(value, list | None):
            raise self.bad(name, "is no list")
        return value or []

    def mapping(self, name: str) -> Json:
        """An object whose names are not fixed, empty where it is absent."""
        value = self.take(name)
        if not isinstance(value, dict | None):
            raise self.bad(name, "is no object")
        return value or {}

    def _has(self, name: str) -> bool:
        if self._left.get(name) is not None:
            return True
        self._left.pop(name, None)
        return False


def merged(known: Json, rest: Json) -> Json:
    """An object with the fields that were read and those that were only kept; fields that are None are left out."""
    out = {name: value for name, value in known.items() if value is not None}
    for name, value in rest.items():
        mine = out.get(name)
        out[name] = merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return out


def parse(data: bytes, key: str) -> Any:
    """JSON as JavaScript reads it (no NaN, no number that it would not write back); raises BadKey."""
    try:
        return _DECODER.decode(data.decode())
    except (ValueError, RecursionError):
        raise BadKey(key, "it is not JSON") from None


def written(value: Any) -> bytes:
    """JSON without spaces, as JavaScript and Go write it; other letters than ASCII are escaped."""
    return _ENCODER.encode(value).encode()


def octets(value: object) -> bytes | None:
    """Bytes from base64, from a form of Baileys' ``BufferJSON`` (6.7 and 7), or from bytes; None: none of these."""
    if isinstance(value, str):
        return unbase64(value)
    if isinstance(value, dict):
        if value.get("type") == "Buffer" or value.get("buffer") is True:
            data = value.get("data") or value.get("value") or []
            return unbase64(data) if isinstance(data, str) else _numbers(data)
        if value and all(name.isascii() and name.isdigit() and len(name) < 9 for name in value):
            return _numbers([value[name] for name in sorted(value, key=int)])
        return None
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


def shallow(value: object, levels: int = DEEPEST) -> bool:
    """Whether objects and lists are nested no deeper than that, so that they can be written again."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(shallow(one, levels - 1) for one in inner)
    return True


def unbase64(text: str | bytes) -> bytes | None:
    """Bytes from standard base64 with its padding; None where it is none."""
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def base64_text(data: bytes) -> str:
    """Standard base64 with its padding."""
    return b2a_base64(data, newline=False).decode()


def optional_base64(data: bytes | None) -> str | None:
    """Standard base64, None for nothing."""
    return None if data is None else base64_text(data)


def _numbers(values: object) -> bytes | None:
    try:
        return bytes(values) if isinstance(values, list) else None
    except (TypeError, ValueError):
        return None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no such number in JavaScript")
    return number


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
