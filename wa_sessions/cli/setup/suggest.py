"""What the Tab key offers at a place of a command line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from wa_sessions import config
from wa_sessions.cli import terminal
from wa_sessions.cli.app import root
from wa_sessions.cli.setup.completion import FILES
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.key_types import KEY_TYPES

Offer = tuple[str, str]  # a word and what it means

_FILES: Offer = (FILES, "")
_HARMLESS = re.compile(rf"{re.escape(FILES)}|[\w+#@.:=/-]+")
_WORDS: dict[str, tuple[str, ...]] = {
    "status": tuple(Status),
    "connection_type": ("neonize", "baileys"),
    "key_type": KEY_TYPES,
}


@dataclass(slots=True)
class Place:
    """How far a command line has come: its command, what was given to it, and what is still to come."""

    command: Any
    given: dict[str, str] = field(default_factory=dict)
    option: Any = None
    arguments: list[Any] = field(default_factory=list)
    only_arguments: bool = False


def answer(shell: str, words: list[str]) -> str:
    """What a shell is told of the last word, which may be empty: one offer a line."""
    *before, typed = words or [""]
    typed = "" if typed == "=" else typed.lstrip("'\"")  # bash splits --status=connected at the =
    place = reached(before)
    config.begin()
    config.use(file=place.given.get("config_file"), profile=place.given.get("profile"))
    found = [offer for offer in offers(place, typed) if offer[0].startswith(typed) or offer is _FILES]
    harmless = [offer for offer in found if _HARMLESS.fullmatch(offer[0])]  # a shell puts the word in as it is
    return "".join(_line(shell, word, terminal.plain(meaning)) for word, meaning in harmless)


def reached(words: Iterable[str]) -> Place:
    """Where the words lead. Raises KeyError where there is no such command."""
    place = Place(root())
    for word in words:
        if word == "=":
            continue
        if place.option is not None:
            place.given[place.option.name] = word
            place.option = None
        elif word == "--":
            place.only_arguments = True
        elif word.startswith("-") and not place.only_arguments:
            _take_option(place, word)
        elif hasattr(place.command, "commands"):
            place.command = place.command.commands[word]
            place.arguments = [part for part in place.command.params if part.param_type_name == "argument"]
        elif place.arguments:
            _take_argument(place, word)
    return place


def offers(place: Place, typed: str) -> list[Offer]:
    """What can stand there; some of it may not begin with ``typed``."""
    if place.option is not None:
        return _values(place.option, place.given, typed)
    if typed.startswith("-") and not place.only_arguments:
        name, joined, value = typed.partition("=")
        option = _option(place.command, name)
        if joined and option is not None:
            return [(f"{name}={word}", meaning) for word, meaning in _values(option, place.given, value)]
        return [(name, part.help or "") for part in place.command.params for name in part.opts if name.startswith("--")]
    if hasattr(place.command, "commands"):
        return [(name, below.get_short_help_str(80)) for name, below in place.command.commands.items()]
    return _values(place.arguments[0], place.given, typed) if place.arguments else []


def _take_option(place: Place, word: str) -> None:
    name, joined, value = word.partition("=")
    option = _option(place.command, name)
    if option is None or option.is_flag:
        return
    if joined:
        place.given[option.name] = value
    else:
        place.option = option


def _take_argument(place: Place, word: str) -> None:
    argument = place.arguments[0]
    place.given[argument.name] = word
    if argument.nargs == 1:
        del place.arguments[0]


def _option(command: Any, name: str) -> Any:
    options = (part for part in command.params if part.param_type_name == "option")
    return next((part for part in options if name in part.opts), None)


def _values(parameter: Any, given: dict[str, str], typed: str) -> list[Offer]:
    """The words that a parameter takes: by its name, as the same thing is called the same everywhere."""
    from wa_sessions.actions.setup import suggestions

    database_url = given.get("database_url")
    match parameter.name:
        case "phone" | "phones":
            every = [("all", "every phone")] if "all" in (parameter.metavar or "") else []
            return every + suggestions.phones(database_url, typed, given.get("org"))
        case "operation":
            return suggestions.operations(database_url)
        case "worker":
            return suggestions.workers(database_url)
        case _:
            return _choices(parameter)


def _choices(parameter: Any) -> list[Offer]:
    choices = _WORDS.get(parameter.name) or getattr(parameter.type, "choices", ())
    if choices:
        return [(str(choice), "") for choice in choices]
    return [_FILES] if "FILE" in (parameter.metavar or "") or parameter.type.name == "path" else []


def _line(shell: str, word: str, meaning: str) -> str:
    match shell:
        case "zsh":
            return f"{word.replace(':', chr(92) + ':')}:{meaning}\n" if meaning else f"{word}\n"
        case "fish":
            return f"{word}\t{meaning}\n"
        case _:
            return f"{word}\n"
