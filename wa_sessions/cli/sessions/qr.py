"""``qr``: the QR that a phone is to scan."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    Output,
    PhoneArgument,
    ResultOptions,
    ScopeOptions,
)
from wa_sessions.cli.times import iso
from wa_sessions.errors import UsageError, WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef, parse_phone

if TYPE_CHECKING:
    from wa_sessions.actions.connection import Opened
    from wa_sessions.actions.sessions.qr import CurrentQr
    from wa_sessions.cli.sessions.qr_code import Picture

POLL = 1.0  # seconds
_CLEAR = "\x1b[H\x1b[J"
_STALE = "this QR is old and may not scan any more: does what makes it still run?"
_SCAN = "scan this with WhatsApp on the phone, under Linked devices"


def qr(
    phone: PhoneArgument,
    *,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Write a PNG picture instead.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write an SVG picture instead.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it anew whenever it changes, until the phone is connected.")
    ] = False,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Show the QR that a phone is to scan now. Whoever scans it links a device: show it to nobody else.
    \f
    It needs no right but SELECT on the backend's tables. The file has mode 0600 and is replaced whole. A code that is
    older than WhatsApp lets one live is shown with a warning on stderr, and so is one that does not fit the terminal,
    with the lines and columns that it needs. `--watch` looks once a second.

    JSON: `phone_id`, `phone`, `organization_id`, `status`, `qr` (the raw text, null if there is none), `updated_at`,
    `file` (null without `--png` or `--svg`). With `--watch` one object a line, whenever the QR or the status changes.

    Exit: 0 (with `--watch`: connected), 1 (no QR: the line on stderr says what to do), 2, 3, 4, 130 (Ctrl-C).

    Replaces: `pm2 restart messenger-backend`, `pm2 logs messenger-backend`, and waiting for the QR in the log.
    """
    output, ref = result.chosen, parse_phone(phone)
    if png and svg:
        raise UsageError("--png and --svg exclude each other")
    from wa_sessions.actions.sessions.qr import current_qr
    from wa_sessions.cli.sessions.qr_code import Picture

    file = png or svg
    picture = Picture(file, "png" if png else "svg") if file else None
    with terminal.opened(where.database_url) as opened:
        found = current_qr(opened, ref, where.org)
        if watch:
            _watch(opened, found, output, picture)
            return
    _show(found, output, picture)
    if found.why_none:
        raise WaSessionsError(found.why_none)
    if found.stale:
        terminal.say(_STALE)


def _watch(opened: "Opened", found: "CurrentQr", output: Output, picture: "Picture | None") -> None:
    from wa_sessions.actions.sessions.qr import current_qr

    shown: tuple[str | None, str] | None = None
    told: str | None = None
    while True:
        if (seen := (found.code, found.phone.status)) != shown:
            _show(found, output, picture, again=shown is not None, one_line=True)
            shown = seen
        if (word := found.why_none or (_STALE if found.stale else None)) != told:
            told = word
            terminal.say(word) if word else None
        if found.phone.status == "connected" and not found.comes:
            return
        time.sleep(POLL)
        found = current_qr(opened, PhoneRef(phone_id=found.phone.id))


def _show(
    found: "CurrentQr", output: Output, picture: "Picture | None", *, again: bool = False, one_line: bool = False
) -> None:
    """The QR in the form that was asked for; nothing for people where there is none."""
    if picture and found.code:
        picture.write(found.code)
    file = picture.file if picture and found.code else None
    data = _data(found, file)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json(data, indent=None if one_line else 2))
        case Output.TSV:
            terminal.write(*terminal.tsv([data], list(data))[1 if again else 0 :])
        case Output.TABLE if found.code:
            terminal.write(*_lines(found.phone.number, found.code, file, again=again))
            _say_where_it_does_not_fit(found, file)
        case Output.TABLE:
            pass
    if sys.stdout:
        sys.stdout.flush()


def _say_where_it_does_not_fit(found: "CurrentQr", file: Path | None) -> None:
    from wa_sessions.cli.sessions.qr_code import too_large

    if found.code and file is None and (words := too_large(found.code, terminal.room(sys.stdout))):
        sys.stdout.flush()
        terminal.say(words.replace("PHONE", found.phone.number))


def _lines(number: str, code: str, file: Path | None, *, again: bool) -> list[str]:
    if file:
        return [f"{number}: {_SCAN}: {file}"]
    from wa_sessions.cli.sessions.qr_code import drawn

    screen = bool(sys.stdout and sys.stdout.isatty())
    clear = terminal.ours(_CLEAR) if again and screen and not terminal.is_dumb() else ""
    room = terminal.room(sys.stdout)
    return [f"{clear}{number}: {_SCAN}", terminal.ours(drawn(code, terminal=screen, room=room))]


def _data(found: "CurrentQr", file: Path | None) -> dict[str, Any]:
    return {
        "phone_id": found.phone.id,
        "phone": found.phone.number,
        "organization_id": found.phone.organization_id,
        "status": found.phone.status,
        "qr": found.code,
        "updated_at": iso(found.phone.updated_at),
        "file": str(file.absolute()) if file else None,
    }
