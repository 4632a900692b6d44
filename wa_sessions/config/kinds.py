"""What a setting's value may be: read from a flag's or a variable's text, and from a value of TOML."""

import re
from datetime import timedelta
from typing import Generic, TypeVar

from wa_sessions.plain_text import can_be_host

T = TypeVar("T")

LONGEST_DURATION = timedelta(days=1)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Kind(Generic[T]):
    """How a value is read and written. Errors are ValueErrors, whose text follows the setting's name and a colon."""

    takes = "text"

    def read(self, text: str) -> T:
        """The value that a text means, which is not empty."""
        raise NotImplementedError

    def of_toml(self, value: object) -> T:
        """The value that a value of TOML means."""
        if isinstance(value, str) and value.strip():
            return self.read(value.strip())
        raise self.wrong(value)

    def written(self, value: object) -> object:
        """The value as JSON and TOML have it."""
        return value

    def wrong(self, value: object) -> ValueError:
        """What is said of a value of another type."""
        return ValueError(f"it takes {self.takes}, not {_type(value)}")


class Text(Kind[str]):
    """Any text."""

    def read(self, text: str) -> str:
        return text


class Number(Kind[int]):
    """A whole number."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most
        self.takes = f"a number from {least} to {most}"

    def read(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and self.least <= int(text) <= self.most):
            raise ValueError(f"{text[:20]!r} is not {self.takes}")
        return int(text)

    def of_toml(self, value: object) -> int:
        if isinstance(value, str) and value.strip().isdigit():
            raise ValueError(f"it takes {self.takes}, without quotes")
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(value)
        return self.read(str(value))


class Width(Kind[int | None]):
    """A number of columns; a variable that a shell has set to anything else is none."""

    takes = "a number of columns"

    def read(self, text: str) -> int | None:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) else None

    def of_toml(self, value: object) -> int | None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong(value)
        return value


class Seconds(Kind[float]):
    """Seconds, with a fraction or without."""

    takes = "a number of seconds, as in 30"

    def read(self, text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]+)?", text):
            raise ValueError(f"{text[:20]!r} is no number of seconds, as in 30")
        return float(text)

    def of_toml(self, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.wrong(value)
        return self.read(str(value))

    def written(self, value: object) -> object:
        return int(value) if isinstance(value, float) and value.is_integer() else value


class Switch(Kind[bool]):
    """On or off; a variable switches it on with any text."""

    takes = "true or false"

    def read(self, text: str) -> bool:
        return bool(text)

    def of_toml(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise self.wrong(value)
        return value


class Choice(Kind[str]):
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.takes = f"one of {', '.join(words)}"

    def read(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(f"{text[:40]!r} is not {self.takes}")
        return text


class Words(Kind[tuple[str, ...]]):
    """Several texts: in a text with one of ``separators`` between them, in TOML also as an array."""

    takes = "text, or an array of texts"

    def __init__(self, separators: str) -> None:
        self._separators = separators

    def read(self, text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in re.split(f"[{self._separators}]+", text) if part.strip())

    def of_toml(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str) and value.strip():
            return self.read(value.strip())
        if isinstance(value, int) and not isinstance(value, bool):
            return (str(value),)
        if not isinstance(value, list) or not all(isinstance(one, str | int) and one != "" for one in value):
            raise self.wrong(value)
        return tuple(str(one).strip() for one in value)

    def written(self, value: object) -> object:
        return list(value) if isinstance(value, tuple) else value


class Duration(Kind[timedelta]):
    """Some time up to a day: ``90s``, ``10m``, ``1h``, or seconds; ``because`` says why within these bounds."""

    takes = "a duration, as in 90s, 10m or 1h"

    def __init__(self, least: timedelta = timedelta(0), most: timedelta = LONGEST_DURATION, because: str = "") -> None:
        self._least, self._most, self.because = least, most, because

    def read(self, text: str) -> timedelta:
        found = duration(text)
        if not self._least <= found <= self._most:
            raise ValueError(self.because)
        return found

    def of_toml(self, value: object) -> timedelta:
        return self.read(_digits_or_text(self, value))

    def written(self, value: object) -> object:
        return _shortest(value, "hms") if isinstance(value, timedelta) else value


class Age(Kind[timedelta]):
    """How old something may be: ``12h``, ``14d`` or ``8w``; 0, or ``least`` and more, because of what is said then."""

    takes = "an age, as in 90d"

    def __init__(self, least: timedelta, because: str) -> None:
        self._least, self.because = least, because

    def read(self, text: str) -> timedelta:
        found = age(text)
        if timedelta() < found < self._least:
            raise ValueError(self.because)
        return found

    def written(self, value: object) -> object:
        return _shortest(value, "dhms") if isinstance(value, timedelta) else value


class Address(Kind[tuple[str, int]]):
    """``HOST:PORT``."""

    takes = "an address, as in 127.0.0.1:9464"

    def read(self, text: str) -> tuple[str, int]:
        return address(text)

    def written(self, value: object) -> object:
        if not isinstance(value, tuple):
            return value
        host, port = value
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def duration(text: str) -> timedelta:
    """Read ``90s``, ``10m``, ``1h`` or seconds; raises ValueError.

    >>> duration("10m")
    datetime.timedelta(seconds=600)
    """
    number, unit = _in_parts(text, longest=6)
    window = timedelta(seconds=number * _SECONDS[unit]) if number is not None and unit in _SECONDS else timedelta()
    if not timedelta() < window <= LONGEST_DURATION:
        raise ValueError(f"{text[:40]!r} is no duration up to a day: write it as in 90s, 10m or 1h")
    return window


def age(text: str) -> timedelta:
    """Read ``12h``, ``14d`` or ``8w``; raises ValueError.

    >>> age("14d")
    datetime.timedelta(days=14)
    """
    number, unit = _in_parts(text, longest=5)
    if number is None or unit not in _AGES:
        raise ValueError(f"{text[:40]!r} is no age: write it as in 30m, 12h, 14d or 8w")
    return timedelta(seconds=number * _AGES[unit])


def _in_parts(text: str, *, longest: int) -> tuple[int | None, str]:
    """A number and the letter behind it; None for what is no number. No regular expression: compiling one costs."""
    word = text.strip().lower()
    digits = word.rstrip("smhdw")
    known = digits.isascii() and digits.isdigit() and len(digits) <= longest
    return int(digits) if known else None, word[len(digits) :]


def address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, the host of IPv6 in brackets; raises ValueError.

    >>> address("127.0.0.1:9464"), address("[::1]:9464")
    (('127.0.0.1', 9464), ('::1', 9464))
    """
    host, colon, port = text.strip().rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    known = colon and port.isascii() and port.isdigit() and int(port) < 65_536
    if not (known and can_be_host(host)):
        raise ValueError(f"{text[:60]!r} is no address: write it as in 127.0.0.1:9464")
    return host, int(port)


def _digits_or_text(kind: Kind[timedelta], value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    raise kind.wrong(value)


def _shortest(value: timedelta, units: str) -> str:
    """In the largest unit that it is a whole number of; up to two minutes in seconds.

    >>> _shortest(timedelta(minutes=10), "hms"), _shortest(timedelta(minutes=1), "hms"), _shortest(timedelta(0), "dhms")
    ('10m', '60s', '0d')
    """
    seconds = round(value.total_seconds())
    if 0 < seconds < 120:
        return f"{seconds}s"
    unit = next(unit for unit in units if seconds % _AGES[unit] == 0)
    return f"{seconds // _AGES[unit]}{unit}"


def _type(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "text" if value.strip() else "an empty text"
        case int():
            return "a number"
        case float():
            return "a number with a fraction"
        case list():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a time"


def is_http_url(text: str) -> bool:
    """Whether a request can be sent there.

    >>> is_http_url("https://bot.example/hook"), is_http_url("ftp://bot.example"), is_http_url("http://[::1")
    (True, False, False)
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and can_be_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        return False
