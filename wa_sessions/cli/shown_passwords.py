"""Passwords in the command line, which everybody on the machine can read."""

import re
from collections.abc import Callable

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import is_typed

_PASSWORD = re.compile(r"://[^\s/@:]*:[^\s/@]+@|\bpassword=", re.IGNORECASE)


def watched(option: str, instead: str) -> Callable[[typer.Context, typer.CallbackParam, str | None], str | None]:
    """The callback of an option whose value is an address: it warns of a password that was given there."""

    def given(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
        if value and is_typed(context, parameter.name or "") and _PASSWORD.search(value):
            terminal.say_password_is_shown(option, instead)
        return value

    return given
