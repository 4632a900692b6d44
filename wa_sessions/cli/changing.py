"""Planning a change with its operator, carrying it out as it was confirmed, and showing what was done."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from wa_sessions.cli import terminal
from wa_sessions.cli.options import ChangeOptions, NodeOptions, Output, ResultOptions
from wa_sessions.cli.table import Column, table
from wa_sessions.errors import WaSessionsError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.connection import Opened
    from wa_sessions.actions.engine.plan import Change, Changed, Failed, Plan, Scope
    from wa_sessions.actions.node_process import NodeProcess
    from wa_sessions.actions.repair.repairs import ChangedPhone, Repair, Repaired, RepairPlan
    from wa_sessions.db.quarantine import QuarantineResult

_COLUMNS = (
    Column("PHONE"),
    Column("ORG", right=True, drops=1),
    Column("STATUS"),
    Column("MATCHED", right=True, drops=2),
    Column("QUARANTINED", right=True),
    Column("LEFT", right=True),
)

LONGEST_REASON = 500
IN_MEMORY = "it does not know of the change yet"


@dataclass(frozen=True, slots=True)
class How:
    """How a change is to be made and shown."""

    dry_run: bool
    yes: bool
    output: Output
    node: "NodeProcess | None" = None
    process_stopped: bool = False

    @classmethod
    def of(cls, options: ChangeOptions, result: ResultOptions, node: NodeOptions | None = None) -> Self:
        """As the options say. Raises UsageError for options that contradict each other."""
        process = node.process() if node else None
        return cls(options.dry_run, options.yes, result.chosen, process, node is not None and node.process_stopped)

    @property
    def stopped(self) -> bool:
        """Whether the Node process does not run, or will not."""
        return self.process_stopped or self.node is not None


P = TypeVar("P", contravariant=True)
C = TypeVar("C", contravariant=True)


class View(Protocol, Generic[P, C]):
    """What is asked before a change, and how its outcome is shown."""

    def question(self, planned: P) -> str | None: ...

    def show(self, changed: C, planned: P, how: How) -> None: ...


def perform(
    opened: "Opened",
    change: "Change[Any, Any, Any]",
    scope: "Scope",
    how: How,
    view: View[Any, Any],
    *,
    within: "Callable[[Plan[Any, Any, Any]], AbstractContextManager[None]]" = lambda _planned: nullcontext(),
    then: "Callable[[Changed[Any], How], None]" = lambda _changed, _how: None,
) -> None:
    """Plan, ask, carry out and show a change; ``then`` says what is next, where some were changed.

    ``within`` is entered while it is carried out.

    Raises NotConfirmed, what those raise, and what failed.
    """
    from wa_sessions.actions.engine.carry_out import carry_out, needs_stop, plan

    planned = plan(opened, change, scope, process_stopped=how.stopped or how.dry_run)
    confirm(planned, view.question, how)
    with terminal.progress(change.called, wanted=planned.everyone) as progress, within(planned):
        changed = carry_out(opened, planned, node=how.node, dry_run=how.dry_run, progress=progress)
    view.show(changed, planned, how)
    if changed.phones and not how.dry_run:
        then(changed, how)
    if how.dry_run and not how.stopped and needs_stop(opened, planned):
        terminal.say(
            "while its Node process runs this is refused: add --stop-command and --start-command, or stop it and add "
            "--process-stopped"
        )
    terminal.raise_each(failure(changed.failed, len(changed.phones), change.called), changed.down)


def confirm(planned: "Plan[Any, Any, Any]", question: "Callable[[Any], str | None]", how: How) -> None:
    """Ask what a plan needs. Raises NotConfirmed; where every phone that is meant was refused, the first refusal."""
    if how.dry_run:
        return
    if not planned.items and (refused := failure(planned.failed, 0, planned.change.called)):
        raise refused
    if planned.needless or (asked := question(planned)) is None:
        return
    asked += f" {len(planned.failed)} stay as they are." if planned.failed else ""
    if planned.everyone and len(planned.items) > 1:
        terminal.confirm_count(asked, len(planned.items), yes=how.yes)
    else:
        terminal.confirm(asked, yes=how.yes)


def failure(failed: "Sequence[Failed]", done: int, called: str) -> WaSessionsError | None:
    """What is raised for those that stay as they are: where none was changed, the first's error, else a failure."""
    if not failed:
        return None
    first, count = failed[0], len(failed)
    more = f" (and {count - 1} more)" if count > 1 else ""
    text = first.why if count + done == 1 else f"{count} of {count + done} {called} stay as they are: {first.why}{more}"
    if done:
        return WaSessionsError(text)
    first.error.args = (text,)
    return first.error


def because(reason: str | None) -> dict[str, str]:
    """The reason that was given, for a change that has one of its own."""
    text = " ".join((reason or "").split())[:LONGEST_REASON]
    return {"reason": text} if text else {}


