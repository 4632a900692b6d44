"""What is configured and where it stands, whether a config file is right, and one to begin with."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wa_sessions import config
from wa_sessions.config import files, reading
from wa_sessions.config.files import ConfigFile, Problem
from wa_sessions.config.reading import Configuration
from wa_sessions.config.table import DATABASE_URL, SECTIONS, SETTINGS, STORE_URL, Setting
from wa_sessions.errors import UsageError, WaSessionsError

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting, its value with secrets masked, and where it stands: ``default``, ``env NAME``, ``flag``, or a path."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A file, how many settings it has in all, its profiles, and what is wrong with it."""

    file: Path
    settings: int
    profiles: tuple[str, ...]
    problems: tuple[Problem, ...]


def show(flags: dict[str, str], names: tuple[str, ...] = ()) -> list[Shown]:
    """Every setting, or those that are named, as a command with these flags would have it. Raises UsageError."""
    configured = reading.with_flags(config.current(), flags)
    profiles = {profile for file in configured.files for profile in file.profiles}
    for name in names:
        if name not in SETTINGS:
            raise UsageError(_no_setting(name, profiles))
    return [_shown(configured, SETTINGS[name]) for name in names or SETTINGS]


def check(file: str | None = None) -> list[Checked]:
    """Judge a file; where none is named the one that is configured, else all that would be read. Raises UsageError."""
    named = file or reading.named_file()
    if named:
        return [_checked(_read(Path(named).expanduser()))]
    return [_checked(_read(path)) for path in reading.usual_files() if path.exists()]


def example() -> str:
    """A file that has every setting, each in a comment."""
    return "\n".join(_example())


def _shown(configured: Configuration, setting: Setting[Any]) -> Shown:
    found = configured.find(setting)
    if found is None:
        return Shown(setting.name, setting.kind.written(setting.default), "default")
    written = setting.kind.written(configured.read(setting, found)) if found.raw != "" else _of_libpq()
    return Shown(setting.name, _masked(setting, written), found.origin)


def _masked(setting: Setting[Any], written: Any) -> Any:
    if setting.mask is None or written is None:
        return written
    return [setting.mask(one) for one in written] if isinstance(written, list) else setting.mask(str(written))


def _of_libpq() -> str:
    from wa_sessions.db.settings import Target

    return Target("", None, "").masked


def _no_setting(name: str, profiles: set[str]) -> str:
    if name in profiles:
        return f"{name} is a profile: wa-sessions -P {name} config show"
    nearest = files.nearest_name(name)
    hint = f"did you mean {nearest}?" if nearest else "wa-sessions config show has them all"
    return f"there is no setting {name!r}: {hint}"


def _read(path: Path) -> ConfigFile:
    try:
        return files.read(path.absolute())
    except OSError as error:
        raise UsageError(f"cannot read the config file {path}: {error.strerror or error}") from None


def _checked(file: ConfigFile) -> Checked:
    problems = [*file.problems, *([file.exposed] if file.exposed else [])]
    wrong = {problem.key for problem in problems}
    for name, table in [("", file.values), *file.profiles.items()]:
        prefix = f"{name}." if name else ""
        problems += [one for one in _unusable(prefix, table) if one.key not in wrong]
    settings = sum(len(table) for table in (file.values, *file.profiles.values()))
    return Checked(file.path, settings, tuple(file.profiles), tuple(problems))


def _unusable(prefix: str, table: Any) -> Iterator[Problem]:
    """Addresses of databases that no driver takes."""
    from wa_sessions.db import dsn

    for setting in (DATABASE_URL, STORE_URL):
        text = table.get(setting.name)
        if not isinstance(text, str) or text.strip().lower() in ("", "embedded"):
            continue
        try:
            dsn.read_dsn(text, "it")
        except WaSessionsError as error:
            yield Problem(f"{prefix}{setting.name}", str(error))


def _example() -> Iterator[str]:
    yield "# Settings of wa-sessions, in TOML. It looks for this file as ~/.config/wa-sessions/config.toml, then as"
    yield f"# {reading.SYSTEM_FILE}; --config FILE (or {reading.FILE_VARIABLE}) names another, which goes first."
    yield "# Options and variables go before every file. With a password in it: chmod 600."
    yield "# wa-sessions config check FILE judges it, wa-sessions config show says what counts and where it stands."
    for section, settings in SECTIONS.items():
        yield f"\n# {section}\n"
        for setting in settings:
            yield from textwrap.wrap(setting.help, _WIDTH, initial_indent="# ", subsequent_indent="# ")
            yield f"#{setting.name} = {_toml(setting)}"
    yield "\n# Another database: wa-sessions -P test sessions. What a profile does not say is as above.\n"
    yield "#[test]"
    yield f"#{DATABASE_URL.name} = {json.dumps('postgresql:///test')}"


def _toml(setting: Setting[Any]) -> str:
    """The default, or an example of what it takes."""
    written = setting.kind.written(setting.default)
    if written in (None, []):
        written = setting.kind.written(setting.kind.read(setting.example or ""))
    return json.dumps(True if written is False else written)
