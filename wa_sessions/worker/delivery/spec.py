"""Which handler the operator named, and which environment it gets."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from wa_sessions.errors import UsageError

_OURS = "WA_SESSIONS"

SECRETS = (
    "DATABASE_URL",
    "PG*",
    f"{_OURS}_*_URL",
    f"{_OURS}_ALERT_*",
    f"{_OURS}_*SECRET*",
    f"{_OURS}_*TOKEN*",
    f"{_OURS}_*PASSWORD*",
    f"{_OURS}_*IDENTITY*",
)
"""Names, as patterns of the shell, of variables that a handler gets only if the operator asks for them."""


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """A handler: ``function`` (``module:function``) or ``command``, one of them.

    ``environment``: names or patterns of secret variables that it gets too, ``*`` for all.
    """

    function: str | None = None
    command: str | None = None
    environment: tuple[str, ...] = ()

    @classmethod
    def named(
        cls, function: str | None, command: str | None, environment: tuple[str, ...] = ()
    ) -> "HandlerSpec | None":
        """What the options say, None if they name no handler. Raises UsageError if they name two."""
        if function is not None and command is not None:
            raise UsageError("--on-message and --on-message-exec exclude each other")
        return None if function is None and command is None else cls(function, command, environment)

    @property
    def option(self) -> str:
        """How the operator named it, for messages."""
        return f"--on-message {self.function}" if self.function is not None else "--on-message-exec"

    def program(self, link: int) -> tuple[str, ...]:
        """The command line of its process; ``link`` is the file descriptor of its socket to the worker.

        ``-P``: nothing in the current folder hides a module of ours or of Python's.
        """
        module, what = ("exec_handler", self.command) if self.function is None else ("python_handler", self.function)
        assert what is not None
        return (sys.executable, "-P", "-m", f"{__package__}.{module}", str(link), what)

    def variables(self) -> dict[str, str]:
        """The environment of its process."""
        return handler_environment(os.environ, self.environment)


def handler_environment(environment: Mapping[str, str], asked: Iterable[str] = ()) -> dict[str, str]:
    """The variables that a handler gets; ``asked``: names or patterns of secrets that it gets too, ``*`` for all."""
    wanted = tuple(asked)
    return {name: value for name, value in environment.items() if not _matches(name, SECRETS) or _matches(name, wanted)}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
