"""``timeline``: a phone's history as a story."""

import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    Output,
    PhoneArgument,
    ResultOptions,
    ScopeOptions,
    long_ago,
)
from wa_sessions.cli.times import iso
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.wording.numbers import lasted

if TYPE_CHECKING:
    from wa_sessions.actions.watch.errors import Entry
    from wa_sessions.health.timeline import TimelineEntry
    from wa_sessions.wording.timeline import TimelineLine

QUIET = timedelta(hours=1)
"""From there on a gap between two lines is told."""

_ENTRY = ("at", "kind", "text", "undo", "detail", "operation")
_INDENT = " " * 12


def timeline(
    phone: PhoneArgument,
    *,
    since: Annotated[str, typer.Option("--since", metavar="7d", help="How far back: 30m, 12h, 7d.")] = "7d",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many entries.")
    ] = 1_000,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Then show what comes, until Ctrl-C.")] = False,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Tell what happened to a phone, in words. Each day, each gap, and how to undo what was done.
    \f
    The oldest first, times in UTC. Three or more entries in a row that are alike are one line. `undo:` stands under
    what `restore` can undo now. A phone that was removed is told of by its `'#ID'`. `--follow` shows new entries within
    a second, each on its own line.

    JSON: `phone_id`, `phone` (null if it was removed), `since`, `entries`, each with `at`, `phone_id`, `phone`,
    `organization_id`, `kind`, `detail`, `operation` (as in [the history](history.md#events)), `text` (the sentence) and
    `undo` (the command, or null). Nothing is folded there. With `--follow` one entry a line.

    Exit: 0 (also for none), 1 (no schema), 2, 3, 4, 130 (`--follow` ended by Ctrl-C).
    """
    output, ref = result.chosen, parse_phone(phone)
    oldest = long_ago(since)
    from wa_sessions.actions.watch import errors
    from wa_sessions.actions.watch import timeline as action

    with terminal.opened(where.database_url) as opened:
        if follow:
            entries = errors.follow(opened, ref, where.org, since=oldest, kinds=None)
            terminal.stream(output, _ENTRY, _coming(entries, terminal.width()))
            return
        found = action.timeline(opened, ref, where.org, since=oldest, limit=limit)
    rows = [_row(entry, found.undo(entry)) for entry in found.entries]
    match output:
        case Output.JSON:
            head = {"phone_id": found.phone_id, "phone": found.phone, "since": iso(oldest)}
            terminal.write(terminal.as_json({**head, "entries": rows}))
        case Output.TSV:
            terminal.write(*terminal.tsv(rows, _ENTRY))
        case Output.TABLE:
            from wa_sessions.wording.timeline import timeline_lines

            now = datetime.now(UTC)
            left_out = [f"earlier entries are left out: --limit {limit}"] if len(rows) == limit else []
            lines = list(timeline_lines(_happened(entry, found.undo(entry), now) for entry in found.entries))
            told = shown(lines, now, terminal.width()) if lines else [f"nothing was recorded within {since}"]
            terminal.write(*left_out, *told)


def _coming(entries: "Iterable[Entry]", width: int) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each entry for programs and, on a line of its own, for people."""
    from wa_sessions.health.timeline import undoable_operation
    from wa_sessions.wording.timeline import timeline_lines

    before: TimelineLine | None = None
    for entry in entries:
        undo = undoable_operation(entry.event.kind, entry.event.operation_id)
        (line,) = timeline_lines([_happened(entry, undo, datetime.now(UTC))])
        yield _row(entry, undo), list(_one(line, before, width))
        before = line


def shown(lines: "Iterable[TimelineLine]", now: datetime, width: int) -> Iterator[str]:
    """The story as text: headings for days, gaps, and at the end how long nothing has happened."""
    before: TimelineLine | None = None
    for line in lines:
        yield from _one(line, before, width)
        before = line
    if before and now - before.until >= QUIET:
        yield f"  … quiet since then, for {_lasted(now - before.until)}"


def _one(line: "TimelineLine", before: "TimelineLine | None", width: int) -> Iterator[str]:
    """One line, with what stands between it and the one before."""
    if before and line.at - before.until >= QUIET:
        yield f"  … quiet for {_lasted(line.at - before.until)}"
    if before is None or before.at.date() != line.at.date():
        yield from [""] * (before is not None)
        yield f"{line.at:%A} {line.at.day} {line.at:%B %Y} ({line.at:%Z})"
    long = line.until - line.at >= timedelta(seconds=1)
    within = f", within {_lasted(line.until - line.at)}" if long else ""
    text = terminal.plain(line.text + within)
    yield from textwrap.wrap(
        text, width, initial_indent=f"  {line.at:%H:%M:%S}  ", subsequent_indent=_INDENT, break_on_hyphens=False
    )
    if line.undo:
        yield f"{_INDENT}undo: wa-sessions restore {line.undo}"


def _lasted(time: timedelta) -> str:
    return lasted(time.total_seconds())


def _happened(entry: "Entry", undo: str | None, now: datetime) -> "TimelineEntry":
    from wa_sessions.health.timeline import TimelineEntry

    return TimelineEntry(entry.event.at.astimezone(now.tzinfo), entry.event.detail, undo)


def _row(entry: "Entry", undo: str | None) -> dict[str, Any]:
    from wa_sessions.wording.sentences import sentence

    command = f"wa-sessions restore {undo}" if undo else None
    return {**entry.as_dict(), "text": sentence(entry.event.detail), "undo": command}
