"""``send``, ``restart``, ``relink``, ``force-close`` and ``restore``: what is asked of a session."""

from typing import TYPE_CHECKING, Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    DatabaseUrl,
    DryRun,
    Json,
    Organization,
    Output,
    OutputOption,
    PhoneArgument,
    ProcessStopped,
    Yes,
    chosen,
)
from wa_sessions.keys.phone_ref import parse_phone

if TYPE_CHECKING:
    from wa_sessions.actions.force_close import Closed


def send(
    phone: PhoneArgument,
    to: Annotated[str, typer.Argument(help="A number in any spelling, or a group's JID.")],
    text: Annotated[str, typer.Argument(help="What to write, in quotes.")],
    *,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Send a text message. A worker has to run the phone's session."""
    output, ref = chosen(output, json=json), parse_phone(phone)
    from wa_sessions.actions.send import send_text

    with terminal.opened(database_url) as opened:
        sent = send_text(opened, ref, org, to, text)
    data = {"phone_id": sent.phone.id, "phone": sent.phone.number, "to": sent.to, "message_id": sent.message_id}
    terminal.show(output, data, [f"sent to {sent.to}: message {terminal.plain(sent.message_id)}"])


def restart(
    phone: PhoneArgument,
    *,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Connect a session anew. Whatever had ended it: replaced, refused, force-closed."""
    output, ref = chosen(output, json=json), parse_phone(phone)
    from wa_sessions.actions.restart import restart as action

    with terminal.opened(database_url) as opened:
        done = action(opened, ref, org)
    doing = "has no keys: its worker shows a QR" if done.pairing else "connects anew"
    data = {"phone_id": done.phone.id, "phone": done.phone.number, "pairing": done.pairing}
    terminal.show(output, data, [f"{done.phone.number} {doing}; watch it: wa-sessions stats {done.phone.number}"])


def relink(
    phone: PhoneArgument,
    *,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show QR codes again. For a phone without keys, for another pairing window."""
    output, ref = chosen(output, json=json), parse_phone(phone)
    from wa_sessions.actions.relink import relink as action

    with terminal.opened(database_url) as opened:
        found = action(opened, ref, org)
    lines = [f'{found.number} shows a QR now: in its worker\'s terminal, and raw in "OrganizationPhone"."qrCode"']
    terminal.show(output, {"phone_id": found.id, "phone": found.number, "pairing": True}, lines)


def force_close(
    phone: PhoneArgument,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="For the history.")] = "closed by an operator",
    logout: Annotated[
        bool, typer.Option("--logout", help="Put all its keys into quarantine too; a new QR is needed then.")
    ] = False,
    process_stopped: ProcessStopped = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Close a session until run or restart. Its WebSocket is closed, counters are cleared, keys are kept."""
    output, ref = chosen(output, json=json), parse_phone(phone)
    from wa_sessions.actions import force_close as action

    with terminal.opened(database_url) as opened:
        found, owner = action.check(opened, ref, org, process_stopped=process_stopped)
        keys = "put all its keys into quarantine" if logout else "keep its keys"
        by = "" if owner else " in the database, as no worker runs it,"
        question = f"Close {found.number} (organization {found.organization_id}){by} and {keys}?"
        terminal.confirm(question, yes=yes or dry_run)
        closed = action.force_close(
            opened, ref, org, reason=reason, logout=logout, process_stopped=process_stopped, dry_run=dry_run
        )
    data = {
        "phone_id": closed.phone.id,
        "phone": closed.phone.number,
        "status": closed.status,
        "operation": closed.operation,
        "keys": closed.keys,
        "worker_id": str(closed.worker_id) if closed.worker_id else None,
        "dry_run": closed.dry_run,
    }
    terminal.show(output, data, _closing_lines(closed))
    if closed.node_restart and not closed.dry_run:
        terminal.say("start the Node process again, so that it forgets what it has of this session in memory")


def _closing_lines(closed: "Closed") -> list[str]:
    number = closed.phone.number
    if closed.dry_run:
        return [
            f"would close {number}: status {closed.status}, {closed.keys} keys into quarantine; nothing was changed"
        ]
    lines = [f"closed {number}: status {closed.status}"]
    if closed.operation:
        lines += [f"{closed.keys} keys are in quarantine; undo: wa-sessions restore {closed.operation}"]
    elif closed.status == "logged_out":
        lines += ["it had no keys"]
    if closed.phone.connection_type == "neonize" and closed.operation:
        lines += [f"or, with a new QR: wa-sessions {'relink' if closed.worker_id else 'run'} {number}"]
    elif closed.phone.connection_type == "neonize":
        verb = "restart" if closed.worker_id else "run"
        lines += [f"to connect again: wa-sessions {verb} {number}"]
    return lines


def restore(
    operation: Annotated[str, typer.Argument(help="The id that was printed by what took keys.")],
    *,
    process_stopped: ProcessStopped = False,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring back the keys that an operation took. Byte for byte, and nothing newer is overwritten."""
    output = chosen(output, json=json)
    from wa_sessions.actions.restore import restore as action

    with terminal.opened(database_url) as opened:
        done = action(opened, operation, process_stopped=process_stopped)
    data = {
        "operation": done.operation,
        "phone_id": done.phone.id,
        "phone": done.phone.number,
        "keys": done.keys,
        "counts": done.counts,
        "worker_id": str(done.worker_id) if done.worker_id else None,
    }
    if done.worker_id:
        following = f"its worker connects with them: wa-sessions stats {done.phone.number}"
    elif done.phone.connection_type == "neonize":
        following = f"next: wa-sessions run {done.phone.number}"
    else:
        following = "next: start the Node backend again"
    terminal.show(output, data, [f"brought {done.keys} keys of {done.phone.number} back", following])
