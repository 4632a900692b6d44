"""Typed frames between processes of ours: frozen dataclasses, one JSON object a line.

Several frames go to and fro for each message, so what a kind of frame is made of is looked up once.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_Reader = Callable[[Any], Any]


class ProtocolError(ValueError):
    """A line that is no frame which this program knows."""


class Codec:
    """Writes and reads the frames of one protocol."""

    def __init__(self, *kinds: type[Any]) -> None:
        self._kinds = {kind.__name__: kind for kind in kinds}

    def encode(self, frame: Any) -> bytes:
        """One line."""
        kind = type(frame)
        return _JSON.encode({"frame": kind.__name__, **_values(frame, kind)}).encode() + b"\n"

    def decode(self, line: bytes) -> Any:
        """The frame of a line. Raises ProtocolError, which repeats nothing of the line but an unknown frame's name."""
        try:
            values = json.loads(line)
            kind = self._kinds[values.pop("frame")]
        except KeyError as error:
            raise ProtocolError(f"unknown frame {str(error)[:40]}") from None
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise ProtocolError("a line that is no frame") from None
        return _built(kind, values)


def _values(frame: Any, kind: type[Any]) -> dict[str, Any]:
    return {name: getattr(frame, name) for name in _readers(kind)}  # type: ignore[arg-type]  # a class is hashable


def _encoded(value: Any) -> Any:
    if is_dataclass(value):
        return _values(value, type(value))
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


_JSON = json.JSONEncoder(default=_encoded)


def _built(kind: type[Any], values: Any) -> Any:
    if not isinstance(values, dict):
        raise ProtocolError(f"{kind.__name__} has no fields")
    readers = _readers(kind)  # type: ignore[arg-type]  # a class is hashable
    try:
        return kind(**{name: readers[name](value) for name, value in values.items()})
    except (KeyError, TypeError, ValueError):
        raise ProtocolError(f"{kind.__name__} has other fields") from None


@cache
def _readers(kind: type[Any]) -> dict[str, _Reader]:
    """Of each field, what makes its value out of JSON's. Raises TypeError or ValueError where that is none."""
    hints = get_type_hints(kind)
    return {field.name: _reader(hints[field.name]) for field in fields(kind)}


def _reader(kind: Any) -> _Reader:
    if kind is bytes:
        return lambda value: base64.b64decode(value, validate=True)
    if isinstance(kind, type) and is_dataclass(kind):
        return lambda value: _built(kind, value)
    if kind is float or (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return kind
    kinds = get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)

    def same(value: Any) -> Any:
        if type(value) in kinds or any(_is(value, one) for one in kinds):
            return value
        raise TypeError

    return same


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
