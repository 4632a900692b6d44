"""``keys``: what stands in a phone's key store."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    Output,
    PhoneArgument,
    ResultOptions,
    ScopeOptions,
)
from wa_sessions.cli.table import Column, table
from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.watch.keys import Holder, Keys, Names

PAGE = 100
_COLUMNS = (Column("TYPE"), Column("KEYS", right=True))


def keys(
    phone: PhoneArgument,
    *,
    list_: Annotated[bool, typer.Option("--list", help="List the names of the keys; never their values.")] = False,
    key_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="List only this type.")] = None,
    after: Annotated[str | None, typer.Option("--after", metavar="NAME", help="List what comes after it.")] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, max=1_000_000, help=f"How many names to list; default {PAGE}."),
    ] = None,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Count a phone's auth keys by type, or list their names.
    \f
    Keys of a number that has no row of its own are shown too, with `phone_id` null. A `neonize` phone's keys are its
    rows in whatsmeow's tables, all devices together: what Baileys has no name for keeps whatsmeow's (`contact`,
    `message-secret`, …), and `creds` is the row of a device. A `waba` phone has no keys. Only SELECT on the tables that
    are read is needed, and not our schema.

    JSON: `phone_id`, `phone`, `organization_id`, `store` (`baileys`, `whatsmeow`, null), `total`, `bytes` (of the
    values; in whatsmeow's store of the rows), `by_type` (the most first, no zeros, `other` for unknown names). With
    `--list`: `phone_id`, `phone`, `organization_id`, `store`, `type`, `names`, `next_after` (for `--after`; null on
    the last page).

    Exit: 0 (also for none), 1 (a right is missing), 2 (two organizations, no such type), 3, 4.

    Replaces: `SELECT COUNT(*) FROM "BaileysAuth" WHERE "phoneJid" = '<number>'`, and `SELECT SUBSTRING("key", 1, 20) as
    type, COUNT(*) … GROUP BY type`, which is an error in Postgres.
    """
    output, ref = result.chosen, parse_phone(phone)
    if not list_ and (key_type, after, limit) != (None, None, None):
        raise UsageError("--type, --after and --limit go with --list")
    from wa_sessions.actions.watch import keys as action

    with terminal.opened(where.database_url) as opened:
        if not list_:
            found = action.keys(opened, ref, where.org)
            terminal.show(output, found.as_dict(), _card(found))
            return
        page = limit or PAGE
        names = action.key_names(opened, ref, where.org, key_type=key_type, after=after, limit=page)
    if output is Output.TSV:
        terminal.write(*terminal.tsv([{"name": name} for name in names.names], ["name"]))
    else:
        terminal.show(output, names.as_dict(), _listing(names, page))


def _card(found: "Keys") -> list[str]:
    holder = found.holder
    if holder.store is None:
        return [_title(holder), "  the official API runs it, so it has no keys"]
    if not found.total:
        return [_title(holder), f"  no key in the {holder.store} store"]
    size = f"{found.bytes / 1000:.0f} kB" if found.bytes >= 1000 else f"{found.bytes} bytes"
    summary = f"  {counted(found.total, 'key')} in the {holder.store} store, {size}"
    rows = [(name, str(count)) for name, count in found.by_type.items()]
    return [_title(holder), summary, "", *table(_COLUMNS, rows, terminal.table_width(), [None, None])]


def _title(holder: "Holder") -> str:
    row = f"#{holder.phone_id}" if holder.phone_id is not None else "no row of its own"
    return f"{holder.phone} ({row}, organization {holder.organization_id})"


def _listing(found: "Names", limit: int) -> list[str]:
    lines = [terminal.plain(name) for name in found.names]
    if not lines:
        return ["no keys"]
    if found.next_after is None:
        return lines
    kind = f" --type {found.type}" if found.type else ""
    words = f"{found.holder.phone} --org {found.holder.organization_id} --list{kind} --limit {limit}"
    return [*lines, f"next: wa-sessions keys {words} --after={_quoted(found.next_after)}"]


def _quoted(name: str) -> str:
    """A word for a shell (bash, zsh), whatever bytes it has.

    >>> _quoted("session-1"), _quoted(chr(27) + "'")
    ('session-1', "$'\\\\x1b\\\\x27'")
    """
    if name.isprintable():
        return shlex.quote(name)
    plain = (chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in name.encode())
    return f"$'{''.join(plain)}'"
