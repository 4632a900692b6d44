"""``unlink``: a closed session's place among the phone's linked devices."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    DryRun,
    Output,
    ResultOptions,
    ScopeOptions,
    Yes,
)
from wa_sessions.errors import WaSessionsError

if TYPE_CHECKING:
    from wa_sessions.actions.repair.unlink import Plan, Unlinked, UnlinkedDevice

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store-url",
        metavar="URL",
        help="How neonize reaches this same database, past any pooler; else as wa-sessions does.",
    ),
]
_COLUMNS = ("operation", "phone_id", "phone", "device", "unlinked", "already", "error", "dry_run")


def unlink(
    operation: Annotated[str, typer.Argument(help="The id that was printed by what closed the session.")],
    *,
    store_url: StoreUrl = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Log a closed session's device out at WhatsApp. It frees its place among the phone's linked devices (4).

    It connects once with the keys in quarantine, which are useless afterwards: restore is impossible then.
    \f
    For what a close at a limit or `force-close --logout` has left behind under Linked devices. The keys are copied into
    a schema of their own, `wa_sessions_unlink_…`, which is dropped at the end (one that a killed `unlink` has left is
    dropped by the next), so the role must be allowed to make schemas. The store `whatsmeow` and a newer session of the
    phone are not touched, and no message is handled. A device that was removed on the phone already counts as unlinked.
    Baileys devices are left out: remove them on the phone, under Linked devices. `--dry-run` checks everything and
    connects to nothing. neonize reaches the database as wa-sessions itself does: `WA_SESSIONS_STORE_URL`, which may
    lead through a pooler, is not used.

    JSON: `operation`, `phone_id`, `phone`, `device` (these three null if there are several devices), `unlinked`,
    `already` (somebody had removed it before), `matched`, `quarantined`, `left` (all 0: no key is deleted), `dry_run`,
    `undo` (null), `devices`, each with `phone_id`, `phone`, `device`, `unlinked`, `already`, `error`. TSV has a row for
    each device.

    Exit: 0, 1 (no such operation, nothing to unlink, the device is in use; WhatsApp cannot be reached or refuses, then
    it can be done again), 4 (also: neonize cannot use the database), 6.
    """
    output = result.chosen
    from wa_sessions.actions.repair import unlink as action

    with terminal.opened(where.database_url) as opened:
        planned = action.plan(opened, operation, where.org)
        _confirm(planned, yes=yes or dry_run)
        with terminal.progress("devices") as progress:
            done = action.unlink(opened, operation, where.org, store_url=store_url, dry_run=dry_run, progress=progress)
    if output is Output.TSV:
        rows = [{"operation": done.operation, "dry_run": done.dry_run} | _row(end) for end in done.devices]
        terminal.write(*terminal.tsv(rows, _COLUMNS))
    else:
        terminal.show(output, _data(done), [_line(end, dry_run=done.dry_run) for end in done.devices if not end.error])
    if failed := [end for end in done.devices if end.error]:
        raise WaSessionsError(_failure(done, failed))


def _confirm(planned: "Plan", *, yes: bool) -> None:
    first, count = planned.devices[0], len(planned.devices)
    after = f"{planned.operation} cannot be restored afterwards."
    if planned.baileys:
        terminal.say(
            f"left out: Baileys devices of {planned.operation}, {len(planned.baileys)} in number; "
            "remove them on their phones, under Linked devices"
        )
    if count == 1:
        where = f"{first.jid} (organization {first.organization_id})"
        terminal.confirm(f"Unlink the device {where} at WhatsApp for good? {after}", yes=yes)
    else:
        question = f"Unlink {count} devices, the first {first.jid}, at WhatsApp for good? {after}"
        terminal.confirm_count(question, count, yes=yes)


def _data(done: "Unlinked") -> dict[str, Any]:
    rows = [_row(end) for end in done.devices]
    one = rows[0] if len(rows) == 1 else dict.fromkeys(("phone_id", "phone", "device"))
    return {
        "operation": done.operation,
        "phone_id": one["phone_id"],
        "phone": one["phone"],
        "device": one["device"],
        "unlinked": all(row["unlinked"] for row in rows),
        "already": all(row["already"] for row in rows),
        "matched": 0,
        "quarantined": 0,
        "left": 0,
        "dry_run": done.dry_run,
        "undo": None,
        "devices": rows,
    }


def _row(end: "UnlinkedDevice") -> dict[str, Any]:
    return {
        "phone_id": end.device.phone_id,
        "phone": end.device.number,
        "device": end.device.jid,
        "unlinked": end.unlinked,
        "already": end.already,
        "error": end.error,
    }


def _line(end: "UnlinkedDevice", *, dry_run: bool) -> str:
    if dry_run:
        return f"would unlink {end.device.jid}; nothing was connected or changed"
    if end.already:
        return f"{end.device.jid} was already unlinked at WhatsApp"
    return f"unlinked {end.device.jid}: its place among the linked devices is free"


def _failure(done: "Unlinked", failed: "list[UnlinkedDevice]") -> str:
    first = failed[0]
    which = first.device.jid
    if len(done.devices) > 1:
        which = f"{len(failed)} of {len(done.devices)} devices, the first {which},"
    verb = "was" if len(failed) == 1 else "were"
    again = f"try again with wa-sessions unlink {done.operation}, or remove it on the phone under Linked devices"
    return f"{which} {verb} not unlinked: {first.error}; {again}"
