"""``check``: a plugin for Nagios, Icinga, and whatever else understands them."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.configured import setting_option
from wa_sessions.cli.options import (
    Output,
    ResultOptions,
    ScopeOptions,
)
from wa_sessions.config import table
from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import parse_phone

if TYPE_CHECKING:
    from wa_sessions.health.checking import PhoneVerdict

_FIELDS = (
    *("phone", "verdict", "reason", "severity", "status", "state", "age_seconds", "keys"),
    *("inbox_waiting", "inbox_dead", "inbox_oldest_seconds"),
)


def check(
    phone: Annotated[
        str | None, typer.Argument(metavar="[PHONE]", help="A number, a JID, or '#ID' (in quotes).")
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="All phones together.")] = False,
    freshness: Annotated[timedelta, setting_option(table.FRESHNESS)] = table.FRESHNESS.default,
    few_keys: Annotated[int | None, setting_option(table.FEW_KEYS)] = None,
    inbox_warning: Annotated[timedelta, setting_option(table.INBOX_WARNING)] = table.INBOX_WARNING.default,
    inbox_critical: Annotated[timedelta, setting_option(table.INBOX_CRITICAL)] = table.INBOX_CRITICAL.default,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Judge one phone or all, for Nagios and Icinga. One line, with performance data.
    \f
    `--org N` without a phone judges all phones of that organization. [Each state with its line and
    code](../monitoring/README.md#check). A fleet has the worst verdict of its phones: CRITICAL, WARNING, UNKNOWN, OK;
    there the silence of `waba` phones is left out, as nobody can observe them. Whatever keeps it from a verdict is told
    on stdout as UNKNOWN.

    JSON: `verdict` (`OK`, `WARNING`, `CRITICAL`, `UNKNOWN`), `code`, `line`, `phones`, each with `phone`, `verdict`,
    `reason`, `severity`, `status`, `state`, `age_seconds` (of its observer's last sign of life), `keys` (null without
    `--few-keys`), `inbox_waiting`, `inbox_dead`, `inbox_oldest_seconds` (null if none waits).

    Exit: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN: these four, and 3 also for wrong usage, no such phone, no database and
    every other failure.
    """
    output = result.chosen
    if (phone is not None and all_) or (phone is None and not all_ and where.org is None):
        raise UsageError("name a phone, or --all, or --org N")
    ref = parse_phone(phone) if phone else None
    from wa_sessions.actions.watch import check as action
    from wa_sessions.actions.watch.sessions import left_out
    from wa_sessions.health.checking import Thresholds, fleet_verdict
    from wa_sessions.wording import verdicts

    thresholds = Thresholds(freshness, few_keys, inbox_warning, inbox_critical)
    with terminal.opened(where.database_url) as opened:
        if ref:
            one = action.check(opened, ref, where.org, thresholds)
            judged, verdict, line = [one], one.verdict, verdicts.phone_line(one)
        else:
            judged = action.check_fleet(opened, where.org, thresholds)
            for words in left_out(opened):
                terminal.say(words)
            verdict, line = fleet_verdict(judged), verdicts.fleet_line(judged, thresholds)
    rows = [_row(one) for one in judged]
    match output:
        case Output.JSON:
            data = {"verdict": verdict.name, "code": verdict.value, "line": line, "phones": rows}
            terminal.write(terminal.as_json(data))
        case Output.TSV:
            terminal.write(*terminal.tsv(rows, _FIELDS))
        case Output.TABLE:
            terminal.write(line)
    raise typer.Exit(verdict.value)


def _row(judged: "PhoneVerdict") -> dict[str, Any]:
    from wa_sessions.wording.verdicts import reason

    known = judged.known
    values = (
        known.phone,
        judged.verdict.name,
        reason(judged),
        known.severity.value,
        known.status,
        known.state,
        round(known.age.total_seconds(), 1) if known.age is not None else None,
        known.keys,
        known.inbox_waiting,
        known.inbox_dead,
        round(known.inbox_age.total_seconds(), 1) if known.inbox_age is not None else None,
    )
    return dict(zip(_FIELDS, values, strict=True))
