"""Which handler the operator named, and which environment it gets."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from wa_sessions import config
from wa_sessions.config.table import HANDLER_SECRET, HANDLER_URL, SETTINGS
from wa_sessions.errors import UsageError

_OURS = "WA_SESSIONS"

URL_VARIABLE, SECRET_VARIABLE = HANDLER_URL.variable, HANDLER_SECRET.variable
"""What the process that posts messages is told: where to, and what it signs with."""

SECRETS = (
    "DATABASE_URL",
    "PG*",
    "DATABASE_URL_FILE",
    f"{_OURS}_*_URL",
    f"{_OURS}_*_FILE",
    f"{_OURS}_ALERT_*",
    f"{_OURS}_*SECRET*",
    f"{_OURS}_*TOKEN*",
    f"{_OURS}_*PASSWORD*",
    f"{_OURS}_*IDENTITY*",
)
"""Names, as patterns of the shell, of variables that a handler gets only if the operator asks for them."""


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """A handler: ``function`` (``module:function``), ``command`` or ``url``, one of them.

    ``environment``: names or patterns of secret variables that it gets too, ``*`` for all.
    """

    function: str | None = None
    command: str | None = None
    environment: tuple[str, ...] = ()
    url: str | None = None

    @classmethod
    def named(
        cls, function: str | None, command: str | None, environment: tuple[str, ...] = (), url: str | None = None
    ) -> "HandlerSpec | None":
        """What the options say, None if they name no handler. Raises UsageError if they name two."""
        named = sum(option is not None for option in (function, command, url))
        if named > 1:
            raise UsageError("--on-message, --on-message-exec and --on-message-url exclude each other")
        return cls(function, command, environment, url) if named else None

    @property
    def option(self) -> str:
        """How the operator named it, for messages."""
        if self.function is not None:
            return f"--on-message {self.function}"
        return "--on-message-exec" if self.url is None else "--on-message-url"

    def program(self, link: int) -> tuple[str, ...]:
        """The command line of its process; ``link`` is the file descriptor of its socket to the worker.

        ``-P``: nothing in the current folder hides a module of ours or of Python's.
        """
        program = (sys.executable, "-P", "-m")
        if self.url is not None:  # which may have a password in it, and ``ps`` shows command lines
            return (*program, f"{__package__}.url_handler", str(link))
        module, what = ("exec_handler", self.command) if self.function is None else ("python_handler", self.function)
        assert what is not None
        return (*program, f"{__package__}.{module}", str(link), what)

    def variables(self) -> dict[str, str]:
        """The environment of its process."""
        asked = self.environment if self.url is None else (*self.environment, SECRET_VARIABLE)
        variables = _secrets_of_files(asked) | handler_environment(config.environment(), asked)
        return variables if self.url is None else variables | {URL_VARIABLE: self.url}


def handler_environment(environment: Mapping[str, str], asked: Iterable[str] = ()) -> dict[str, str]:
    """The variables that a handler gets; ``asked``: names or patterns of secrets that it gets too, ``*`` for all."""
    wanted = tuple(asked)
    return {name: value for name, value in environment.items() if not _matches(name, SECRETS) or _matches(name, wanted)}


def _secrets_of_files(asked: Iterable[str]) -> dict[str, str]:
    """What is asked for by its variable, and stands in a file instead."""
    configured, wanted = config.current(), tuple(asked)
    secrets = [one for one in SETTINGS.values() if one.mask is not None and _matches(one.variable, wanted)]
    found = {setting.variable: configured.find(setting) for setting in secrets}
    return {variable: one.raw for variable, one in found.items() if one and one.raw and isinstance(one.raw, str)}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
