"""What sentences are put together of: who did it and why, how many keys, which message; each as far as it is known."""

from wa_sessions.wording.numbers import duration
from wa_sessions.wording.phrases import Phrase

Value = str | int | Phrase
_TABLE = "parts"


def part(name: str, **values: Value) -> Phrase:
    """A part with what stands in its gaps."""
    return Phrase(_TABLE, name, values)


def part_if(name: str, **value: str | int | None) -> Value:
    """The same if its one value is there; nothing otherwise."""
    ((gap, found),) = value.items()
    return part(name, **{gap: found}) if found else ""


def known(value: str | int | None, otherwise: str = "unknown") -> Value:
    """A value, or the part that stands for it where it is not there."""
    return part(otherwise) if value is None or value == "" else value


def many(name: str, number: int | None, otherwise: str) -> Phrase:
    """So many of something, or the part that stands for a number that is not there."""
    return part(otherwise) if number is None else part(name, n=number)


def lasting(name: str, seconds: float | None) -> Value:
    """A part with a time in it, if there is one."""
    return "" if seconds is None else part(name, time=duration(seconds))
