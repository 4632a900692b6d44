"""``send``, ``restart`` and ``relink``: what is asked of a session."""

from typing import Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    PhoneArgument,
    ResultOptions,
    ScopeOptions,
)
from wa_sessions.keys.phone_ref import parse_phone


def send(
    phone: PhoneArgument,
    to: Annotated[str, typer.Argument(metavar="TO", help="A number in any spelling, or a group's JID.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to write, in quotes.")],
    *,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Send a text message. A worker has to run the phone's session.
    \f
    A text has up to 65536 characters.

    JSON: `phone_id`, `phone`, `to`, `message_id`.

    Exit: 0, 1 (no worker, not connected, no answer), 2, 3, 4, 5 (not a `neonize` phone).
    """
    output, ref = result.chosen, parse_phone(phone)
    from wa_sessions.actions.sessions.send import send_text

    with terminal.opened(where.database_url) as opened:
        sent = send_text(opened, ref, where.org, to, text)
    data = {"phone_id": sent.phone.id, "phone": sent.phone.number, "to": sent.to, "message_id": sent.message_id}
    terminal.show(output, data, [f"sent to {sent.to}: message {terminal.plain(sent.message_id)}"])


def restart(
    phone: PhoneArgument,
    *,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Connect a session anew. Whatever had ended it: replaced, refused, force-closed.
    \f
    Without keys it shows a QR.

    JSON: `phone_id`, `phone`, `pairing`.

    Exit: 0, 1 (no worker, or no answer in 20 s), 2, 3, 4, 5 (not a `neonize` phone).

    Replaces: `pm2 restart messenger-backend`, which disconnected every phone to bring one back.
    """
    output, ref = result.chosen, parse_phone(phone)
    from wa_sessions.actions.sessions.restart import restart as action

    with terminal.opened(where.database_url) as opened:
        done = action(opened, ref, where.org)
    doing = "has no keys: its worker shows a QR" if done.pairing else "connects anew"
    data = {"phone_id": done.phone.id, "phone": done.phone.number, "pairing": done.pairing}
    terminal.show(output, data, [f"{done.phone.number} {doing}; watch it: wa-sessions stats {done.phone.number}"])


def relink(
    phone: PhoneArgument,
    *,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Show QR codes again. For a phone without keys, for another pairing window.
    \f
    JSON: `phone_id`, `phone`, `pairing`.

    Exit: 0, 1 (no worker, or no answer in 20 s), 2 (it has its keys still), 3, 4, 5 (not a `neonize` phone).

    Replaces: `pm2 restart messenger-backend` and waiting for a QR in its log.
    """
    output, ref = result.chosen, parse_phone(phone)
    from wa_sessions.actions.sessions.relink import relink as action

    with terminal.opened(where.database_url) as opened:
        found = action(opened, ref, where.org)
    terminal.show(output, {"phone_id": found.id, "phone": found.number, "pairing": True}, [shows_qr(found.number)])


def shows_qr(number: str) -> str:
    """What an operator is told when a phone is to be linked again."""
    return f'{number} shows a QR now: in its worker\'s terminal, and raw in "OrganizationPhone"."qrCode"'
