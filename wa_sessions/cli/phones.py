"""``add`` and ``assign``: which phones are ours."""

from typing import Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    DatabaseUrl,
    Embedded,
    Json,
    Organization,
    Output,
    OutputOption,
    PhoneArgument,
    chosen,
)
from wa_sessions.keys.phone_ref import parse_phone


def add(
    phone: Annotated[str, typer.Argument(help="A number with its country code, in any spelling.")],
    *,
    org: Annotated[int, typer.Option("--org", metavar="N", min=0, help="The organization that it belongs to.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What people call it.")] = None,
    embedded: Embedded = False,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Add a phone, for wa-sessions run to keep connected."""
    output = chosen(output, json=json)
    from wa_sessions.actions.add import add_phone

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
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say who runs a phone. Our worker runs neonize phones, the Node backend baileys phones."""
    output, ref = chosen(output, json=json), parse_phone(phone)
    from wa_sessions.actions.assign import assign as action

    with terminal.opened(database_url) as opened:
        done = action(opened, ref, connection_type, org)
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
