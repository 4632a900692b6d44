"""The command tree."""

from typing import Annotated

import typer

from wa_sessions.cli import control, db, demo, phones, run, stats

app = typer.Typer(
    name="wa-sessions",
    help="Keep WhatsApp sessions alive: see Bad MAC and Bad Decrypt, mend with the least damage, undo every deletion.",
    epilog="Start here: wa-sessions add 77051234567 --org 1, then wa-sessions run 77051234567",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:  # noqa: FBT001  # typer calls it
    if asked:
        from importlib.metadata import version

        typer.echo(f"wa-sessions {version('wa-sessions')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _command(name: str, function: object, example: str) -> None:
    app.command(name, epilog=f"Example: {example}", no_args_is_help=name not in _WITHOUT_ARGUMENTS)(function)  # type: ignore[type-var]


_WITHOUT_ARGUMENTS = frozenset({"run", "sessions", "demo"})

_command("run", run.run, "wa-sessions run 77051234567 --on-message shop.inbox:take")
_command("add", phones.add, "wa-sessions add '+7 705 123-45-67' --org 1 --name Reception")
_command("assign", phones.assign, "wa-sessions assign 77051234567 neonize")
_command("stats", stats.stats, "wa-sessions stats 77051234567 --json")
_command("sessions", stats.sessions, "wa-sessions sessions --org 1 --status logged_out")
_command("send", control.send, "wa-sessions send 77051234567 77057654321 'The parcel is here'")
_command("restart", control.restart, "wa-sessions restart 77051234567")
_command("relink", control.relink, "wa-sessions relink 77051234567")
_command("force-close", control.force_close, "wa-sessions force-close 77051234567 --logout --reason 'hangs' --yes")
_command("restore", control.restore, "wa-sessions restore op-20260115-7f3k9q")
_command("demo", demo.demo, "wa-sessions demo --json")
app.add_typer(db.app, name="db")
