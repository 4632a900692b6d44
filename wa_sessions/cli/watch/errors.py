"""``errors``: the counters, and the history behind them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    Output,
    ResultOptions,
    ScopeOptions,
    long_ago,
)
from wa_sessions.cli.table import Column, table
from wa_sessions.cli.times import in_column, iso
from wa_sessions.cli.watch.stats import counter, wrapped
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.watch.errors import Entry, Errors
    from wa_sessions.actions.watch.stats import SessionErrorStats

_COUNTERS = (
    "phone_id",
    "phone",
    "organization_id",
    "severity",
    "bad_mac_errors",
    "max_bad_mac_errors",
    "bad_decrypt_errors",
    "max_bad_decrypt_errors",
    "messages_recovered",
    "messages_lost",
    "messages_pending",
    "last_error_at",
    "last_error_kind",
)
_ENTRY = ("at", "phone_id", "phone", "organization_id", "kind", "detail", "operation")
_COLUMNS = (
    Column("PHONE"),
    Column("HEALTH"),
    Column("MAC"),
    Column("DEC"),
    Column("RECOVERED", right=True, drops=1),
    Column("LOST", right=True, drops=3),
    Column("WAITING", right=True, drops=2),
    Column("LAST ERROR (UTC)", flexible=True, drops=4),
)
_HISTORY = (Column("AT (UTC)"), Column("PHONE"), Column("WHAT", flexible=True))


def errors(
    phone: Annotated[str | None, typer.Argument(metavar="[PHONE]", help="Only those of this phone.")] = None,
    *,
    since: Annotated[str, typer.Option("--since", metavar="1h", help="How far back: 30m, 12h, 7d.")] = "24h",
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Show the history, and what comes, until Ctrl-C.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many entries.")
    ] = 1_000,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Show the error counters and how they came about. Counted errors, resets, repairs, closes.
    \f
    Listed are phones with a counted error, a message that waits for its retry, or an entry since then; a phone that is
    named always. The newest `--limit` entries, the oldest first. `--follow` shows new entries within a second.

    JSON: `since`, `phones` (each with `phone_id`, `phone`, `organization_id`, `severity`, `bad_mac_errors`,
    `max_bad_mac_errors`, `bad_decrypt_errors`, `max_bad_decrypt_errors`, `messages_recovered`, `messages_lost`,
    `messages_pending`, `last_error_at`, `last_error_kind`), `history` (each with `at`, `phone_id`, `phone`,
    `organization_id`, `kind`, `detail`, `operation`; kinds and details as in [the history](history.md#events)). With
    `--follow` one entry of the history a line. TSV is the history.

    Exit: 0 (also for none), 1 (no schema), 2, 3, 4, 130 (`--follow` ended by Ctrl-C).

    Replaces: `pm2 logs messenger-backend | grep -E "(Bad MAC error #|Bad Decrypt error #)"`.
    """
    output, ref = result.chosen, parse_phone(phone) if phone else None
    oldest = long_ago(since)
    from wa_sessions.actions.watch import errors as action

    with terminal.opened(where.database_url) as opened:
        if follow:
            entries = action.follow(opened, ref, where.org, since=oldest)
            terminal.stream(output, _ENTRY, ((entry.as_dict(), ["  ".join(_line(entry))]) for entry in entries))
            return
        found = action.errors(opened, ref, where.org, since=oldest, limit=limit)
    match output:
        case Output.JSON:
            phones = [{name: one.as_dict()[name] for name in _COUNTERS} for one in found.phones]
            history = [entry.as_dict() for entry in found.history]
            terminal.write(terminal.as_json({"since": iso(oldest), "phones": phones, "history": history}))
        case Output.TSV:
            terminal.write(*terminal.tsv([entry.as_dict() for entry in found.history], _ENTRY))
        case Output.TABLE:
            terminal.write(*_shown(found, since))


def _shown(found: "Errors", since: str) -> list[str]:
    now = datetime.now(UTC)
    lines = ["no errors known" if found.unseen else "no errors now"]
    if found.phones:
        rows = [_counters(one, now) for one in found.phones]
        lines = table(_COLUMNS, rows, terminal.table_width(), [None] * len(_COLUMNS))
    if found.unseen and not (found.phones and found.asked == 1):
        who = f"{found.unseen} of {counted(found.asked, 'phone')}"
        lines += wrapped(f"nobody observes {who}, so that errors there are not known: wa-sessions sessions")
    if not found.history:
        return [*lines, "", f"no error was recorded within {since}; all that happened: wa-sessions timeline <phone>"]
    rows = [_line(entry) for entry in found.history]
    return [*lines, "", *table(_HISTORY, rows, terminal.table_width(), [None] * len(_HISTORY))]


def _counters(one: "SessionErrorStats", now: datetime) -> tuple[str, ...]:
    return (
        one.phone,
        one.severity,
        counter(one, one.bad_mac_errors, one.max_bad_mac_errors),
        counter(one, one.bad_decrypt_errors, one.max_bad_decrypt_errors),
        str(one.messages_recovered),
        str(one.messages_lost),
        str(one.messages_pending),
        in_column(one.last_error_at, now),
    )


def _line(entry: "Entry") -> tuple[str, ...]:
    from wa_sessions.wording.sentences import sentence

    at = f"{entry.event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    text = sentence(entry.event.detail)
    return at, entry.phone or f"#{entry.event.phone_id}", terminal.plain(text)
