"""The command tree."""

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any

import typer

from wa_sessions.cli.meant import Root

_COMMANDS = {
    "run": ("run.run", "wa-sessions run 77051234567 --on-message shop.inbox:take"),
    "add": ("phones.add", "wa-sessions add '+7 705 123-45-67' --org 1 --name Reception"),
    "assign": ("phones.assign", "wa-sessions assign 77051234567 neonize"),
    "rename": ("phones.rename", "wa-sessions rename 77051234567 'Front desk'"),
    "stats": ("stats.stats", "wa-sessions stats 77051234567 --json"),
    "sessions": ("stats.sessions", "wa-sessions sessions --org 1 --unhealthy"),
    "workers": ("workers.workers", "wa-sessions workers --json"),
    "drain": ("workers.drain", "wa-sessions drain msg1/4711"),
    "move": ("workers.move", "wa-sessions move 77051234567 --to msg2/815"),
    "check": ("check.check", "wa-sessions check --all --freshness 5m"),
    "top": ("top.top", "wa-sessions top --org 1"),
    "errors": ("errors.errors", "wa-sessions errors 77051234567 --since 1h"),
    "timeline": ("timeline.timeline", "wa-sessions timeline 77051234567 --since 7d"),
    "report": ("report.report", "wa-sessions report --since 7d --html report.html"),
    "metrics": ("metrics.metrics", "wa-sessions metrics --textfile /var/lib/node_exporter/wa_sessions.prom"),
    "logs": ("logs.logs", "wa-sessions logs --pm2 messenger-backend"),
    "keys": ("keys.keys", "wa-sessions keys 77051234567 --list --type session"),
    "send": ("control.send", "wa-sessions send 77051234567 77057654321 'The parcel is here'"),
    "restart": ("control.restart", "wa-sessions restart 77051234567"),
    "relink": ("control.relink", "wa-sessions relink 77051234567"),
    "qr": ("qr.qr", "wa-sessions qr 77051234567 --watch"),
    "clean-app-state": ("repair.clean_app_state", "wa-sessions clean-app-state 77051234567 1"),
    "clean-sessions": ("repair.clean_sessions", "wa-sessions clean-sessions 77051234567 --peer 77057654321"),
    "force-close": ("repair.force_close", "wa-sessions force-close 77051234567 --logout --reason 'hangs' --yes"),
    "reset-status": ("repair.reset_status", "wa-sessions reset-status 77051234567 disconnected"),
    "remove": ("repair.remove", "wa-sessions remove 77051234567 --dry-run"),
    "operations": ("history.operations", "wa-sessions operations 77051234567 --since 7d"),
    "restore": ("history.restore", "wa-sessions restore op-20260115-7f3k9q"),
    "adopt": ("takeover.adopt", "wa-sessions adopt 77051234567 --process-stopped"),
    "return": ("takeover.give_back", "wa-sessions return 77051234567"),
    "export": ("transfer.export", "wa-sessions export 77051234567 phone.age --recipients-file recipients.txt"),
    "import": ("transfer.import_", "wa-sessions import phone.age --identity key.txt"),
    "backup": ("backup.backup", "wa-sessions backup all phones.age --recipients-file recipients.txt"),
    "backup-key": ("backup.backup_key", "wa-sessions backup-key backup-key.txt"),
    "unlink": ("unlink.unlink", "wa-sessions unlink op-20260115-7f3k9q"),
    "demo": ("demo.demo", "wa-sessions demo --json"),
    "completion": ("completion.completion", "wa-sessions completion bash"),
}
"""Module and function of each command, and an example, in the order of the help."""

_HELP = "Keep WhatsApp sessions alive: see Bad MAC and Bad Decrypt, mend with the least damage, undo every deletion."
_GROUPS = {"db": "db.app", "quarantine": "history.app", "alerts": "alerts.app", "inbox": "inbox.app"}
_WITHOUT_ARGUMENTS = frozenset(
    {"run", "sessions", "workers", "check", "top", "errors", "report", "metrics", "operations", "demo"}
)


def tree(words: Iterable[str] = ()) -> typer.Typer:
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
    first = next(iter(words), "")
    for name in [first] if first in _COMMANDS else _COMMANDS:
        place, example = _COMMANDS[name]
        alone = name not in _WITHOUT_ARGUMENTS
        app.command(name, epilog=f"Example: {example}", no_args_is_help=alone)(_named(place))
    if first not in _COMMANDS:
        for name, place in _GROUPS.items():
            app.add_typer(_named(place), name=name)
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
    module, _, name = place.partition(".")
    return getattr(import_module(f"wa_sessions.cli.{module}"), name)


def __getattr__(name: str) -> typer.Typer:
    """``app`` is the whole tree."""
    if name == "app":
        return tree()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
