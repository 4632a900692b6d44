"""The command tree."""

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from wa_sessions.cli.commands import COMMANDS
from wa_sessions.cli.configured import Command, unfolded, words_of_command
from wa_sessions.cli.meant import Root

_HELP = "Keep WhatsApp sessions alive: see Bad MAC and Bad Decrypt, mend with the least damage, undo every deletion."
_WITHOUT_ARGUMENTS = frozenset(
    {"run", "sessions", "workers", "check", "top", "errors", "report", "metrics", "operations", "demo"}
)


def tree(words: Sequence[str] = ()) -> typer.Typer:
    """All commands; or the one alone with which ``words`` begin, so that only its module is imported."""
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
    first = next(iter(words_of_command(words)), "")
    for name in [first] if first in COMMANDS else COMMANDS:
        place, example = COMMANDS[name]
        if example is None:
            app.add_typer(_named(place), name=name)
        else:
            alone = name not in _WITHOUT_ARGUMENTS
            app.command(name, epilog=f"Example: {example}", no_args_is_help=alone)(_named(place))
    for group in (app, *(info.typer_instance for info in app.registered_groups)):
        for info in group.registered_commands if group else ():
            info.cls = Command if info.cls in (None, TyperCommand) else info.cls
            if info.callback and not hasattr(info.callback, "settings"):
                info.callback = unfolded(info.callback)
    return app


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


def __getattr__(name: str) -> typer.Typer:
    """``app`` is the whole tree."""
    if name == "app":
        return tree()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
