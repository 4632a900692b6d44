"""``db``: our own schema, and the embedded server."""

from dataclasses import asdict
from typing import Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.configured import Group
from wa_sessions.cli.options import DatabaseUrl, DryRun, ResultOptions, Yes, age
from wa_sessions.wording import counted

app = typer.Typer(
    cls=Group,
    help="The schema wa_sessions, and the embedded server.",
    epilog="Example: wa-sessions db upgrade",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("status", epilog="Example: wa-sessions db status --json")
def status(*, result: ResultOptions, database_url: DatabaseUrl = None) -> None:
    """Say which database is meant, and how far its schema is.
    \f
    JSON: `database` (password masked), `source`, `embedded`, `backend_tables`, `current` (0: no schema), `latest`,
    `pending`.

    Exit: 0, 4.
    """
    output = result.chosen
    from wa_sessions.actions.setup.migrate import status as action

    with terminal.opened(database_url) as opened:
        found = action(opened)
    state = "up to date" if found.current == found.latest else "to be upgraded: wa-sessions db upgrade"
    if found.current > found.latest:
        state = "newer than this program: upgrade wa-sessions"
    lines = [
        f"database  {found.database} (from {found.source})",
        f"backend   {', '.join(found.backend_tables) or 'none of its tables are here'}",
        f"schema    {found.current or 'none'} of {found.latest}, {state}",
    ]
    terminal.show(output, asdict(found), lines)


@app.command("upgrade", epilog="Example: wa-sessions db upgrade --database-url postgresql://admin@db/messenger")
def upgrade(*, result: ResultOptions, database_url: DatabaseUrl = None) -> None:
    """Make the schema wa_sessions, or bring it up to date. The backend's tables are not touched.
    \f
    An embedded database upgrades by itself.

    JSON: `applied`.

    Exit: 0, 1 (the role may not, or the schema is newer than this program), 4.
    """
    output = result.chosen
    from wa_sessions.actions.setup.migrate import upgrade as action

    with terminal.opened(database_url) as opened:
        applied = action(opened)
    lines = [f"applied {name}" for name in applied] or ["nothing to do: the schema is up to date"]
    terminal.show(output, {"applied": applied}, lines)


@app.command("prune", epilog="Example: wa-sessions db prune --older-than 90d --yes", no_args_is_help=True)
def prune(
    *,
    older_than: Annotated[str, typer.Option("--older-than", metavar="90d", help="At least a day: 36h, 90d, 52w.")],
    dry_run: DryRun = False,
    yes: Yes = False,
    result: ResultOptions,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete old history for good. Entries of the history, ended messages, requests to workers.
    \f
    Operations and keys in quarantine stay: see `quarantine purge`. What went is summed up in one entry
    `history_pruned` a phone; counters of [metrics](../monitoring/README.md#metrics) do not go down. Rows go in
    transactions of 5,000. A worker does the same by itself once a day: `run --keep-history`.

    JSON: `events`, `messages`, `commands` (rows that went, or with `--dry-run` would go), `dry_run`.

    Exit: 0 (also for none), 1 (no schema, the role may not), 2, 4, 6.
    """
    output, limit = result.chosen, age(older_than)
    from wa_sessions.actions.setup import prune as action

    with terminal.opened(database_url) as opened:
        found = action.prunable(opened, limit)
        rows = sum(asdict(found).values())
        if rows and not dry_run:
            terminal.confirm(f"Delete {counted(rows, 'row')} of history older than {older_than} for good?", yes=yes)
            found = action.prune(opened, limit)
    did = "would go" if dry_run else "went"
    entries = f"{found.events} {'entry' if found.events == 1 else 'entries'}"
    line = f"{entries}, {counted(found.messages, 'message')} and {counted(found.commands, 'request')} {did}"
    terminal.show(output, asdict(found) | {"dry_run": dry_run}, [line if rows else "nothing is that old"])


@app.command("stop", epilog="Example: wa-sessions db stop")
def stop(*, result: ResultOptions) -> None:
    """Stop the embedded server. Its data stays, and the next command starts it again.
    \f
    JSON: `stopped`, `folder`.

    Exit: 0 (also if none runs), 5 (a worker uses it).
    """
    output = result.chosen
    from wa_sessions.actions.setup.server import stop as action

    folder = action()
    lines = [f"stopped the embedded server in {folder}" if folder else "no embedded server runs"]
    terminal.show(output, {"stopped": folder is not None, "folder": str(folder) if folder else None}, lines)
