"""Planning a change with its operator, making it, and showing what was done."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wa_sessions.cli import terminal
from wa_sessions.cli.options import Output
from wa_sessions.cli.table import Column, table
from wa_sessions.errors import WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.wording.numbers import counted

if TYPE_CHECKING:
    from wa_sessions.actions.connection import Opened
    from wa_sessions.actions.engine.changes import Change, Changed, ChangedPhone, Plan
    from wa_sessions.actions.node_process import NodeProcess
    from wa_sessions.db.quarantine import Taken

_COLUMNS = (
    Column("PHONE"),
    Column("ORG", right=True, drops=1),
    Column("STATUS"),
    Column("MATCHED", right=True, drops=2),
    Column("QUARANTINED", right=True),
    Column("LEFT", right=True),
)

IN_MEMORY = "it does not know of the change yet"


@dataclass(frozen=True, slots=True)
class How:
    """How a change is to be made and shown."""

    dry_run: bool
    yes: bool
    output: Output
    node: "NodeProcess | None" = None
    process_stopped: bool = False


def perform(opened: "Opened", change: "Change", who: PhoneRef | None, organization: int | None, how: How) -> None:
    """Plan, ask, make and show a change; ``who`` is None for all phones. Raises NotConfirmed, and what those raise."""
    from wa_sessions.actions.engine import changes

    stopped = how.process_stopped or how.node is not None
    planned = changes.plan(opened, change, who, organization, process_stopped=stopped or how.dry_run)
    touched = planned.touched
    needless = change.status is None and not change.removes_phone and not planned.keys
    if not (how.dry_run or needless):
        if planned.everyone:
            terminal.confirm_count(question(planned), len(touched), yes=how.yes)
        else:
            terminal.confirm(question(planned), yes=how.yes)
    with terminal.progress("phones", wanted=planned.everyone) as progress:
        changed = changes.carry_out(opened, planned, node=how.node, dry_run=how.dry_run, progress=progress)
    _show(changed, change, planned, how)
    if how.dry_run and not stopped and changes.needs_stop(opened, planned):
        terminal.say(
            "while its Node process runs this is refused: add --stop-command and --start-command, or stop it and add "
            "--process-stopped"
        )
    terminal.raise_each(WaSessionsError(_failures(changed)) if changed.failed else None, changed.down)


def question(planned: "Plan") -> str:
    """What an operator is asked before it is made."""
    touched = planned.touched
    by_worker = sum(1 for one in touched if one.owner)
    if planned.everyone:
        subject = f"{len(touched)} phones"
        workers = f" {by_worker} of them are changed by their workers." if by_worker else ""
    else:
        phone = touched[0].phone
        subject = f"{phone.number} (organization {phone.organization_id})"
        workers = " Its worker does it." if by_worker else ""
    return f"{_deed(planned.change, planned.keys, subject)}?{workers}"


def _deed(change: "Change", keys: int, subject: str) -> str:
    match change.action:
        case "clean_app_state":
            return f"Put {keys} app-state keys of {subject} into quarantine"
        case "force_close" if change.selection is not None:
            return f"Close {subject} and put all its keys ({keys}) into quarantine"
        case "force_close":
            return f"Close {subject} and keep its keys"
        case "reset_status":
            return f"Set the status of {subject} to {change.status}"
        case "remove":
            return f"Remove {subject} and put its {keys} keys into quarantine"
        case _:
            return f"Put {keys} keys of {subject} into quarantine"


def _show(changed: "Changed", change: "Change", planned: "Plan", how: How) -> None:
    parts = [_fields(part) for part in changed.phones]
    undo = _undo(changed, change, planned)
    match how.output:
        case Output.JSON:
            one = parts[0] if parts and not planned.everyone else {}
            terminal.write(terminal.as_json(one | _totals(changed, undo) | {"phones": parts}))
        case Output.TSV:
            names = ["operation", "dry_run", *_NAMES]
            rows = [{"operation": changed.operation, "dry_run": changed.dry_run, **part} for part in parts]
            terminal.write(*terminal.tsv(rows, names))
        case Output.TABLE:
            terminal.write(*_lines(changed, change, planned, undo))
    if not changed.dry_run and not (how.node and planned.touches_node) and _in_node(changed, change):
        verb = "start the Node process again" if how.process_stopped else "restart the Node process"
        terminal.say(f"{verb}: {IN_MEMORY}")


def outcome(changed: "Changed", change: "Change", planned: "Plan") -> list[str]:
    """What was done, as lines for a person, and the command that undoes it."""
    lines = list(_lines(changed, change, planned, _undo(changed, change, planned)))
    return [*lines, f"restart the Node process: {IN_MEMORY}"] if _in_node(changed, change) else lines


_NAMES = (
    *("phone_id", "phone", "organization_id", "status", "matched", "quarantined", "left", "by_type", "worker_id"),
    "keys",
)


def _fields(part: "ChangedPhone") -> dict[str, Any]:
    values = (
        *(part.phone.id, part.phone.number, part.phone.organization_id, part.status),
        *(part.taken.matched, part.taken.quarantined, part.taken.left, part.taken.by_type),
        *(str(part.worker_id) if part.worker_id else None, part.taken.quarantined),
    )
    return dict(zip(_NAMES, values, strict=True))


def _totals(changed: "Changed", undo: str | None) -> dict[str, Any]:
    """The fields that every destructive command has."""
    taken = changed.taken
    return {
        "operation": changed.operation,
        "matched": taken.matched,
        "quarantined": taken.quarantined,
        "left": taken.left,
        "by_type": taken.by_type,
        "dry_run": changed.dry_run,
        "undo": undo,
        "failed": [{"phone": one.phone.number, "error": str(one.error)} for one in changed.failed],
    }


def _undo(changed: "Changed", change: "Change", planned: "Plan") -> str | None:
    if changed.dry_run:
        return None
    if changed.operation:
        return f"wa-sessions restore {changed.operation}"
    if change.action == "force_close" and not planned.everyone and change.selection is None:
        [part] = changed.phones
        verb = "restart" if part.worker_id else "run"
        return f"wa-sessions {verb} {part.phone.number}" if part.phone.connection_type == "neonize" else None
    return None


def _lines(changed: "Changed", change: "Change", planned: "Plan", undo: str | None) -> Iterator[str]:
    dry = changed.dry_run
    if planned.everyone:
        rows = [
            tuple(map(str, (p.phone.number, p.phone.organization_id, p.status, *_counts(p.taken))))
            for p in changed.phones
        ]
        if rows:
            yield from table(_COLUMNS, rows, terminal.table_width(), [None] * len(_COLUMNS))
        yield f"{counted(len(rows), 'phone')}: {_told(change, changed.taken, dry=dry)}"
    else:
        for part in changed.phones:
            status = f"status {'would be ' if dry else ''}{terminal.plain(part.status)}, " if change.status else ""
            yield f"{part.phone.number}: {status}{_told(change, part.taken, dry=dry)}"
            for kind, keys in sorted(part.taken.by_type.items(), key=lambda item: -item[1]):
                yield f"  {keys:>7}  {kind}"
    if dry:
        yield "nothing was changed"
        return
    if undo:
        yield f"undo: {undo}"
    if change.action == "force_close" and changed.operation and not planned.everyone:
        yield from _new_qr(changed.phones[0])


def _failures(changed: "Changed") -> str:
    first, count = changed.failed[0], len(changed.failed)
    more = f" (and {count - 1} more)" if count > 1 else ""
    return f"{count} of {count + len(changed.phones)} phones were not changed: {first.error}{more}"


def _new_qr(part: "ChangedPhone") -> Iterator[str]:
    if part.phone.connection_type == "neonize":
        yield f"or, with a new QR: wa-sessions {'relink' if part.worker_id else 'run'} {part.phone.number}"


def _told(change: "Change", taken: "Taken", *, dry: bool) -> str:
    if change.selection is None:
        return "keys kept"
    if not taken.matched:
        return "no keys to take"
    matched, quarantined, left = _counts(taken)
    return (
        f"{counted(matched, 'key')} matched, {quarantined} {'would go' if dry else 'went'} to quarantine, {left} left"
    )


def _counts(taken: "Taken") -> tuple[int, int, int]:
    return taken.matched, taken.quarantined, taken.left


def _in_node(changed: "Changed", change: "Change") -> bool:
    """Whether something was changed that a Node process may have in memory."""
    return any(
        part.phone.connection_type == "baileys" and (change.status or part.taken.quarantined) for part in changed.phones
    )
