"""``unlink``: a closed session's place among the phone's linked devices."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.changing import How, failure, perform
from wa_sessions.cli.options import (
    DryRun,
    Output,
    ResultOptions,
    ScopeOptions,
    Yes,
)
from wa_sessions.errors import WaSessionsError
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.engine.plan import Changed
    from wa_sessions.actions.repair.unlink import UnlinkedDevice, UnlinkedPhone, UnlinkPlan

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
    `undo` (null), `devices`, each with `phone_id`, `phone`, `device`, `unlinked`, `already`, `error`, and `failed`
    (phones that were used meanwhile: `phone_id`, `phone`, `error`). TSV has a row for each device.

    Exit: 0, 1 (no such operation, nothing to unlink, the device is in use; WhatsApp cannot be reached or refuses, then
    it can be done again), 4 (also: neonize cannot use the database), 6.
    """
    how = How(dry_run, yes, result.chosen)
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.actions.repair.unlink import Unlink

    change = Unlink(operation, connects=not dry_run, store_url=store_url)
    with terminal.opened(where.database_url) as opened:
        perform(opened, change, Scope(None, where.org), how, UnlinkView(), then=_raise_failed)


class UnlinkView:
    """Of devices that are unlinked."""

    def question(self, planned: "UnlinkPlan") -> str:
        """What an operator is asked before it is made."""
        self._say_left_out(planned)
        devices = [device for item in planned.items for device in item.target.devices]
        first, phones = devices[0], counted(len(planned.items), "phone")
        what = f"the device {first.jid} (organization {first.organization_id})"
        if len(devices) > 1:
            what = f"{len(devices)} devices of {phones}, the first {first.jid},"
        operation = planned.items[0].target.operation
        return f"Unlink {what} at WhatsApp for good? {operation} cannot be restored afterwards."

    def show(self, changed: "Changed[UnlinkedPhone]", planned: "UnlinkPlan", how: How) -> None:
        """What became of them."""
        if how.dry_run:
            self._say_left_out(planned)
        operation, ends = planned.items[0].target.operation, _ends(changed)
        if how.output is Output.TSV:
            rows = [{"operation": operation, "dry_run": changed.dry_run} | _row(end) for end in ends]
            terminal.write(*terminal.tsv(rows, _COLUMNS))
        else:
            lines = [_line(end, dry_run=changed.dry_run) for end in ends if not end.error]
            terminal.show(how.output, _data(operation, changed), lines)

    def _say_left_out(self, planned: "UnlinkPlan") -> None:
        if planned.others:
            terminal.say(
                f"left out: Baileys devices of {planned.items[0].target.operation}, {len(planned.others)} in number; "
                "remove them on their phones, under Linked devices"
            )


def _ends(changed: "Changed[UnlinkedPhone]") -> "list[UnlinkedDevice]":
    return [end for phone in changed.phones for end in phone.devices]


def _data(operation: str, changed: "Changed[UnlinkedPhone]") -> dict[str, Any]:
    rows = [_row(end) for end in _ends(changed)]
    one = rows[0] if len(rows) == 1 else dict.fromkeys(("phone_id", "phone", "device"))
    return {
        "operation": operation,
        "phone_id": one["phone_id"],
        "phone": one["phone"],
        "device": one["device"],
        "unlinked": not changed.failed and all(row["unlinked"] for row in rows),
        "already": not changed.failed and all(row["already"] for row in rows),
        "matched": 0,
        "quarantined": 0,
        "left": 0,
        "dry_run": changed.dry_run,
        "undo": None,
        "devices": rows,
        "failed": [one.as_dict() for one in changed.failed],
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


def _raise_failed(changed: "Changed[UnlinkedPhone]", _how: How) -> None:
    """Raise what kept devices from being unlinked; they can be tried again."""
    ends = _ends(changed)
    failed = [end for end in ends if end.error]
    if not failed:
        return
    first = failed[0]
    which = first.device.jid
    if len(ends) > 1:
        which = f"{len(failed)} of {len(ends)} devices, the first {which},"
    verb = "was" if len(failed) == 1 else "were"
    command = f"wa-sessions unlink {changed.phones[0].operation}"
    again = f"try again with {command}, or remove it on the phone under Linked devices"
    error = WaSessionsError(f"{which} {verb} not unlinked: {first.error}; {again}")
    terminal.raise_each(error, failure(changed.failed, len(changed.phones), "phones"))
