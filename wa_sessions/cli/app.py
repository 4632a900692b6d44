"""The command tree, and what was meant by a word that is no command, or that a command does not take."""

from collections import UserDict
from importlib import import_module
from typing import Annotated, Any

import typer.main
from typer.core import TyperCommand

from wa_sessions.cli.commands import COMMANDS, GROUPS
from wa_sessions.cli.configured import Command, Group, unfolded

_HELP = "Keep WhatsApp sessions alive: see Bad MAC and Bad Decrypt, mend with the least damage, undo every deletion."
_WITHOUT_ARGUMENTS = frozenset(
    {"run", "sessions", "workers", "check", "top", "errors", "report", "metrics", "operations", "demo"}
)


_OTHER_WORDS = {
    "close": ("force-close",),
    "delete": ("remove",),
    "help": ("--help",),
    "history": ("timeline", "operations"),
    "list": ("sessions",),
    "ls": ("sessions",),
    "messages": ("inbox",),
    "phones": ("sessions",),
    "profiles": ("config show",),
    "ps": ("workers", "sessions"),
    "settings": ("config show",),
    "start": ("run", "restart"),
    "status": ("stats",),
    "stop": ("drain", "force-close"),
    "undo": ("restore",),
    "version": ("--version",),
}
"""By words of other programs: commands and options of ours."""

_OF_ALL_PHONES = frozenset({"wa-sessions sessions", "wa-sessions top", "wa-sessions workers"})


class Root(Group):
    """All commands, in their groups; of a word that is none it says what it may mean."""

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write each group under its heading."""
        widest = max(map(len, COMMANDS))
        for heading, group in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), summary) for name, (_, _, summary) in group.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names."""
        word = args[0]
        if word in _OTHER_WORDS and word not in self.commands:
            choices = " or ".join(f"'wa-sessions {one}'" for one in _OTHER_WORDS[word])
            ctx.fail(f"No such command '{word}'. Did you mean {choices}?")
        return super().resolve_command(ctx, args)


def with_way_on(message: str, command: str) -> str:
    """Click's complaint about a ``command``, and where to go with a phone that it does not take."""
    if command in _OF_ALL_PHONES and "extra argument" in message:
        return f"{message}; of one phone: wa-sessions stats PHONE"
    return message


def root() -> Root:
    """The command ``wa-sessions``; each below it is imported on its first use, so that their list needs none."""
    app = typer.Typer(
        name="wa-sessions",
        cls=Root,
        help=_HELP,
        epilog="Start here: wa-sessions add 77051234567 --org 1, then wa-sessions run 77051234567",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    command = typer.main.get_command(app)
    assert isinstance(command, Root)
    command.commands = _Commands(dict.fromkeys(COMMANDS))
    return command


class _Commands(UserDict[str, Any]):
    """Every command by its name, made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            self.data[name] = _made(name)
        return self.data[name]


def _made(name: str) -> Any:
    place, example, _ = COMMANDS[name]
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    if example is None:
        app.add_typer(_named(place), name=name)
    else:
        app.command(name, epilog=f"Example: {example}", no_args_is_help=name not in _WITHOUT_ARGUMENTS)(_named(place))
    for group in (app, *(info.typer_instance for info in app.registered_groups)):
        for info in group.registered_commands if group else ():
            info.cls = Command if info.cls in (None, TyperCommand) else info.cls
            if info.callback and not hasattr(info.callback, "settings"):
                info.callback = unfolded(info.callback)
    return typer.main.get_group(app).commands[name]


def _version(asked: bool) -> None:  # noqa: FBT001  # typer calls it
    if asked:
        from importlib.metadata import version

        typer.echo(f"wa-sessions {version('wa-sessions')}")
        raise typer.Exit


def _root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _named(place: str) -> Any:
    module, _, name = place.rpartition(".")
    return getattr(import_module(f"wa_sessions.cli.{module}"), name)
