"""What a detail of an event is: how it becomes JSON, and how it is read back out of whatever stands there."""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

from wa_sessions.health.event_kinds import EventKind

D = TypeVar("D", bound="EventDetail")
LARGEST = 10**12
"""A greater number is not one of ours."""


class EventSource(StrEnum):
    """Where an event was read that no worker saw."""

    LOGS = "logs"


@dataclass(frozen=True, slots=True)
class EventDetail:
    """What an event of one kind says.

    A field without a default is always written by this program; even so it may be None, as older programs have left it
    out. ``NULLS``: fields that stand there as null, too.
    """

    KIND: ClassVar[EventKind]
    NULLS: ClassVar[frozenset[str]] = frozenset()

    @property
    def kind(self) -> EventKind:
        """Which kind of event it is."""
        return self.KIND

    def as_json(self) -> dict[str, Any]:
        """Plain values by name, without those that are not there."""
        values = {json_name(field.name): getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None or name in self.NULLS}


@dataclass(frozen=True, slots=True)
class UnknownDetail:
    """An event of a kind that this program does not know, as a newer one has written it."""

    kind: str


def json_name(field: str) -> str:
    """What a field is called in JSON; ``from`` may not be one's name in Python."""
    return field.removesuffix("_")


def from_json(kind: type[D], values: Mapping[str, Any]) -> D:
    """The detail that stands there. What is missing or of another type is None, what is not known is left out."""
    if kind not in _READERS_OF:
        hints = get_type_hints(kind)
        _READERS_OF[kind] = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    return kind(**{name: read(values.get(json_name(name))) for name, read in _READERS_OF[kind].items()})


def _reader(hint: Any) -> Callable[[Any], Any]:
    parts = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (wanted,) = (part for part in parts if part is not type(None))
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return lambda value: wanted(value) if isinstance(value, str) and value in set(wanted) else None
    return _READERS[getattr(wanted, "__origin__", wanted)]


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value) or None


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
    return float(value) if known else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    return tuple(str(part) for part in value)


_READERS_OF: dict[type[EventDetail], dict[str, Callable[[Any], Any]]] = {}
_READERS: Mapping[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    Mapping: _mapping,
    tuple: _texts,
}
