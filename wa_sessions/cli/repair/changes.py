"""``clean-app-state``, ``clean-sessions``, ``force-close``, ``reset-status`` and ``remove``: what changes phones."""

from typing import TYPE_CHECKING, Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.changing import How, RepairView, because, perform
from wa_sessions.cli.options import (
    ChangeOptions,
    NodeOptions,
    OrganizationArgument,
    PhoneOrAll,
    ResultOptions,
    ScopeOptions,
    one_organization,
    phone_or_all,
)
from wa_sessions.errors import UsageError

if TYPE_CHECKING:
    from wa_sessions.actions.connection import Opened
    from wa_sessions.actions.repair.repairs import Repair
    from wa_sessions.keys.phone_ref import PhoneRef


def clean_app_state(
    phone: PhoneOrAll,
    organization: OrganizationArgument = None,
    *,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Take the sync keys too, as the old script did: read the warning.")
    ] = False,
    node: NodeOptions,
    options: ChangeOptions,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Mend Bad Decrypt: the app state syncs anew. Its versions go to quarantine.
    \f
    The sync keys stay. A worker that runs the phone closes its connection, takes the versions and connects again. A
    `baileys` phone needs its Node process stopped meanwhile, unless its status is known to mean that nothing runs it
    (`disconnected`, `logged_out`, `pending`).

    JSON: `operation` (null where nothing was taken), `matched` (rows selected before), `quarantined`, `left` (selected
    rows that are still there), `by_type`, `dry_run`, `undo` (the command), `phones` (for each `phone_id`, `phone`,
    `organization_id`, `status`, `matched`, `quarantined`, `left`, `by_type`, `worker_id`), `failed` (`phone_id`,
    `phone`, `error`); for one phone its fields stand beside these too. Of many phones those that cannot be changed are
    left as they are, and the exit code is 1.

    Exit: 0 (also where there was nothing to take), 1 (no schema, a right is missing, the stop command failed or hung,
    or the start command did, after the result; no answer from the worker in 30 s), 2 (two organizations, a `waba`
    phone), 3, 4, 5 (a connected `baileys` phone), 6.

    Replaces: `node scripts/clean-app-state.js <number> <orgId>`, which took the sync keys too.
    """
    from wa_sessions.actions.repair import repairs

    how = How.of(options, result, node)
    change = repairs.clean_app_state(with_keys=with_keys, **because(options.reason))
    if with_keys:
        terminal.say(repairs.KEYS_WARNING)
    with terminal.opened(where.database_url) as opened:
        _repair(opened, change, phone_or_all(phone), one_organization(organization, where.org), how)


def clean_sessions(
    phone: PhoneOrAll,
    organization: OrganizationArgument = None,
    *,
    peer: Annotated[
        str | None, typer.Option("--peer", metavar="NUMBER|LID", help="Only with this peer, all its devices.")
    ] = None,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Take the pre-keys too, as the old recipe did: read the warning.")
    ] = False,
    node: NodeOptions,
    options: ChangeOptions,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Mend Bad MAC: sessions go to quarantine. With --peer those of one peer alone.
    \f
    With `--peer` the sessions with all devices of one peer, under its number and its LID, and that peer's sender keys
    in groups. Without it all sessions and sender keys, and the memory of who holds ours (`sender-key-memory`), or the
    groups would not be sent the new one. Identity keys and creds always stay; pre-keys go with `--recipe` alone.

    JSON: as of `clean-app-state`.

    Exit: as of `clean-app-state`.

    Replaces: `DELETE FROM "BaileysAuth" … "key" LIKE 'session-%' OR "key" LIKE 'pre-key-%' OR "key" LIKE
    'sender-key-%'`.
    """
    from wa_sessions.actions.repair import repairs

    if peer is not None and recipe:
        raise UsageError("--peer and --recipe exclude each other: pre-keys belong to no peer")
    how = How.of(options, result, node)
    change = repairs.clean_sessions(peer=peer, recipe=recipe, **because(options.reason))
    if peer is None:
        terminal.say(repairs.RECIPE_WARNING if recipe else repairs.BROAD_WARNING)
    with terminal.opened(where.database_url) as opened:
        _repair(opened, change, phone_or_all(phone), one_organization(organization, where.org), how)


