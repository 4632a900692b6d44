"""``quarantine purge``: old keys in quarantine go for good."""

from typing import Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.configured import Group
from wa_sessions.cli.options import DryRun, ResultOptions, ScopeOptions, Yes, age
from wa_sessions.wording import counted

app = typer.Typer(
    cls=Group,
    help="Look after the keys in quarantine.",
    epilog="Example: wa-sessions quarantine purge --older-than 14d",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("purge", epilog="Example: wa-sessions quarantine purge --older-than 14d --yes", no_args_is_help=True)
def purge(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="14d", help="Only what went to quarantine before: 12h, 14d, 8w.")
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Delete old keys in quarantine for good. The history keeps their operations.
    \f
    What is purged cannot be undone any more. For cron: `wa-sessions quarantine purge --older-than 14d --yes`. With
    `--org` only the keys of that organization's phones.

    JSON: `operation` (null), `matched` (keys that are old enough), `purged`, `quarantined` (0), `left` (keys that stay
    in quarantine), `operations` (ids), `dry_run`, `undo` (null).

    Exit: 0 (also where nothing is that old), 1 (no schema, a right is missing), 2, 4, 6.
    """
    output, oldest = result.chosen, age(older_than)
    from wa_sessions.actions.repair import history

    with terminal.opened(where.database_url) as opened:
        found = history.purgeable(opened, oldest, where.org)
        keys = sum(count for _, count in found)
        if found and not dry_run:
            of = counted(len(found), "operation")
            question = f"Delete {counted(keys, 'quarantined key')} of {of} for good?"
            terminal.confirm(question, yes=yes)
        with terminal.progress("operations") as progress:
            purged, left = history.purge(
                opened, [id_ for id_, _ in found], where.org, dry_run=dry_run, progress=progress
            )
    data = {
        "operation": None,
        "matched": keys,
        "purged": purged,
        "quarantined": 0,
        "left": left,
        "operations": [id_ for id_, _ in found],
        "dry_run": dry_run,
        "undo": None,
    }
    would = "would be " if dry_run else ""
    what = f"{counted(purged, 'key')} of {counted(len(found), 'operation')}"
    line = f"{what} {would}deleted for good, {left} left in quarantine"
    terminal.show(output, data, [line] + (["nothing was changed"] if dry_run else []))
