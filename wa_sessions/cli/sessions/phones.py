"""``add``, ``assign`` and ``rename``: which phones are ours, and what they are called."""

from typing import Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    DatabaseUrl,
    Embedded,
    PhoneArgument,
    ProcessStopped,
    ResultOptions,
    ScopeOptions,
)
from wa_sessions.keys.phone_ref import parse_phone


def add(
    phone: Annotated[str, typer.Argument(metavar="PHONE", help="A number with its country code, in any spelling.")],
    *,
    org: Annotated[int, typer.Option("--org", metavar="N", min=0, help="The organization that it belongs to.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What people call it.")] = None,
    embedded: Embedded = False,
    result: ResultOptions,
    database_url: DatabaseUrl = None,
) -> None:
    """Add a phone, for wa-sessions run to keep connected.
    \f
    A `neonize` phone with status `disconnected`. A number that its country does not have is added with a warning.

    JSON: `phone_id`, `phone`, `organization_id`, `display_name`, `connection_type`, `status`.

    Exit: 0, 1 (no schema), 2 (no number, or there already), 4.

    Replaces: `INSERT INTO "OrganizationPhone" …` by hand.
    """
    output = result.chosen
    from wa_sessions.actions.sessions.add import add_phone, digits_of, tidy_name

    digits_of(phone), tidy_name(name or "")  # before a database is made for it
    with terminal.opened(database_url, may_make=embedded or terminal.at_terminal()) as opened:
        added = add_phone(opened, phone, org, name)
    new = added.phone
    data = {
        "phone_id": new.id,
        "phone": new.number,
        "organization_id": new.organization_id,
        "display_name": new.display_name,
        "connection_type": new.connection_type,
        "status": new.status,
    }
    lines = [
        f"added {new.number} (#{new.id}) to organization {new.organization_id}",
        f"next: wa-sessions run {new.number}",
    ]
    terminal.show(output, data, lines)
    if added.doubt:
        terminal.say(f"is that right? {added.doubt}")


def assign(
    phone: PhoneArgument,
    connection_type: Annotated[str, typer.Argument(metavar="neonize|baileys", help="Who is to run it.")],
    *,
    process_stopped: ProcessStopped = False,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Say who runs a phone. Our worker runs neonize phones, the Node backend baileys phones.
    \f
    Its keys stay where they are, and whoever runs it then asks for a QR; `adopt` and `return` move it without one. A
    worker that runs it lets it go. A phone that the Node process runs is refused unless that is stopped: it would go on
    beside ours.

    JSON: `phone_id`, `phone`, `connection_type`, `connection_type_before`, `changed`.

    Exit: 0, 1 (no schema, a worker that runs it and does not answer), 2 (another type, a `waba` phone, two
    organizations), 3, 4, 5 (its Node process runs, another row of its number is ours).
    """
    output, ref = result.chosen, parse_phone(phone)
    from wa_sessions.actions.sessions.assign import assign as action

    with terminal.opened(where.database_url) as opened:
        done = action(opened, ref, connection_type, where.org, process_stopped=process_stopped)
    data = {
        "phone_id": done.phone.id,
        "phone": done.phone.number,
        "connection_type": done.connection_type,
        "connection_type_before": done.connection_type_before,
        "changed": done.connection_type != done.connection_type_before,
    }
    if data["changed"]:
        line = f"{done.phone.number} is a {done.connection_type} phone now (it was {done.connection_type_before})"
    else:
        line = f"{done.phone.number} is a {done.connection_type} phone already"
    terminal.show(output, data, [line])
    if done.note:
        terminal.say(done.note)


def rename(
    phone: PhoneArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it; '' for no name.")],
    *,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Give a phone another name. Whoever runs it need not be restarted.
    \f
    Up to 200 characters, as with `add`.

    JSON: `phone_id`, `phone`, `display_name`, `display_name_before`.

    Exit: 0, 1 (no schema), 2 (too long a name, two organizations), 3, 4.

    Replaces: `UPDATE "OrganizationPhone" SET "displayName" = …` by hand.
    """
    output, ref = result.chosen, parse_phone(phone)
    from wa_sessions.actions.sessions.rename import rename as action

    with terminal.opened(where.database_url) as opened:
        done = action(opened, ref, name, where.org)
    before = done.phone.display_name
    data = {
        "phone_id": done.phone.id,
        "phone": done.phone.number,
        "display_name": done.display_name,
        "display_name_before": before,
    }
    line = f"{done.phone.number} is called {done.display_name or 'nothing'} (before: {before or 'nothing'})"
    terminal.show(output, data, [terminal.plain(line)])