@dataclass(frozen=True, slots=True)
class RepairView:
    """Of the changes that take keys and set statuses."""

    change: "Repair"

    def question(self, planned: "RepairPlan") -> str:
        """What an operator is asked before it is made."""
        by_worker = sum(1 for item in planned.items if item.owner)
        if planned.everyone:
            organization = planned.scope.organization_id
            where = f" of organization {organization}" if organization is not None else ""
            subject = counted(len(planned.items), "phone") + where
            workers = f" {by_worker} of them are changed by their workers." if by_worker else ""
        else:
            phone = planned.items[0].phone
            subject = f"{phone.number} (organization {phone.organization_id})"
            workers = " Its worker does it." if by_worker else ""
        its = "its" if len(planned.items) == 1 else "their"
        return f"{_action(self.change, planned.keys, subject, its=its)}?{workers}"

    def show(self, changed: "Repaired", planned: "RepairPlan", how: How) -> None:
        """What was done, and what to do next."""
        parts = [_fields(part) for part in changed.phones]
        undo = _undo(changed, self.change, planned)
        match how.output:
            case Output.JSON:
                one = parts[0] if parts and not planned.everyone else {}
                terminal.write(terminal.as_json(one | totals(changed, undo) | {"phones": parts}))
            case Output.TSV:
                names = ["operation", "dry_run", *_NAMES]
                rows = [{"operation": changed.operation, "dry_run": changed.dry_run, **part} for part in parts]
                terminal.write(*terminal.tsv(rows, names))
            case Output.TABLE:
                terminal.write(*_lines(changed, self.change, planned, undo))
        stopped_by_us = how.node and self.change.stops_node(planned.items)
        if not changed.dry_run and not stopped_by_us and _in_node(changed, self.change):
            verb = "start the Node process again" if how.process_stopped else "restart the Node process"
            terminal.say(f"{verb}: {IN_MEMORY}")

    def outcome(self, changed: "Repaired", planned: "RepairPlan") -> list[str]:
        """What was done, as lines for a person, and the command that undoes it."""
        lines = list(_lines(changed, self.change, planned, _undo(changed, self.change, planned)))
        in_node = _in_node(changed, self.change)
        return [*lines, f"restart the Node process: {IN_MEMORY}"] if in_node else lines


def totals(changed: "Changed[Any]", undo: str | None) -> dict[str, Any]:
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
        "failed": [one.as_dict() for one in changed.failed],
    }


def _action(change: "Repair", keys: int, subject: str, *, its: str) -> str:
    match change.action:
        case "clean_app_state":
            return f"Put {counted(keys, 'app-state key')} of {subject} into quarantine"
        case "force_close" if change.selection is not None:
            return f"Close {subject} and put all {its} keys ({keys}) into quarantine"
        case "force_close":
            return f"Close {subject} and keep {its} keys"
        case "reset_status":
            return f"Set the status of {subject} to {change.status}"
        case "remove":
            return f"Remove {subject} and put {its} {counted(keys, 'key')} into quarantine"
        case _:
            return f"Put {counted(keys, 'key')} of {subject} into quarantine"


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


def _undo(changed: "Repaired", change: "Repair", planned: "RepairPlan") -> str | None:
    if changed.dry_run:
        return None
    if changed.operation:
        return f"wa-sessions restore {changed.operation}"
    if change.action == "force_close" and not planned.everyone and change.selection is None:
        [part] = changed.phones
        verb = "restart" if part.worker_id else "run"
        return (
            f"wa-sessions {verb} {part.phone.number}" if part.phone.connection_type == ConnectionType.NEONIZE else None
        )
    return None


def _lines(changed: "Repaired", change: "Repair", planned: "RepairPlan", undo: str | None) -> Iterator[str]:
    dry = changed.dry_run
    if planned.everyone:
        rows = [
            tuple(map(str, (p.phone.number, p.phone.organization_id, p.status, *_counts(p.taken))))
            for p in changed.phones
        ]
        if rows:
            yield from table(_COLUMNS, rows, terminal.table_width(), [None] * len(_COLUMNS))
        yield f"{counted(len(rows), 'phone')}: {_taken(change, changed.taken, dry=dry)}"
    else:
        for part in changed.phones:
            status = f"status {'would be ' if dry else ''}{terminal.plain(part.status)}, " if change.status else ""
            yield f"{part.phone.number}: {status}{_taken(change, part.taken, dry=dry)}"
            for kind, keys in sorted(part.taken.by_type.items(), key=lambda item: (-item[1], item[0])):
                yield f"  {keys:>7}  {kind}"
    if dry:
        yield "nothing was changed"
        return
    if undo:
        yield f"undo: {undo}"
    if change.action == "force_close" and changed.operation and not planned.everyone:
        yield from _new_qr(changed.phones[0])


def _new_qr(part: "ChangedPhone") -> Iterator[str]:
    if part.phone.connection_type == ConnectionType.NEONIZE:
        yield f"or, with a new QR: wa-sessions {'relink' if part.worker_id else 'run'} {part.phone.number}"


def _taken(change: "Repair", taken: "QuarantineResult", *, dry: bool) -> str:
    if change.selection is None:
        return "keys kept"
    if not taken.matched:
        return "no keys to take"
    matched, quarantined, left = _counts(taken)
    return (
        f"{counted(matched, 'key')} matched, {quarantined} {'would go' if dry else 'went'} to quarantine, {left} left"
    )


def _counts(taken: "QuarantineResult") -> tuple[int, int, int]:
    return taken.matched, taken.quarantined, taken.left


def _in_node(changed: "Repaired", change: "Repair") -> bool:
    """Whether something was changed that a Node process may have in memory."""
    return any(
        part.phone.connection_type == ConnectionType.BAILEYS and (change.status or part.taken.quarantined)
        for part in changed.phones
    )
