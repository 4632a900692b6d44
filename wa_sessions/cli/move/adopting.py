"""``adopt`` and ``return``: a phone moves from the Node backend to our worker, and back, without a QR."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.changing import How, because, confirm, perform
from wa_sessions.cli.options import (
    ChangeOptions,
    LogFormat,
    NodeOptions,
    Output,
    ResultOptions,
    ScopeOptions,
    StartCommand,
    StopCommand,
    duration,
    is_typed,
    phone_or_all,
)
from wa_sessions.cli.sessions.run import HandlerOptions, LogFormatOption, StoreUrl
from wa_sessions.errors import UsageError
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.connection import Opened
    from wa_sessions.actions.engine.plan import Changed, Plan
    from wa_sessions.actions.move.moving import MovedPhone
    from wa_sessions.actions.move.return_phone import Major
    from wa_sessions.keys.conversion.remarks import Remark
    from wa_sessions.keys.phone_ref import PhoneRef

PhoneOrNone = Annotated[
    str | None, typer.Argument(metavar="[PHONE|all]", help="A number, a JID, '#ID' (in quotes), or all.")
]
All = Annotated[bool, typer.Option("--all", help="The same as all.")]
Baileys = Annotated[
    int | None,
    typer.Option("--baileys", metavar="6|7", min=6, max=7, help="The backend's version of Baileys, if it is not seen."),
]
_MOST_REMARKS = 20
LARGEST_LID_MAP = 1 << 24
"""Bytes: half a million pairs."""
_PAIR = re.compile(r"\s*\"?(\d{5,20})(?:@lid)?\"?\s*[,;:\t ]\s*\"?\+?(\d{5,20})(?:@s\.whatsapp\.net)?\"?\s*,?\s*")


def adopt(
    context: typer.Context,
    phone: PhoneOrNone = None,
    *,
    all_: All = False,
    lid_map: Annotated[
        Path | None,
        typer.Option(
            "--lid-map", metavar="FILE", help="Pairs of LID and number, one a line, as in 99887766,77051234567."
        ),
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Run it at once; undo all unless it connects and its first message decrypts.")
    ] = False,
    wait: Annotated[
        timedelta,
        typer.Option("--wait", metavar="60s", parser=duration, help="With --run: how long it may take to connect."),
    ] = "60s",  # type: ignore[assignment]  # typer parses it
    handler: HandlerOptions,
    log_format: LogFormatOption = LogFormat.TEXT,
    store_url: StoreUrl = None,
    node_options: NodeOptions,
    change: ChangeOptions,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Take a phone over from the Node backend. The same linked device, without a QR.
    \f
    Its Baileys keys are judged and converted into a device of neonize's store, in one transaction; the keys themselves
    go into quarantine, so that a stray start of the Node process finds none, and the phone becomes a `neonize` phone.
    Chats, groups, queued and late messages go on. The Node process has to be stopped meanwhile. Then `wa-sessions run`
    takes it up, or `--run` does at once: it is a worker until Ctrl-C, whose handler is named as for `run`. If the
    session does not connect within `--wait`, or its first message does not decrypt, the phone goes back to the Node
    backend and the exit code is 1; where no commands are given, start that again by hand.

    `--dry-run` converts through the same code and tells what converts, what is left out and why, and what somebody may
    notice. `restore` undoes it while nobody has used the keys since; afterwards `return` is the way back. Refused are
    keys whose halves differ or whose signatures are wrong, a phone that was never paired, a device that the store has
    already, a number that is a `neonize` phone in another row too, a phone that is `connected`, `reconnecting` or
    `loading` while nobody stops Node, and tables of neonize of an unknown version. Of `all` those that are refused stay
    as they are. Read [moving from Node](../how-to/move-from-node.md) first.

    JSON: `operation`, `dry_run`, `undo`, `phones` (each `phone_id`, `phone`, `organization_id`, `device`,
    `keys_before`, `keys_after` (by type), `left_out` and `notices`: each `key`, `what`, `count`), `failed` (`phone_id`,
    `phone`, `error`). None with `--run`.

    Exit: 0, 1 (refused, some of `all` failed, `--run` undid it, no schema), 2, 3, 4 (also: neonize cannot use the
    store), 5 (not a `baileys` phone, its Node process runs), 6.
    """
    who, output = _who(phone, all_=all_), result.chosen
    if run and (who is None or change.dry_run or output is not Output.TABLE):
        raise UsageError("--run takes one phone and runs it in the foreground: leave all, --dry-run and --json out")
    if not run and (given := [one.name for one in fields(HandlerOptions) if is_typed(context, one.name)]):
        raise UsageError(f"--{given[0].replace('_', '-')} is for --run")
    from wa_sessions.actions.engine.carry_out import plan
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.actions.move.adopt import Adopt
    from wa_sessions.actions.move.adopt_and_run import RESERVED, adopt_and_run
    from wa_sessions.actions.sessions.run import RunOptions
    from wa_sessions.actions.watch.limits import configured_limits
    from wa_sessions.worker import log

    how, scope = How.of(change, result, node_options), Scope(who, where.org)
    adoption = Adopt(
        _pairs(lid_map),
        reserve=RESERVED if run else 0.0,
        store_url=store_url,
        node_runs=how.node is not None,
        **because(change.reason),
    )
    view = MovedView("Take {} over from the Node backend?", "taken over")
    with terminal.opened(where.database_url) as opened:
        if run:
            log.configure(log_format.value)
            options = RunOptions(limits=configured_limits(), **handler.as_run_options(), store_url=store_url)
            planned = plan(opened, adoption, scope, process_stopped=how.stopped)
            confirm(planned, view.question, how)
            adopt_and_run(opened, planned, options, wait=wait.total_seconds(), node=how.node)
            return
        perform(opened, adoption, scope, how, view, then=partial(_say_next, opened))


