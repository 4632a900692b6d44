"""``config``: what is configured, and where it stands."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperOption

from wa_sessions.cli import terminal
from wa_sessions.cli.configured import Command, Group
from wa_sessions.cli.options import Output, ResultOptions
from wa_sessions.cli.table import Column, table
from wa_sessions.config import reading
from wa_sessions.config.table import SETTINGS
from wa_sessions.errors import ExitCode

if TYPE_CHECKING:
    from wa_sessions.actions.setup.configuration import Checked

_MEANT = {
    "show": ("dump", "get", "list", "print", "view"),
    "check": ("lint", "test", "validate"),
    "example": ("init", "new", "template"),
}
_EDITED = ("add", "edit", "rm", "set", "unset")


class _Words(Group):
    """Its commands; of a word that is none it says what it may mean."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names."""
        word = args[0]
        if meant := next((name for name, words in _MEANT.items() if word in words), None):
            ctx.fail(f"No such command '{word}'. Did you mean 'wa-sessions config {meant}'?")
        if word in _EDITED:
            files = " or ".join(map(str, reading.usual_files()))
            ctx.fail(f"No such command '{word}': edit {files}, then 'wa-sessions config check'.")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Words,
    help="See and check the settings.",
    epilog="Example: wa-sessions config show",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_COLUMNS = (Column("SETTING"), Column("VALUE", flexible=True), Column("ORIGIN"))


class _TakesEveryFlag(Command):
    """It takes the option of every setting, so that it shows what a command with that option would have."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        flags = [(name, one.flag) for name, one in SETTINGS.items() if one.flag]
        self.params += [_flag(name, flag) for name, flag in flags]


def _flag(name: str, flag: str) -> TyperOption:
    words = "As of the commands that have it."
    return TyperOption(
        param_decls=[name, flag], multiple=True, hidden=True, expose_value=False, callback=_given, help=words
    )


def _given(context: Any, parameter: Any, values: tuple[str, ...]) -> None:
    if values:
        context.meta.setdefault(_FLAGS, {})[parameter.name] = ",".join(values)


_FLAGS = "wa_sessions.flags"


@app.command("show", cls=_TakesEveryFlag, epilog="Example: wa-sessions config show --json")
def show(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these settings.")] = None,
    *,
    result: ResultOptions,
) -> None:
    """Show every setting with its value, and where that stands. Secrets are masked.
    \f
    Options, variables and files in the order in which they count: [settings](settings.md). It takes the option of every
    setting too, as in `wa-sessions config show --database-url URL`, and reads no database. With `-P NAME` it shows what
    counts in that profile.

    JSON: a list, each with `name`, `value` (null for none; secrets masked), `origin` (`default`, `env NAME`, `flag`, or
    the path of the file).

    Exit: 0, 2 (a value or a file that cannot be used, a profile or a setting that is not there).
    """
    output = result.chosen
    from wa_sessions.actions.setup.configuration import show as action

    rows = [asdict(one) for one in action(context.meta.get(_FLAGS, {}), tuple(names or ()))]
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json(rows))
        case Output.TSV:
            terminal.write(*terminal.tsv(rows, ("name", "value", "origin")))
        case Output.TABLE:
            cells = [(row["name"], _in_cell(row["value"]), row["origin"]) for row in rows]
            terminal.write(*table(_COLUMNS, cells, terminal.table_width(), [None] * len(_COLUMNS)))


@app.command("check", epilog="Example: wa-sessions config check /etc/wa-sessions/config.toml")
def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Which one; else what --config or WA_SESSIONS_CONFIG names.")
    ] = None,
    *,
    result: ResultOptions,
) -> None:
    """Judge a config file. Where none is named, those that are read.
    \f
    Wrong are keys that are no setting (the nearest one is offered), values of another type, a secret that every user of
    the machine can read, and a file that every user can write to. Nothing is changed, and no database is asked.

    JSON: `files`, each with `file`, `settings` (how many it has), `profiles` (their names), `problems` (each with
    `key`, empty for the whole file, and `problem`). TSV has a row for each problem.

    Exit: 0 (also where there is no file), 2 (each problem is one line on stderr).
    """
    output = result.chosen
    from wa_sessions.actions.setup.configuration import check as action

    checked = action(str(file) if file else None)
    rows = [{"file": str(one.file), "key": bad.key, "problem": bad.text} for one in checked for bad in one.problems]
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json({"files": [_fields(one) for one in checked]}))
        case Output.TSV:
            terminal.write(*terminal.tsv(rows, ("file", "key", "problem")))
        case Output.TABLE:
            terminal.write(*[_line(one) for one in checked if not one.problems])
    if not checked:
        terminal.say(f"there is no config file: {' or '.join(map(str, reading.usual_files()))}")
    for row in rows:
        terminal.say(f"{row['file']}: {row['key']}{': ' if row['key'] else ''}{row['problem']}")
    if rows:
        raise typer.Exit(ExitCode.USAGE)


@app.command("example", epilog="Example: wa-sessions config example >config.toml")
def example() -> None:
    """Print a config file that has every setting, each in a comment.
    \f
    `config check` takes it as it is. Take the `#` away before the settings that you want.

    Exit: 0.
    """
    from wa_sessions.actions.setup.configuration import example as action

    terminal.write(action())


def _in_cell(value: Any) -> str:
    match value:
        case None | []:
            return "-"
        case bool():
            return "true" if value else "false"
        case list():
            return terminal.plain(" ".join(value))
        case _:
            return terminal.plain(str(value))


def _fields(checked: "Checked") -> dict[str, Any]:
    problems = [{"key": problem.key, "problem": problem.text} for problem in checked.problems]
    return {
        "file": str(checked.file),
        "settings": checked.settings,
        "profiles": list(checked.profiles),
        "problems": problems,
    }


def _line(checked: "Checked") -> str:
    profiles = f", profiles {', '.join(checked.profiles)}" if checked.profiles else ""
    return f"{checked.file} is right: {checked.settings} setting{'' if checked.settings == 1 else 's'}{profiles}"
