"""Where a setting's value comes from: the first of flag, environment, named file, the user's file, the machine's."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from wa_sessions.config.table import DATABASE_URL, SETTINGS, VARIABLES, Setting
from wa_sessions.errors import UsageError

if TYPE_CHECKING:
    from wa_sessions.config.files import ConfigFile

T = TypeVar("T")

FILE_VARIABLE, PROFILE_VARIABLE = "WA_SESSIONS_CONFIG", "WA_SESSIONS_PROFILE"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")
SYSTEM_FILE = Path("/etc/wa-sessions/config.toml")


class Found(NamedTuple):
    """A value as it stands somewhere. ``origin``: where, in ``config show``; ``place``: where, in messages.

    The value is empty where libpq reads its own variables.
    """

    raw: Any
    origin: str
    place: str

    def __repr__(self) -> str:
        return f"Found({self.place})"  # and not the value, which may be a secret


class Configuration(NamedTuple):
    """All that is configured: flags by setting, the environment, and files in the order in which they count."""

    environment: Mapping[str, str]
    files: "tuple[ConfigFile, ...]" = ()
    profile: str | None = None
    flags: Mapping[str, str] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"Configuration({self.files})"  # and not the environment, which has secrets

    def value(self, setting: Setting[T]) -> T:
        """The value that counts. Raises UsageError, which says where it stands."""
        found = self.find(setting)
        return setting.default if found is None else self.read(setting, found)

    def read(self, setting: Setting[T], found: Found) -> T:
        """A value that was found. Raises UsageError."""
        is_text = isinstance(found.raw, str)
        try:
            read: T = setting.kind.read(found.raw) if is_text else setting.kind.of_toml(found.raw)
        except ValueError as error:
            raise UsageError(f"{found.place}: {error}") from None
        return read

    def find(self, setting: Setting[Any]) -> Found | None:
        """Where the value stands that counts; None for the default. Raises UsageError for a secret's file."""
        ranked = self._ranked(setting)
        if ranked is None or setting.group is None:
            return ranked and ranked[1]
        others = (other for other in SETTINGS.values() if other.group == setting.group and other is not setting)
        before = [rank for rank, _ in filter(None, map(self._ranked, others)) if rank < ranked[0]]
        return None if before else ranked[1]

    def place(self, setting: Setting[Any]) -> str:
        """What to call a setting in a message: where it stands, else its variable."""
        found = self.find(setting)
        return found.place if found else setting.variable

    def of_profile(self, setting: Setting[Any]) -> Found | None:
        """What the profile that is chosen says of a setting, whatever goes before it."""
        tables = self._of_the_profile()
        return next((_in_table(setting, *where) for where in tables if setting.name in where[1]), None)

    def empty(self, setting: Setting[Any]) -> list[str]:
        """The variables of a setting that are set to nothing."""
        return [
            name for name in VARIABLES[setting.name] if name in self.environment and not self.environment[name].strip()
        ]

    def _ranked(self, setting: Setting[Any]) -> tuple[int, Found] | None:
        for rank, look in enumerate((self._of_flags, self._of_environment)):
            if found := look(setting):
                return rank, found
        for rank, (file, table, prefix) in enumerate(self._tables(), 2):
            if setting.name in table:
                return rank, _in_table(setting, file, table, prefix)
        return None

    def _tables(self) -> "Iterator[tuple[ConfigFile, Mapping[str, Any], str]]":
        """The tables of files, in the order in which they count: a profile goes before what stands outside of all."""
        yield from self._of_the_profile()
        for file in self.files:
            yield file, file.values, ""

    def _of_the_profile(self) -> "Iterator[tuple[ConfigFile, Mapping[str, Any], str]]":
        for file in self.files:
            if self.profile is not None and self.profile in file.profiles:
                yield file, file.profiles[self.profile], f"{self.profile}."

    def _of_flags(self, setting: Setting[Any]) -> Found | None:
        text = self.flags.get(setting.name, "").strip()
        return Found(text, "flag", setting.flag or setting.name) if text else None

    def _of_environment(self, setting: Setting[Any]) -> Found | None:
        for name in VARIABLES[setting.name]:
            if text := self.environment.get(name, "").strip():
                return Found(text, f"env {name}", name)
            if setting.mask is not None and (found := self._of_secret_file(setting, name)):
                return found
        named = [name for name in LIBPQ_VARIABLES if self.environment.get(name)]
        return Found("", f"env {named[0]}", ", ".join(named)) if setting is DATABASE_URL and named else None

    def _of_secret_file(self, setting: Setting[Any], variable: str) -> Found | None:
        name = f"{variable}_FILE"
        if named := self.environment.get(name, "").strip():
            return Found(_secret(Path(named).expanduser(), name), f"env {name}", name)
        folder = self.environment.get(CREDENTIALS_VARIABLE)
        if not folder or variable != setting.variable:
            return None
        for path in (Path(folder, setting.name), Path(folder, variable)):
            if os.path.isfile(path):  # noqa: PTH113  # no error where the folder is another user's
                place = f"the credential {path.name}"
                return Found(_secret(path, place), str(path), place)
        return None


