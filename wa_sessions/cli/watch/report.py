"""``report``: the figures of a week, in the terminal or as one HTML page."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    Output,
    ResultOptions,
    ScopeOptions,
    long_ago,
)
from wa_sessions.cli.report_words import each_step, notes, parts, percent, sparkline
from wa_sessions.cli.table import Column, table
from wa_sessions.cli.times import day, iso
from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.watch.report import PhoneReport, Report
    from wa_sessions.health.statistics import Figures

_COLUMNS = (
    Column("PHONE"),
    Column("NAME", flexible=True, drops=9),
    Column("UP", right=True),
    Column("SEEN", right=True, drops=5),
    Column("MAC", right=True, drops=8),
    Column("DEC", right=True, drops=7),
    Column("REPAIRS", right=True, drops=4),
    Column("CLOSES", right=True, drops=6),
    Column("QR", right=True, drops=3),
    Column("LOST", right=True, drops=2),
    Column("ENDS", right=True, drops=1),
)
_PHONE = ("phone_id", "phone", "organization_id", "display_name")
_FIGURES = ("availability", "observed_seconds", "up_seconds", "errors", "repairs", "closes", "pairings", "messages")
_TSV = (*_PHONE, *_FIGURES, "logins", "connection_ends")


def report(
    phone: Annotated[str | None, typer.Argument(metavar="[PHONE]", help="Only this phone.")] = None,
    *,
    since: Annotated[str, typer.Option("--since", metavar="7d", help="How far back: 12h, 7d, 8w.")] = "7d",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page for people into this file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --html.")] = False,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Sum up a week: errors, repairs, availability. Or another time; of each phone and of all, with small charts.
    \f
    Availability (`UP`) is the share of the observed time in which the session was connected; `SEEN` is the share of the
    window in which a worker observed it. Where nobody did, availability is unknown: silence is neither up nor down. A
    worker that was killed is believed up to its last sign of life. A restart that succeeds at once leaves no trace.
    Phones that were removed are listed as `#ID`. Entries that were [pruned](../monitoring/README.md#retention) are not
    in the figures, and it is said where that is so.

    `--html` writes one file that needs nothing else (no script, no font from elsewhere), for a screen of any size, dark
    or light, and for paper. It appears whole or not at all, with mode 0600.

    JSON: `since`, `until`, `kept_since` (null, or until when entries of the window were pruned), `step_seconds`,
    `starts` (of each step of the charts), `html` (the file, or null), `total` and `phones`, which have each
    `availability` (0 to 1, or null), `observed_seconds`, `up_seconds`, `errors` (`bad_mac`, `bad_decrypt`), `repairs`
    (`session`, `sender_key`, `collection`), `closes` (`bad_mac`, `bad_decrypt`, `forced`), `pairings` (`needed`,
    `scanned`, `expired`), `messages` (`recovered`, `lost`), `logins`, `connection_ends` (by reason), and `steps`, the
    same again for each step. A phone has also `phone_id`, `phone` (null if it was removed), `organization_id`,
    `display_name`. TSV has the phones without their steps.

    Exit: 0, 1 (no schema, or the file cannot be written), 2, 3, 4.
    """
    output, ref, oldest = result.chosen, parse_phone(phone) if phone else None, long_ago(since)
    from wa_sessions.actions import atomic_file
    from wa_sessions.actions.watch import report as action

    if html:
        if str(html) == "-":
            raise UsageError("a page is written whole, which stdout cannot be: name a file")
        atomic_file.target(html, force=force)
    now = datetime.now(UTC)
    with terminal.opened(where.database_url) as opened:
        found = action.report(opened, ref, where.org, since=oldest.astimezone(UTC), until=now)
    if html:
        from wa_sessions.cli.watch.report_page import page

        content = page(found, since).encode(errors="replace")
        atomic_file.write(html, content, force=force, otherwise="no report was made")
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json(_data(found, html)))
        case Output.TSV:
            terminal.write(*terminal.tsv([_phone(one) for one in found.phones], _TSV))
        case Output.TABLE:
            terminal.write(*_shown(found, since))
            if html:
                terminal.say(f"wrote {html}")


