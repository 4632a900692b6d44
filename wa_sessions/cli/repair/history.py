"""``operations``: what was done to phones and their keys."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import Output, ResultOptions, ScopeOptions, age
from wa_sessions.cli.sessions.workers import short_name
from wa_sessions.cli.table import Column, table
from wa_sessions.cli.times import in_column, iso
from wa_sessions.keys.phone_ref import parse_phone

if TYPE_CHECKING:
    from wa_sessions.actions.repair.history import OperationList
    from wa_sessions.db.operations import Operation

_COLUMNS = (
    Column("OPERATION"),
    Column("WHEN (UTC)", drops=4),
    Column("WHAT"),
    Column("PHONE"),
    Column("KEYS", right=True, drops=2),
    Column("BY", flexible=True, drops=1),
    Column("UNDO", drops=3),
)


def operations(
    phone: Annotated[str | None, typer.Argument(metavar="[PHONE]", help="Only those of this phone.")] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")] = 20,
    since: Annotated[str | None, typer.Option("--since", metavar="7d", help="Only newer than that.")] = None,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """List what was done to phones and their keys. When, by whom, why, and whether it can be undone.
    \f
    The newest first. `UNDO` is `yes` where restore has something to bring back, `drain --undo` where a worker, named in
    place of its phones, drains since, else why not.

    JSON: `operations`, each with `operation`, `at`, `action`, `reason`, `actor`, `keys`, `worker` (of a drain, else
    null), `undo` (the command, or null), `restored_at`, `restored_by`, `phones` (each with `phone_id`, `phone`,
    `organization_id`, `keys`, `status_before`, `status_after`, `restored_at`, `unlinked_at`, `purged_at`).

    Exit: 0 (also for none), 1 (no schema), 2, 3, 4.
    """
    output, ref = result.chosen, parse_phone(phone) if phone else None
    oldest = datetime.now(UTC) - age(since) if since else None
    from wa_sessions.actions.repair.history import list_operations

    with terminal.opened(where.database_url) as opened:
        listed = list_operations(opened, ref, where.org, since=oldest, limit=limit)
    match output:
        case Output.JSON:
            terminal.write(
                terminal.as_json({"operations": [_data(one, listed.undo(one)) for one in listed.operations]})
            )
        case Output.TSV:
            terminal.write(*terminal.tsv([_row(one) for one in listed.operations], _NAMES))
        case Output.TABLE:
            terminal.write(*_listed(listed, datetime.now(UTC)))


def _data(one: "Operation", undo: str | None = None) -> dict[str, Any]:
    return {
        "operation": one.id,
        "at": iso(one.at),
        "action": one.action,
        "reason": one.reason,
        "actor": one.actor,
        "keys": one.keys,
        "worker": one.worker,
        "undo": undo,
        "restored_at": iso(_last(one)),
        "restored_by": next((part.restored_by for part in one.phones if part.restored_by), None),
        "phones": [
            {
                "phone_id": part.phone_id,
                "phone": part.number,
                "organization_id": part.organization_id,
                "keys": part.keys,
                "status_before": part.status_before,
                "status_after": part.status_after,
                "restored_at": iso(part.restored_at),
                "unlinked_at": iso(part.unlinked_at),
                "purged_at": iso(part.purged_at),
            }
            for part in one.phones
        ],
    }


_NAMES = ("operation", "at", "action", "phone", "keys", "actor", "reason", "restored_at")


def _row(one: "Operation") -> dict[str, Any]:
    data = _data(one) | {"phone": ",".join(part.number for part in one.phones)}
    return {name: data[name] for name in _NAMES}


def _last(one: "Operation") -> datetime | None:
    """When the last of its phones was restored, once all are."""
    times = [part.restored_at for part in one.phones if part.restored_at]
    return max(times) if one.restored else None


def _listed(listed: "OperationList", now: datetime) -> list[str]:
    if not listed.operations:
        return ["nothing was done yet"]
    rows = [
        (
            one.id,
            in_column(one.at, now),
            one.action.replace("_", " "),
            _subject(one),
            str(one.keys),
            terminal.plain(one.actor),
            _undoable(one, listed.undo(one)),
        )
        for one in listed.operations
    ]
    return table(_COLUMNS, rows, terminal.table_width(), [None] * len(_COLUMNS))


def _subject(one: "Operation") -> str:
    if one.worker is not None:
        return short_name(one.worker)
    return one.phones[0].number if len(one.phones) == 1 else f"{len(one.phones)} phones"


def _undoable(one: "Operation", undo: str | None) -> str:
    from wa_sessions.db.operations import DRAINS, KEYLESS

    if one.action in DRAINS:
        return "drain --undo" if undo else "over"
    if one.action in KEYLESS:
        return "no keys"
    if undo:
        return "yes"
    if one.restored:
        return "undone"
    return "purged" if any(part.purged_at for part in one.phones) else "unlinked"