def force_close(
    phone: PhoneOrAll,
    *,
    logout: Annotated[
        bool, typer.Option("--logout", help="Put all its keys into quarantine too; a new QR is needed then.")
    ] = False,
    node: NodeOptions,
    options: ChangeOptions,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Close a session until run or restart. Its WebSocket is closed, counters are cleared, keys are kept.
    \f
    Status `disconnected`; with `--logout` `logged_out`, and nothing is unlinked at WhatsApp. Its worker does it; where
    none runs the phone, the database part is done here. Nobody but the Node process can close the session of a
    `baileys` phone, so that has to be stopped meanwhile.

    JSON: as of `clean-app-state`, and of each phone `keys`, which is `quarantined`. `operation` is null without
    `--logout`; `undo` then is the command that connects again.

    Exit: as of `clean-app-state`.

    Replaces: `DELETE FROM "BaileysAuth" WHERE "phoneJid" = '<number>'` and `UPDATE "OrganizationPhone" SET status =
    'logged_out' WHERE "phoneJid" LIKE '<number>%'` (with `--logout`), and `forceCloseSession`.
    """
    from wa_sessions.actions.repair import repairs

    how = How.of(options, result, node)
    change = repairs.force_close(logout=logout, **because(options.reason))
    with terminal.opened(where.database_url) as opened:
        _repair(opened, change, phone_or_all(phone), where.org, how)


def reset_status(
    phone: PhoneOrAll,
    status: Annotated[
        str,
        typer.Argument(metavar="STATUS", help="pending, loading, connected, reconnecting, disconnected, logged_out."),
    ],
    *,
    force: Annotated[bool, typer.Option("--force", help="Set another status than these.")] = False,
    options: ChangeOptions,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Set a phone's status in the database. Its QR is cleared, unless the status is pending.
    \f
    Nothing else changes: no key, no connection. A phone that a worker runs is refused, as that writes the status
    itself. The Node backend reads the status when it starts.

    JSON: as of `clean-app-state`; `matched`, `quarantined` and `left` are 0.

    Exit: 0, 1 (no schema, a right is missing), 2 (no such status, two organizations), 3, 4, 5 (a worker runs it), 6.

    Replaces: `UPDATE "OrganizationPhone" SET status = … WHERE "phoneJid" LIKE '<number>%'`.
    """
    from wa_sessions.actions.repair import repairs

    how = How.of(options, result)
    change = repairs.reset_status(status, force=force, **because(options.reason))
    with terminal.opened(where.database_url) as opened:
        _repair(opened, change, phone_or_all(phone), where.org, how)


def remove(
    phone: PhoneOrAll,
    *,
    options: ChangeOptions,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Remove a phone made with add. Its row and all its keys go to quarantine.
    \f
    For databases without the Node backend: phones of the backend are refused, and so are phones that other tables
    refer to. Nothing is unlinked at WhatsApp.

    JSON: as of `clean-app-state`; the phone's own row counts as a key of the type `phone`.

    Exit: 0, 1 (no schema, a right is missing), 2 (other tables refer to phones), 3, 4, 5 (a worker runs it, or it is
    the Node backend's), 6.

    Replaces: `DELETE FROM "OrganizationPhone"` by hand.
    """
    from wa_sessions.actions.repair import repairs

    how = How.of(options, result)
    change = repairs.remove(**because(options.reason))
    with terminal.opened(where.database_url) as opened:
        _repair(opened, change, phone_or_all(phone), where.org, how)


def _repair(opened: "Opened", change: "Repair", who: "PhoneRef | None", organization: int | None, how: How) -> None:
    from wa_sessions.actions.engine.plan import Scope

    perform(opened, change, Scope(who, organization), how, RepairView(change))