def _shown(found: "Report", since: str) -> Iterable[str]:
    from textwrap import wrap

    wide, margin, all_, steps = terminal.width(), " " * 30, found.total, found.steps
    yield f"{day(found.window.since)} to {day(found.window.until)} ({since}), {counted(len(found.phones), 'phone')}"
    yield ""
    observed = f"of the {percent(all_.coverage)} of the time that a worker observed"
    yield f"  up                {percent(all_.availability):>8}  {observed}"
    for name, number, chart, more in _lines(all_, steps):
        line = f"  {name:18}{number:>8}  {chart}".rstrip()
        if more and len(line) + len(more) + 2 > wide:
            yield from [line, *wrap(more, wide, initial_indent=margin, subsequent_indent=margin)]
        else:
            yield f"{line}  {more}".rstrip()
    if len(steps) > 1:
        yield f"{margin}each column {each_step(found)}"
    yield ""
    rows = [_row(one) for one in found.phones]
    yield from table(_COLUMNS, rows, terminal.table_width(), [None] * len(_COLUMNS)) if rows else ["no phones"]
    for note in notes(found):
        yield from ["", *wrap(note, wide)]


def _lines(all_: "Figures", steps: "Sequence[Figures]") -> Iterable[tuple[str, int, str, str]]:
    """Name, number, chart and details of each line on all phones."""
    told = (
        ("Bad MAC", [step.errors["bad_mac"] for step in steps], ""),
        ("Bad Decrypt", [step.errors["bad_decrypt"] for step in steps], ""),
        ("repairs", [sum(step.repairs.values()) for step in steps], parts(all_.repairs)),
        ("closes", [sum(step.closes.values()) for step in steps], parts(all_.closes)),
        ("QR needed", [step.pairings["needed"] for step in steps], _pairings(all_)),
        ("messages recovered", [step.messages["recovered"] for step in steps], ""),
        ("messages lost", [step.messages["lost"] for step in steps], ""),
        ("connections ended", [sum(step.ends.values()) for step in steps], parts(all_.ends)),
    )
    for name, values, more in told:
        yield name, sum(values), sparkline(values) if len(values) > 1 else "", more


def _pairings(all_: "Figures") -> str:
    return parts({name: number for name, number in all_.pairings.items() if name != "needed"})


def _row(one: "PhoneReport") -> tuple[str, ...]:
    all_ = one.total
    name = one.phone.display_name if one.phone else None
    return (
        one.number,
        terminal.plain(name or ""),
        percent(all_.availability),
        f"{all_.coverage * 100:.0f} %",
        str(all_.errors["bad_mac"]),
        str(all_.errors["bad_decrypt"]),
        str(sum(all_.repairs.values())),
        str(sum(all_.closes.values())),
        str(all_.pairings["needed"]),
        str(all_.messages["lost"]),
        str(sum(all_.ends.values())),
    )


def _phone(one: "PhoneReport") -> dict[str, Any]:
    row = one.phone
    named = (one.phone_id, row.number if row else None, one.organization_id, row.display_name if row else None)
    return dict(zip(_PHONE, named, strict=True)) | one.total.as_dict()


def _data(found: "Report", html: Path | None) -> dict[str, Any]:
    return {
        "since": iso(found.window.since),
        "until": iso(found.window.until),
        "kept_since": iso(found.kept_since),
        "step_seconds": int(found.window.size.total_seconds()),
        "starts": [iso(start) for start in found.window.starts],
        "html": str(html) if html else None,
        "total": found.total.as_dict() | {"steps": [step.as_dict() for step in found.steps]},
        "phones": [_phone(one) | {"steps": [step.as_dict() for step in one.steps]} for one in found.phones],
    }
