"""Typed frames between processes of ours: frozen dataclasses, one JSON object a line."""

import base64
import json
from dataclasses import asdict, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


class ProtocolError(ValueError):
    """A line that is no frame which this program knows."""


class Codec:
    """Writes and reads the frames of one protocol."""

    def __init__(self, *kinds: type[Any]) -> None:
        self._kinds = {kind.__name__: kind for kind in kinds}

    def encode(self, frame: Any) -> bytes:
        """One line."""
        return json.dumps({"frame": type(frame).__name__, **asdict(frame)}, default=_encoded).encode() + b"\n"

    def decode(self, line: bytes) -> Any:
        """The frame of a line. Raises ProtocolError, which repeats nothing of the line but an unknown frame's name."""
        try:
            values = json.loads(line)
            kind = self._kinds[values.pop("frame")]
        except KeyError as error:
            raise ProtocolError(f"unknown frame {str(error)[:40]}") from None
        except (ValueError, AttributeError, TypeError):
            raise ProtocolError("a line that is no frame") from None
        return _built(kind, values)


def _encoded(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


@cache
def _types(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _built(kind: type[Any], values: Any) -> Any:
    if not isinstance(values, dict):
        raise ProtocolError(f"{kind.__name__} has no fields")
    types = _types(kind)  # type: ignore[arg-type]  # a class is hashable
    try:
        return kind(**{name: _value(types[name], value) for name, value in values.items()})
    except (KeyError, TypeError, ValueError):
        raise ProtocolError(f"{kind.__name__} has other fields") from None


def _value(kind: Any, value: Any) -> Any:
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    if is_dataclass(kind):
        assert isinstance(kind, type)
        return _built(kind, value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(value)
    if get_origin(kind) in (UnionType, Union):
        return value if any(_is(value, part) for part in get_args(kind)) else _refuse()
    if kind is float:
        return float(value)
    return value if _is(value, kind) else _refuse()


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _refuse() -> Any:
    raise TypeError
