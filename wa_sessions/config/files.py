"""A config file: TOML whose keys are settings and whose tables are profiles. It is judged whole as it is read."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wa_sessions.config import simple_toml
from wa_sessions.config.table import SETTINGS, Setting
from wa_sessions.errors import UsageError
from wa_sessions.input_files import open_file_or_pipe, read_text

LARGEST = 1 << 20
LARGEST_SECRET = 1 << 16
PROFILES = "profiles"
_BOM = b"\xef\xbb\xbf"
_BOMS_OF_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Problem(NamedTuple):
    """What is wrong with one key, or with the whole file where ``key`` is empty."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


class ConfigFile(NamedTuple):
    """What stands in a file. ``exposed``: it holds a secret, and every user of the machine can read it."""

    path: Path
    values: Mapping[str, Any]
    profiles: Mapping[str, Mapping[str, Any]]
    problems: tuple[Problem, ...] = ()
    exposed: Problem | None = None

    def __repr__(self) -> str:
        return f"ConfigFile({self.path})"  # and no value, which may be a secret


def read(path: Path) -> ConfigFile:
    """Read a file; what is wrong with its keys is in ``problems``. Raises OSError; UsageError for what is no TOML."""
    with open_file_or_pipe(path) as stream:
        status = os.fstat(stream.fileno())
        content = stream.read(LARGEST + 1)
    mode = stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else 0
    values, profiles = _split(_parsed(path, content))
    problems = _judged("", values)
    for name, table in profiles.items():
        problems += _judged(f"{name}.", table)
    if mode & stat.S_IWOTH:
        text = (
            f"every user of this machine can write to it (mode {mode:04o}), and it says what is run: chmod o-w {path}"
        )
        problems.insert(0, Problem("", text))
    exposed = _exposed(path, mode, values, profiles)
    return ConfigFile(path, values, profiles, tuple(problems), exposed)


def secret(path: Path, what: str) -> str:
    """The secret that is all of a file, white space around it apart; ``what`` begins messages. Raises UsageError."""
    text = read_text(path, LARGEST_SECRET, what).strip()
    if not text:
        raise UsageError(f"{what}: {path} is empty")
    return text


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    if len(content) > LARGEST:
        raise UsageError(f"{path} has more than {LARGEST // 1024:,} KiB: is it the right file?")
    if content.startswith(_BOMS_OF_UTF16):
        raise UsageError(f"{path} is UTF-16: save it as UTF-8")
    try:
        text = content.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text") from None
    if (simple := simple_toml.read(text)) is not None:
        return simple
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, ValueError) else "too many brackets in one another"
        raise UsageError(f"{path} is no TOML: {reason}; wa-sessions config example shows one") from None


def _split(table: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Settings and profiles; ``[profiles.prod]`` is the same as ``[prod]``."""
    values = {name: value for name, value in table.items() if not isinstance(value, dict) or name in SETTINGS}
    profiles = {name: value for name, value in table.items() if name not in values}
    if all(isinstance(value, dict) for value in profiles.get(PROFILES, {}).values()):
        profiles |= profiles.pop(PROFILES, {})
    return values, profiles


def _judged(prefix: str, values: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for name, value in values.items():
        setting = SETTINGS.get(name)
        if setting is None:
            problems.append(Problem(f"{prefix}{name}", _unknown(name, value, in_profile=bool(prefix))))
            continue
        try:
            setting.kind.of_toml(value)
        except ValueError as error:
            problems.append(Problem(f"{prefix}{name}", str(error)))
    return problems


def _unknown(name: str, value: object, *, in_profile: bool) -> str:
    if in_profile and isinstance(value, dict):
        return "a profile has no tables: write it as [NAME]"
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return f"a profile is one table: write [{name}]"
    nearest = nearest_name(name)
    return (
        f"there is no such setting{f': did you mean {nearest}?' if nearest else '; wa-sessions config show has them'}"
    )


def nearest_name(word: str) -> str | None:
    """The setting whose name, flag or variable is most like a word."""
    import difflib

    if (same := word.lower().replace("-", "_").removeprefix("wa_sessions_")) in SETTINGS:
        return same
    spellings = {name: name for name in SETTINGS}
    for name, setting in SETTINGS.items():
        flag = (setting.flag or "").removeprefix("--").replace("-", "_")
        spellings |= {spelling.lower(): name for spelling in (flag, *setting.variables) if spelling}
    near = difflib.get_close_matches(same, spellings, n=1, cutoff=0.6)
    return spellings[near[0]] if near else None


def _exposed(
    path: Path, mode: int, values: Mapping[str, Any], profiles: Mapping[str, Mapping[str, Any]]
) -> Problem | None:
    if not mode & stat.S_IROTH:
        return None
    tables = [("", values), *((f"{name}.", table) for name, table in profiles.items())]
    found = [
        f"{prefix}{name}" for prefix, table in tables for name, setting in _known(table) if _is_secret(setting, table)
    ]
    if not found:
        return None
    return Problem(
        found[0], f"it is a secret, and every user of this machine can read it (mode {mode:04o}): chmod 600 {path}"
    )


def _known(table: Mapping[str, Any]) -> Iterator[tuple[str, Setting[Any]]]:
    return ((name, SETTINGS[name]) for name in table if name in SETTINGS)


def _is_secret(setting: Setting[Any], table: Mapping[str, Any]) -> bool:
    value = table[setting.name]
    texts = value if isinstance(value, list) else [value]
    return setting.mask is not None and any(isinstance(text, str) and setting.mask(text) != text for text in texts)
