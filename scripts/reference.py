"""Writes docs/reference/commands.md from the commands themselves: their help, and the rest of their docstrings."""

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wa_sessions.cli.app import root
from wa_sessions.cli.commands import COMMANDS, GROUPS

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "commands.md"
_HEAD = """# Commands

Made by `make docs` from the commands themselves. What is the same for all of them stands on a page of its own:
[words and options](README.md#words-and-options), [exit codes](README.md#exit-codes),
[settings](settings.md).

These options mean the same wherever they stand. `--config` and `--profile` belong to all commands, and may stand
before them; of the others each command names those that it takes, below the table of its own.
"""
SHARED_BY = 8
"""Commands that an option has to stand in, the same in each, to be told of once."""


OF_ALL = ("`--config`", "`-P`, `--profile`")
"""Those of all commands."""


def page() -> str:
    """The whole page."""
    command = root()
    groups = {heading: dict(_below(command, "wa-sessions", list(names))) for heading, names in GROUPS.items()}
    shared = _shared([command for found in groups.values() for command in found.values()])
    contents = [line for heading, found in groups.items() for line in _contents(heading, found)]
    sections = [part for heading, found in groups.items() for part in _sections(heading, found, shared)]
    return "\n".join([_HEAD, _table(shared), "", *contents, *sections])


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and group by its whole name, in the order of the help."""
    yield from _below(root(), "wa-sessions", list(COMMANDS))


def told(command: Any) -> tuple[str, str]:
    """A command's help, and what its docstring says after the form feed."""
    text, _, more = inspect.cleandoc(command.help or "").partition("\f")
    return text.strip(), more.strip()


def _below(command: Any, name: str, words: list[str]) -> Iterator[tuple[str, Any]]:
    for word in words:
        below = command.commands[word]
        yield f"{name} {word}", below
        if hasattr(below, "commands"):
            yield from _below(below, f"{name} {word}", list(below.commands))


def _contents(heading: str, found: dict[str, Any]) -> list[str]:
    links = [f"- [`{name}`](#{name.replace(' ', '-')}): {_summary(command)}" for name, command in found.items()]
    return [f"**{heading}**", "", *links, ""]


def _sections(heading: str, found: dict[str, Any], shared: list[str]) -> list[str]:
    return [f"## {heading}\n", *(_section(name, command, shared) for name, command in found.items())]


def _shared(commands: list[Any]) -> list[str]:
    """The options that stand in many commands, those in the most first."""
    counted = Counter(row for command in commands if not hasattr(command, "commands") for row in _rows(command))
    return [row for row, count in counted.most_common() if count >= SHARED_BY and row.startswith("| `-")]


def _summary(command: Any) -> str:
    return re.split(r"(?<=\.)\s", told(command)[0], maxsplit=1)[0]


def _section(name: str, command: Any, shared: list[str]) -> str:
    text, more = told(command)
    parts = [f"### `{name}`", f"```sh\n{_usage(name, command)}\n```", text]
    if not hasattr(command, "commands"):
        rows = _rows(command)
        own = [row for row in rows if row not in shared]
        names = [flag for row in shared if row in rows and (flag := _flags(row)) not in OF_ALL]
        parts += [_table(own)] if own else []
        parts += [f"{'And' if own else 'It takes'} {', '.join(names)}."] if names else []
    parts += [re.sub(r"^Example: (.*)$", r"Example: `\1`", command.epilog or ""), more]
    return "\n\n".join(part for part in parts if part) + "\n"


def _flags(row: str) -> str:
    """An option's names in a row, without what it takes."""
    return ", ".join(f"`{name}`" for name in re.findall(r"--?[a-zA-Z-]+", row.split("` |")[0]))


def _table(rows: list[str]) -> str:
    return "\n".join(["| argument or option | default | meaning |", "| --- | --- | --- |", *rows])


def _rows(command: Any) -> list[str]:
    return [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]


def _usage(name: str, command: Any) -> str:
    if hasattr(command, "commands"):
        return f"{name} COMMAND"
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = ["[OPTIONS]"] if len(arguments) < len(command.params) else []
    return " ".join([name, *options, *map(_argument, arguments)])


def _argument(parameter: Any) -> str:
    """As in a usage line: optional ones in brackets."""
    metavar = parameter.metavar or parameter.name.upper()
    many = "..." if parameter.nargs == -1 and "..." not in metavar else ""
    return f"{metavar}{many}" if parameter.required or "[" in metavar else f"[{metavar}]{many}"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = _argument(parameter)
    else:
        names = " ".join([", ".join([*parameter.opts, *parameter.secondary_opts]), *_takes(parameter)])
    bounds = [_bounds(parameter.type), f"Else `{parameter.envvar}`." if parameter.envvar else ""]
    meaning = " ".join(part for part in (parameter.help or "", *bounds) if part)
    return f"| `{_cell(names)}` | {_cell(_default(parameter))} | {_cell(meaning)} |"


def _takes(option: Any) -> list[str]:
    """What stands after an option's name; nothing after a flag."""
    if option.is_flag:
        return []
    choices = getattr(option.type, "choices", None)
    return [option.metavar or ("|".join(map(str, choices)) if choices else option.type.name.upper())]


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, False, [], ()) else f"`{parameter.default}`"


def _bounds(kind: Any) -> str:
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    if least is None and most is None:
        return ""
    if most is None:
        return f"At least {least}."
    return f"At most {most}." if least is None else f"{least} to {most}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