def return_phone(
    phone: PhoneOrNone = None,
    *,
    all_: All = False,
    baileys: Baileys = None,
    stop_command: StopCommand = None,
    start_command: StartCommand = None,
    change: ChangeOptions,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Give a phone back to the Node backend. The same linked device, without a QR.
    \f
    The way back of `adopt`, also for a phone that was paired here: its keys as they are now become Baileys' again, in
    one transaction, and go out of neonize's store into quarantine; it becomes a `baileys` phone. A worker that runs it
    is asked to end its session and let it go. Then the Node backend has to be started anew, so that it takes it up;
    `--stop-command` and `--start-command` do it. What Baileys cannot hold, as keys of messages that were passed over,
    is named. `restore` undoes it while nobody has used the keys since.

    JSON: as of `adopt`.

    Exit: as of `adopt`; 5 for a phone that is not a `neonize` phone.
    """
    who = _who(phone, all_=all_)
    from wa_sessions.actions.engine.plan import Scope
    from wa_sessions.actions.move.return_phone import Return

    how = How.of(change, result, NodeOptions(stop_command, start_command))
    returning = Return(baileys_version(baileys), **because(change.reason))
    view = MovedView("Give {} back to the Node backend?", "given back")
    with terminal.opened(where.database_url) as opened:
        perform(opened, returning, Scope(who, where.org), how, view, then=_say_start)


def _who(phone: str | None, *, all_: bool) -> "PhoneRef | None":
    if (phone is None) == (not all_):
        raise UsageError("which phone? Name one, or say all")
    return phone_or_all(phone) if phone is not None else None


def _pairs(file: Path | None) -> tuple[tuple[str, str], ...]:
    """LIDs and numbers from a file: ``lid,number`` lines, or a JSON object with one pair a line."""
    if file is None:
        return ()
    from wa_sessions.input_files import read_text

    text = read_text(file, LARGEST_LID_MAP, "--lid-map")
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip(" {}[]\t") or line.startswith("#"):
            continue
        match = _PAIR.fullmatch(line)
        if match is None:
            raise UsageError(f"{file}, line {number}: write a LID and a number, as in 99887766,77051234567")
        pairs.append((match[1], match[2]))
    return tuple(pairs)


@dataclass(frozen=True, slots=True)
class MovedView:
    """Of phones that move: what is asked, with a place for whom, and what is said to have become of them."""

    asked: str
    moved: str

    def question(self, planned: "Plan[Any, Any, MovedPhone]") -> str:
        """What an operator is asked before it is made."""
        many = counted(len(planned.items), "phone")
        return self.asked.format(many if planned.many else planned.items[0].target.name)

    def show(self, moved: "Changed[MovedPhone]", planned: "Plan[Any, Any, MovedPhone]", how: How) -> None:
        """What was done, and what is to be said of it."""
        show_moved(moved, how.output, self.moved, everyone=planned.everyone)


def show_moved(moved: "Changed[MovedPhone]", output: Output, said: str, *, everyone: bool) -> None:
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json(_data(moved)))
        case Output.TSV:
            names = ["operation", "phone_id", "phone", "organization_id", "device", "keys_before", "keys_after"]
            rows = [{"operation": moved.operation, **phone.as_dict()} for phone in moved.phones]
            terminal.write(*terminal.tsv(rows, names))
        case Output.TABLE:
            terminal.write(*_lines(moved, said, everyone=everyone))


def _data(moved: "Changed[MovedPhone]") -> dict[str, Any]:
    return {
        "operation": moved.operation,
        "dry_run": moved.dry_run,
        "undo": f"wa-sessions restore {moved.operation}" if moved.operation else None,
        "phones": [phone.as_dict() for phone in moved.phones],
        "failed": [failed.as_dict() for failed in moved.failed],
    }


def _lines(moved: "Changed[MovedPhone]", said: str, *, everyone: bool) -> Iterator[str]:
    would = "would be " if moved.dry_run else ""
    for phone in moved.phones:
        before, after = sum(phone.keys_before.values()), sum(phone.keys_after.values())
        yield f"{phone.phone.number}: {would}{said} as {phone.device}, {before} keys become {after}"
        if not everyone:
            yield from _detail(phone)
    for failed in moved.failed:
        yield from _wrapped(failed.why, "  ")
    if everyone:
        yield f"{counted(len(moved.phones), 'phone')} {would}{said}, {len(moved.failed)} stay as they are"
    if moved.dry_run:
        yield "nothing was changed"
    elif moved.operation:
        yield f"undo, while nobody has used the keys: wa-sessions restore {moved.operation}"


def _detail(phone: "MovedPhone") -> Iterator[str]:
    for kind, keys in sorted(phone.keys_after.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {keys:>7}  {kind}"
    for title, remarks in (("left out", phone.left_out), ("notice", phone.notices)):
        for remark in remarks[:_MOST_REMARKS]:
            yield from _wrapped(f"{title}: {_named(remark)}: {remark.what}", "  ")
        if len(remarks) > _MOST_REMARKS:
            yield f"  {title}: {len(remarks) - _MOST_REMARKS} more; --json has them all"


def _named(remark: "Remark") -> str:
    return f"{remark.count} {remark.key}" if remark.count > 1 else remark.key


def _wrapped(text: str, indent: str) -> list[str]:
    import textwrap

    return textwrap.wrap(terminal.plain(text), terminal.width(), initial_indent=indent, subsequent_indent=f"{indent}  ")


def _say_next(opened: "Opened", moved: "Changed[MovedPhone]", how: How) -> None:
    from wa_sessions.actions.sessions.assign import NOT_SEEN

    if not opened.backend.has_connection_type:
        terminal.say(NOT_SEEN)
    elif how.node is None and how.process_stopped:
        terminal.say("the Node process can be started again: it finds no keys of what was taken over")
    only = f" {moved.phones[0].phone.number}" if len(moved.phones) == 1 else ""
    terminal.say(f"connect: wa-sessions run{only}")


def _say_start(_moved: "Changed[MovedPhone]", how: How) -> None:
    if how.node is None:
        terminal.say("start the Node backend again: it takes up its phones when it starts")


def baileys_version(number: int | None) -> "Major | None":
    """The version of Baileys as the actions name it; typer lets no other through."""
    return cast("Major | None", number)
