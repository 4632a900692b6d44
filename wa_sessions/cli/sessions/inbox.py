"""``inbox``: messages that wait for their handler, or were set aside."""

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.configured import Group
from wa_sessions.cli.options import (
    ChangeOptions,
    Output,
    PhoneOrAll,
    ResultOptions,
    ScopeOptions,
    phone_or_all,
)
from wa_sessions.cli.table import Column, table
from wa_sessions.cli.times import due, in_column, iso

if TYPE_CHECKING:
    from wa_sessions.actions.sessions.inbox import InboxChange, InboxListing
    from wa_sessions.db.inbox import Listed, Selected
    from wa_sessions.keys.phone_ref import PhoneRef


class _ListsByDefault(Group):
    """``inbox 77051234567`` is ``inbox list 77051234567``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListsByDefault,
    help="Look after messages that wait for their handler. Without a command it lists them.",
    epilog="Example: wa-sessions inbox list 77051234567 --dead",
    rich_markup_mode=None,
)

_COLUMNS = (
    Column("PHONE"),
    Column("CAME"),
    Column("CHAT", flexible=True),
    Column("MESSAGE", flexible=True),
    Column("TRIED", right=True, drops=3),
    Column("NEXT", drops=4),
    Column("ERROR", flexible=True, drops=2),
    Column("KIND", flexible=True, drops=1),
)
_NAMES = (
    *("phone_id", "phone", "chat", "sender", "message_id", "kind", "received_at", "attempts", "next_at", "error"),
    *("dead_at", "behind"),
)
Dead = Annotated[bool, typer.Option("--dead", help="Only messages that are set aside.")]
Chat = Annotated[str | None, typer.Option("--chat", metavar="JID", help="Only those of this chat.")]
MessageId = Annotated[str | None, typer.Option("--id", metavar="ID", help="Only the message with this id.")]


@app.command("list", epilog="Example: wa-sessions inbox list 77051234567 --dead")
def listing(
    phone: PhoneOrAll = "all",
    *,
    dead: Dead = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """List messages that wait for their handler, or were set aside. The oldest first, and how many there are.
    \f
    `inbox` and `inbox PHONE` mean the same. No text is shown. Why a message waits: its handler
    has not come to it yet, it failed (`NEXT`: when it is tried again), an earlier one of its chat waits (`in its
    turn`), or it is set aside (`dead`) after `run --handler-attempts`; what comes after that one waits only with
    `--on-dead hold` (`if not held`). [What is told WhatsApp when](../explanation/delivery.md).

    `PHONE` is left out where one is named, `NEXT` with `--dead`. In a narrow terminal `KIND` and `ERROR` go first, then
    `MESSAGE` gets shorter; `--output tsv` has all of them.

    JSON: `waiting`, `dead`, `oldest_seconds` (of all that is shown here, however many are listed), `messages`, each
    with `phone_id`, `phone`, `chat`, `sender`, `message_id`, `kind`, `received_at`, `attempts` (that failed),
    `next_at`, `error` (a type's name), `dead_at`, `behind` (`waiting` or `dead`: an earlier one of its chat is).

    Exit: 0 (also for none), 1 (no schema), 2, 3, 4.
    """
    output, ref = result.chosen, phone_or_all(phone)
    from wa_sessions.actions.sessions.inbox import list_inbox

    with terminal.opened(where.database_url) as opened:
        found = list_inbox(opened, ref, where.org, dead=dead, limit=limit)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json(_totals(found) | {"messages": [_data(found, row) for row in found.rows]}))
        case Output.TSV:
            terminal.write(*terminal.tsv([_data(found, row) for row in found.rows], _NAMES))
        case Output.TABLE:
            terminal.write(*_lines(found, {*(["PHONE"] if ref else []), *(["NEXT"] if dead else [])}))


@app.command("retry", epilog="Example: wa-sessions inbox retry 77051234567", no_args_is_help=True)
def retry(
    phone: PhoneOrAll,
    *,
    dead: Dead = False,
    chat: Chat = None,
    message_id: MessageId = None,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Have messages tried again that failed or were set aside. Once the handler is mended.
    \f
    Their attempts count anew. A worker begins within 5 s. What is set aside comes after what its chat has handled
    meanwhile, unless the worker runs with `--on-dead hold`.

    JSON: `messages` (how many), `phones` (each with `phone_id`, `phone`, `messages`), `operation` (null), `dry_run`,
    `undo` (null).

    Exit: 0 (also for none), 1 (no schema), 2, 3, 4.
    """
    output, ref = result.chosen, phone_or_all(phone)
    from wa_sessions.actions.sessions.inbox import retry_inbox
    from wa_sessions.db.inbox import Selected

    selected = Selected(chat, message_id)
    with terminal.opened(where.database_url) as opened:
        done = retry_inbox(opened, ref, where.org, selected, dead=dead)
    nothing = _unmatched("nothing that failed or is set aside", done, ref, selected, dead=dead)
    terminal.show(output, _changed(done), nothing or [f"{_counted(done.total)} will be tried again"])


@app.command("drop", epilog="Example: wa-sessions inbox drop 77051234567 --dead --dry-run", no_args_is_help=True)
def drop(
    phone: PhoneOrAll,
    *,
    dead: Dead = False,
    chat: Chat = None,
    message_id: MessageId = None,
    change: ChangeOptions,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Delete messages from the inbox for good. No handler will see them, and nothing brings them back.
    \f
    Messages are no keys: they do not go to quarantine, and `restore` refuses the operation that the history keeps.
    What a running worker has loaded already (2,000 at most, never what is set aside) may be handled all the same.

    JSON: as `inbox retry`, with the `operation`.

    Exit: 0 (also for none), 1 (no schema), 2, 3, 4, 6.
    """
    output, ref = result.chosen, phone_or_all(phone)
    from dataclasses import replace

    from wa_sessions.actions.sessions.inbox import drop_inbox, plan_drop
    from wa_sessions.db.inbox import Selected

    selected = Selected(chat, message_id)
    with terminal.opened(where.database_url) as opened:
        planned = plan_drop(opened, ref, where.org, selected, dead=dead)
        found = planned.found
        done = found if change.dry_run else replace(found, dry_run=False)
        if not change.dry_run and found.total:
            terminal.confirm(_question(found, ref, where.org), yes=change.yes)
            why = change.reason or ("set aside messages" if dead else "messages in the inbox")
            done = drop_inbox(opened, planned, reason=why)
    nothing = _unmatched("nothing", found, ref, selected, dead=dead)
    terminal.show(output, _changed(done), nothing or _dropped(done))


def _unmatched(
    what: str, done: "InboxChange", ref: "PhoneRef | None", selected: "Selected", *, dead: bool
) -> list[str]:
    """Where to look, if a chat or a message was named and there is none such."""
    named = [("--chat", selected.chat), ("--id", selected.message_id)]
    asked = [f"{option} {value}" for option, value in named if value is not None]
    if done.total or not asked:
        return []
    where = ["wa-sessions inbox", *([shlex.quote(str(ref))] if ref else [])]
    return [f"{what} matches {' '.join([*(['--dead'] if dead else []), *asked])}: {' '.join(where)}"]


def _question(planned: "InboxChange", ref: "PhoneRef | None", org: int | None) -> str:
    whose = "all phones" if ref is None else next(iter(planned.phones.values())).number
    of_org = f" of organization {org}" if ref is None and org is not None else ""
    them = "it" if planned.total == 1 else "them"
    return f"Delete {_counted(planned.total)} of {whose}{of_org} for good? Nothing brings {them} back."


def _dropped(done: "InboxChange") -> Iterator[str]:
    if done.dry_run:
        yield f"{_counted(done.total)} would be deleted for good"
        yield "nothing was changed"
        return
    yield f"{_counted(done.total)} deleted for good"
    if done.operation:
        yield f"operation: {done.operation}; it cannot be undone"


def _counted(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'}"


def _changed(done: "InboxChange") -> dict[str, Any]:
    phones = [
        {"phone_id": id_, "phone": done.phones[id_].number, "messages": count} for id_, count in done.messages.items()
    ]
    same = {"operation": done.operation, "dry_run": done.dry_run, "undo": None}
    return {"messages": done.total, "phones": phones, **same}


def _totals(found: "InboxListing") -> dict[str, Any]:
    depths = found.depths.values()
    ages = [depth.oldest_seconds for depth in depths if depth.oldest_seconds is not None]
    return {
        "waiting": sum(depth.waiting for depth in depths),
        "dead": sum(depth.dead for depth in depths),
        "oldest_seconds": round(max(ages), 1) if ages else None,
    }


def _data(found: "InboxListing", row: "Listed") -> dict[str, Any]:
    values = (
        *(row.phone_id, found.phones[row.phone_id].number, row.chat, row.sender, row.message_id, row.kind),
        *(iso(row.received_at), row.attempts, iso(row.next_at), row.error, iso(row.dead_at), row.behind),
    )
    return dict(zip(_NAMES, values, strict=True))


def _lines(found: "InboxListing", known: set[str]) -> Iterator[str]:
    """The table without the columns that say the same of every row, as it was asked for."""
    totals, now = _totals(found), datetime.now(UTC)
    if found.rows:
        rows = [
            (
                *(found.phones[row.phone_id].number, in_column(row.received_at, now), row.chat, row.message_id),
                *(str(row.attempts), _next(row, now), row.error or "", row.kind),
            )
            for row in found.rows
        ]
        shown = [n for n, column in enumerate(_COLUMNS) if column.title not in known]
        cells = [[row[n] for n in shown] for row in rows]
        yield from table([_COLUMNS[n] for n in shown], cells, terminal.table_width(), [None] * len(shown))
    yield f"{_counted(totals['waiting'])} waiting, {totals['dead']} set aside{' (times are UTC)' if found.rows else ''}"


def _next(row: "Listed", now: datetime) -> str:
    if row.dead_at is not None:
        return "set aside"
    if row.behind is not None:
        return "in its turn" if row.behind == "waiting" else "if not held"
    return due(row.next_at, now)