def _secret(path: Path, what: str) -> str:
    from wa_sessions.config import files

    return files.secret(path, what)


def _in_table(setting: Setting[Any], file: "ConfigFile", table: Mapping[str, Any], prefix: str) -> Found:
    return Found(table[setting.name], str(file.path), f"{prefix}{setting.name} in {file.path}")


class _Process:
    """What this process was told, and the files that it has read: once, so that all of a command sees the same."""

    def __init__(self) -> None:
        self.file: str | None = None
        self.profile: str | None = None
        self.warn: Callable[[str], None] = lambda _text: None
        self.read: dict[tuple[str | None, ...], tuple[ConfigFile, ...]] = {}


_process = _Process()


def use(*, file: str | None = None, profile: str | None = None) -> None:
    """What ``--config`` and ``--profile`` say, which go before their variables."""
    _process.file = file if file is not None else _process.file
    _process.profile = profile if profile is not None else _process.profile


def begin(warn: Callable[[str], None] = lambda _text: None) -> None:
    """Forget what was used and read; ``warn`` gets a line for each file that others can read secrets in, once."""
    _process.file = _process.profile = None
    _process.warn = warn
    _process.read.clear()


def current() -> Configuration:
    """What is configured now. Raises UsageError for a file that cannot be used, and a profile that is not there."""
    read = _files()
    profile = (_process.profile or os.environ.get(PROFILE_VARIABLE, "")).strip() or None
    if profile is not None and not any(profile in file.profiles for file in read):
        raise UsageError(_no_profile(profile, read))
    return Configuration(os.environ, read, profile)


def value(setting: Setting[T]) -> T:
    """The value of a setting that counts now. Raises UsageError."""
    return current().value(setting)


def written(setting: Setting[Any]) -> Any:
    """What is configured for a setting, as it would be typed; None for nothing, so that the default counts."""
    configured = current()
    found = configured.find(setting)
    return None if found is None else setting.kind.written(configured.read(setting, found))


def environment() -> Mapping[str, str]:
    """The whole environment, to be handed on to a child."""
    return os.environ


def libpq(name: str) -> str | None:
    """One of libpq's own variables; None where it is not set, or to nothing."""
    return os.environ.get(name) or None


def named_file() -> str | None:
    """The file that ``--config`` or its variable names."""
    return (_process.file or os.environ.get(FILE_VARIABLE, "")).strip() or None


def usual_files() -> list[Path]:
    """The user's file and the machine's, which may not be there."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = os.path.expanduser("~/.config")  # noqa: PTH111  # Path.home() raises where there is none
    user = [Path(base, "wa-sessions", "config.toml")] if base.startswith("/") else []
    return [*user, SYSTEM_FILE]


def _files() -> "tuple[ConfigFile, ...]":
    named = named_file()
    key = (named, *(os.environ.get(name) for name in ("XDG_CONFIG_HOME", "HOME")))
    if key not in _process.read:
        read = _read_all(named)
        for file in read:
            if file.exposed:
                _process.warn(f"{file.path}: {file.exposed}")
        _process.read[key] = read
    return _process.read[key]


def _read_all(named: str | None) -> "tuple[ConfigFile, ...]":
    """All files that are there; none at all where the null device is named."""
    if named == os.devnull:
        return ()
    found = [_named(named)] if named else []
    others = [path for path in usual_files() if not any(path == file.path for file in found)]
    found += [file for path in others if (file := _usual(path)) is not None]
    for file in found:
        if file.problems:
            more = f" (and {len(file.problems) - 1} more: wa-sessions config check)" if file.problems[1:] else ""
            raise UsageError(f"{file.path}: {file.problems[0]}{more}")
    return tuple(found)


def _named(name: str) -> "ConfigFile":
    from wa_sessions.config import files

    path = Path(name).expanduser().absolute()
    try:
        return files.read(path)
    except OSError as error:
        raise UsageError(f"cannot read the config file {path}: {error.strerror or error}") from None


def _usual(path: Path) -> "ConfigFile | None":
    """The file if it is there. A home that this user may not enter is another's, as after ``su`` without ``-``."""
    try:
        path.stat()
        from wa_sessions.config import files  # which costs what a command without a file can save

        return files.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        may_enter = os.access(path.parent, os.X_OK, effective_ids=True)
        if isinstance(error, PermissionError) and path != SYSTEM_FILE and not may_enter:
            return None
        raise UsageError(
            f"cannot read the config file {path}: {error.strerror or error}; --config {os.devnull} does without"
        ) from None


def _no_profile(name: str, read: "tuple[ConfigFile, ...]") -> str:
    import difflib

    known = sorted({profile for file in read for profile in file.profiles})
    if not read:
        looked = ", ".join(map(str, usual_files()))
        return f"there is no profile {name!r}: no config file is there ({looked})"
    near = difflib.get_close_matches(name, known, n=1)
    where = ", ".join(str(file.path) for file in read)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}" if known else "it has none"
    return f"there is no profile {name!r} in {where}: {hint}"


def with_flags(configuration: Configuration, flags: Mapping[str, str]) -> Configuration:
    """The same with flags, which go before all else."""
    return configuration._replace(flags=flags)
