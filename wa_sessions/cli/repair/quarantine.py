"""``quarantine purge``: old keys in quarantine go for good."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.changing import How, perform
from wa_sessions.cli.configured import Group
from wa_sessions.cli.options import DryRun, ResultOptions, ScopeOptions, Yes, age
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.connection import Opened
    from wa_sessions.actions.engine.plan import Changed
    from wa_sessions.actions.repair.purge import PurgedOperation, PurgePlan

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
    how, oldest = How(dry_run, yes, result.chosen), age(older_than)
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.actions.repair.purge import Purge

    with terminal.opened(where.database_url) as opened:
        change = Purge.of(opened, oldest, where.org)
        perform(opened, change, Scope(None, where.org), how, PurgeView(opened))


@dataclass(frozen=True, slots=True)
class PurgeView:
    """Of keys that go for good."""

    opened: "Opened"

    def question(self, planned: "PurgePlan") -> str:
        """What an operator is asked before it is made."""
        of = counted(len(planned.items), "operation")
        return f"Delete {counted(planned.keys, 'quarantined key')} of {of} for good?"

    def show(self, changed: "Changed[PurgedOperation]", planned: "PurgePlan", how: How) -> None:
        """What went, and what is left."""
        from wa_sessions.actions.repair.purge import kept_keys

        purged, gone = changed.taken.matched, {one.id for one in changed.phones}
        left = kept_keys(self.opened, planned.scope.organization_id) - (purged if changed.dry_run else 0)
        data = {
            "operation": None,
            "matched": planned.keys,
            "purged": purged,
            "quarantined": 0,
            "left": left,
            "operations": [item.target.id for item in planned.items if item.target.id in gone],
            "dry_run": changed.dry_run,
            "undo": None,
        }
        would = "would be " if changed.dry_run else ""
        what = f"{counted(purged, 'key')} of {counted(len(gone), 'operation')}"
        line = f"{what} {would}deleted for good, {left} left in quarantine"
        terminal.show(how.output, data, [line] + (["nothing was changed"] if changed.dry_run else []))
