"""Which environment a handler gets: the operator's, without what opens the database or speaks in our name."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

SECRETS = (
    "DATABASE_URL",
    "PG*",
    "WA_SESSIONS_*_URL",
    "WA_SESSIONS_ALERT_*",
    "WA_SESSIONS_*SECRET*",
    "WA_SESSIONS_*TOKEN*",
    "WA_SESSIONS_*PASSWORD*",
    "WA_SESSIONS_*IDENTITY*",
)
"""Names, as patterns of the shell, of variables that a handler gets only if the operator asks for them."""


def handler_environment(environment: Mapping[str, str], asked: Iterable[str] = ()) -> dict[str, str]:
    """The variables that a handler gets; ``asked``: names or patterns of secrets that it gets too, ``*`` for all."""
    wanted = tuple(asked)
    return {name: value for name, value in environment.items() if not _matches(name, SECRETS) or _matches(name, wanted)}


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
