"""``restore``: undoing an operation, or bringing phones back from a backup."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.changing import How, perform
from wa_sessions.cli.move.backup import IdentityFiles, bring_back
from wa_sessions.cli.options import DryRun, NodeOptions, Overwrite, ResultOptions, ScopeOptions, Yes
from wa_sessions.errors import UsageError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.engine.plan import Changed
    from wa_sessions.actions.repair.restore import Restored, RestoredPhone, RestorePlan


def restore(
    operation: Annotated[
        str | None, typer.Argument(metavar="[OPERATION]", help="The id that was printed by what took keys.")
    ] = None,
    *,
    file: Annotated[str | None, typer.Option("--file", metavar="FILE", help="Restore from a backup instead.")] = None,
    phone: Annotated[str | None, typer.Option("--phone", metavar="PHONE", help="Only this phone.")] = None,
    identity: IdentityFiles = None,
    overwrite: Overwrite = False,
    node_options: NodeOptions,
    dry_run: DryRun = False,
    yes: Yes = False,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Undo an operation. Its keys come back byte for byte, with the phone's status.
    \f
    It refuses to overwrite newer rows, while a newer pairing of the phone exists, and where the phone's row has another
    number since; `--overwrite` puts what stands there into quarantine, under an operation of its own. Keys that went on
    since, as from a backup or another machine, stay in quarantine too, and those of the side (Node backend or our
    worker) that the phone has left since: neither comes back with `--overwrite` once `adopt`, `return`, `export` or
    `import` has moved them. A worker that runs the phone does it, and connects with the keys. An operation that
    somebody has restored already is left alone.

    With `--file` keys come from a backup (`wa-sessions backup`), for phones that are there. The whole file is read
    before anything is changed: a cut, damaged or foreign one changes nothing. Present keys go to quarantine first, as
    one operation; all phones of the file change in one transaction. It refuses a backup older than the phone's last
    connection, as older keys would not decrypt what comes now, and while a newer pairing stands, each unless
    `--overwrite`; phones that a worker runs; and keys of the side that a phone has left since: `return` or `adopt` it
    first, or where it has no keys any more, `assign` it. Phones of which the file has no session are left alone
    (`skipped`). `--identity` (or `WA_SESSIONS_BACKUP_IDENTITY`) names the file of an age or OpenSSH key.

    Of many phones those that cannot be restored are left as they are, and named. `--phone` and `--org` restore a part.

    JSON: `operation`, `phone_id`, `phone`, `status` and `worker_id` (where it was one phone), `keys`, `counts` (rows by
    table), `already` (it was restored before), `matched`, `quarantined` (rows that were overwritten), `left`,
    `dry_run`, `undo` (null where nothing was overwritten), `phones`, `failed` (`phone_id`, `phone`, `error`). With
    `--file`: `operation`, `matched`, `quarantined`, `left`, `restored`, `skipped`, `dry_run`, `undo`, `file`,
    `made_at`, `phones` (each with `phone_id`, `phone`, `organization_id`, `status`, `matched`, `quarantined`, `left`,
    `restored`).

    Exit: 0, 1 (unknown operation, a conflict, purged, unlinked, no answer in 30 s, a backup that cannot be read), 2, 3
    (its phone is gone), 4, 5 (a connected `baileys` phone), 6 (a backup, or `--overwrite`, not confirmed).
    """

    how = How(dry_run, yes, result.chosen, node_options.process(), node_options.process_stopped)
    if (operation is None) == (file is None):
        raise UsageError("name one: an operation, as in op-20260115-7f3k9q, or --file FILE")
    if file is not None:
        bring_back(Path(file), phone, identity or [], overwrite=overwrite, where=where, how=how)
        return
    if identity:
        raise UsageError("--identity goes with --file: quarantine is not encrypted")
    ref = parse_phone(phone) if phone is not None else None
    assert operation is not None
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.actions.repair.restore import Restore

    change = Restore(operation, overwrite)
    with terminal.opened(where.database_url) as opened:
        perform(opened, change, Scope(ref, where.org), how, RestoreView(operation, overwrite))


@dataclass(frozen=True, slots=True)
class RestoreView:
    """Of an operation that is undone."""

    operation: str
    overwrite: bool

    def question(self, _planned: "RestorePlan") -> str | None:
        """What is asked where something newer may stand there."""
        if not self.overwrite:
            return None
        return f"Restore {self.operation}, and put what stands in its place into quarantine?"

    def show(self, changed: "Changed[RestoredPhone]", _planned: "RestorePlan", how: How) -> None:
        """What came back."""
        from wa_sessions.actions.repair.restore import Restored

        done = Restored.of(changed, self.operation.strip())
        terminal.show(how.output, _restored(done), _restored_lines(done))


def _restored(done: "Restored") -> dict[str, Any]:
    parts = [
        {
            "phone_id": part.phone_id,
            "phone": part.number,
            "keys": sum(part.counts.values()),
            "counts": part.counts,
            "overwritten": part.overwritten,
            "status": part.status,
            "worker_id": str(part.worker_id) if part.worker_id else None,
        }
        for part in done.phones
    ]
    one = {name: parts[0][name] for name in ("phone_id", "phone", "status", "worker_id")} if len(parts) == 1 else {}
    return one | {
        "operation": done.operation,
        "keys": done.keys,
        "counts": done.counts,
        "already": done.already,
        "matched": done.overwritten,
        "quarantined": done.overwritten,
        "left": 0,
        "dry_run": done.dry_run,
        "undo": f"wa-sessions restore {done.overwrite} --overwrite" if done.overwrite else None,
        "phones": parts,
        "failed": [one.as_dict() for one in done.failed],
    }


def _restored_lines(done: "Restored") -> list[str]:
    if done.already:
        return [f"{done.operation} was restored already: nothing was changed"]
    if not done.phones:
        return []
    subject = done.phones[0].number if len(done.phones) == 1 else f"{len(done.phones)} phones"
    if done.keys:
        lines = [f"{'would bring' if done.dry_run else 'brought'} {counted(done.keys, 'key')} of {subject} back"]
    else:
        lines = [
            f"{subject}: status {'would be ' if done.dry_run else ''}{terminal.plain(done.phones[0].status)} again"
        ]
    if done.overwritten:
        lines += [f"{done.overwritten} newer keys {'would go' if done.dry_run else 'went'} to quarantine"]
    if done.dry_run:
        return [*lines, "nothing was changed"]
    if done.overwrite:
        lines += [f"undo: wa-sessions restore {done.overwrite} --overwrite"]
    for part in done.phones[:1]:
        if part.worker_id:
            lines += [f"its worker connects with them: wa-sessions stats {part.number}"]
        elif part.connection_type == ConnectionType.NEONIZE:
            lines += [f"next: wa-sessions run {part.number}"]
        else:
            lines += ["next: start the Node backend again"]
    return lines
