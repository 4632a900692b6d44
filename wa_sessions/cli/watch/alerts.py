"""``alerts``: the outbox, sending from cron, and a test of the targets."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.configured import Group
from wa_sessions.cli.options import (
    DatabaseUrl,
    Output,
    ResultOptions,
    ScopeOptions,
)
from wa_sessions.cli.table import Column, table
from wa_sessions.cli.times import in_column, iso
from wa_sessions.errors import WaSessionsError
from wa_sessions.keys.phone_ref import parse_phone

if TYPE_CHECKING:
    from wa_sessions.actions.watch.alerts import Outbox
    from wa_sessions.db.alerts import Delivery, LeftAlert, TargetState
    from wa_sessions.worker.alerting import Attempt

app = typer.Typer(
    cls=Group,
    help="Alerts, by webhook, Telegram and e-mail.",
    epilog="Example: wa-sessions alerts test",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_COLUMNS = (
    Column("ALERT", right=True, drops=2),
    Column("WHEN (UTC)", drops=3),
    Column("PHONE"),
    Column("WHAT"),
    Column("SENT", drops=1),
    Column("TEXT", flexible=True),
)
_NAMES = ("id", "at", "phone_id", "phone", "organization_id", "type", "severity", "text", "sent", "waiting")


@app.command("test", epilog="Example: wa-sessions alerts test --json")
def try_out(*, result: ResultOptions) -> None:
    """Send a test to every target, now. It needs no database, and is no part of the outbox.
    \f
    The targets are those of the [settings](settings.md): see [Alerts](../how-to.md#alerts). A target is named without
    its secrets: `webhook:HOST/HASH`, `telegram:CHAT`, `email:ADDRESS`.

    JSON: `targets`, each with `target`, `delivered`, `error`.

    Exit: 0, 1 (a target did not take it), 2 (no target, or settings that make no sense).
    """
    output = result.chosen
    from wa_sessions.actions.watch.alerts import try_targets

    tried = try_targets()
    rows = [{"target": one.target, "delivered": one.error is None, "error": one.error} for one in tried]
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json({"targets": rows}))
        case Output.TSV:
            terminal.write(*terminal.tsv(rows, ("target", "delivered", "error")))
        case Output.TABLE:
            terminal.write(*[f"a test was sent to {one.target}" for one in tried if one.error is None])
    _complain(tried, "the test was not taken")


@app.command("list", epilog="Example: wa-sessions alerts list 77051234567")
def listing(
    phone: Annotated[str | None, typer.Argument(metavar="[PHONE]", help="Only those of this phone.")] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")] = 20,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """List alerts and what became of them. The newest first, and which targets wait and why.
    \f
    `SENT` counts targets: `2` is sent to two, `1+1` to one while another waits. Alerts are kept for 30 days.

    JSON: `alerts`, each with `id`, `at`, `phone_id`, `phone`, `organization_id`, `type`, `severity`, `text`, `payload`
    (what a webhook gets), `deliveries` (each with `target`, `attempts`, `sent_at`, `given_up_at`, `error`); `targets`,
    each with `target`, `configured` (in this command's environment), `waiting` (alerts), `failures` (in a row),
    `next_at`, `error`. TSV has a row for each alert.

    Exit: 0 (also for none), 1 (no schema), 2, 3, 4.
    """
    output, ref = result.chosen, parse_phone(phone) if phone else None
    from wa_sessions.actions.watch.alerts import list_alerts

    with terminal.opened(where.database_url) as opened:
        outbox = list_alerts(opened, ref, where.org, limit=limit)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json(_data(outbox)))
        case Output.TSV:
            terminal.write(*terminal.tsv([_row(alert) for alert in outbox.alerts], _NAMES))
        case Output.TABLE:
            terminal.write(*_lines(outbox, datetime.now(UTC)))


@app.command("send", epilog="Example: wa-sessions alerts send --json")
def send(*, result: ResultOptions, database_url: DatabaseUrl = None) -> None:
    """Send what is due, once. For cron, where no worker runs; a worker sends by itself.
    \f
    With a worker or another `alerts send` at the same time nothing is sent twice: a target has one sender at a time.
    What a target did not take waits for the next run, one that failed for a pause that grows up to 5 minutes.

    JSON: `sent` (messages), `alerts` (in them), `waiting` (alerts, of the target with the most), `attempts` (each with
    `target`, `alerts`, `delivered`, `error`), `targets` (as `alerts list` has them).

    Exit: 0 (also with nothing to send), 1 (a target did not take a message; no schema), 2 (no target), 4.
    """
    output = result.chosen
    from wa_sessions.actions.watch.alerts import send as action

    with terminal.opened(database_url) as opened:
        done = action(opened)
    arrived = [attempt for attempt in done.attempts if attempt.error is None]
    names = {target.name for target in done.targets}
    data = {
        "sent": len(arrived),
        "alerts": sum(attempt.alerts for attempt in arrived),
        "waiting": max((target.waiting for target in done.targets), default=0),
        "attempts": [_attempt(attempt) for attempt in done.attempts],
        "targets": [_target(target, configured=target.name in names) for target in done.targets],
    }
    lines = [f"{_count(attempt.alerts, 'alert')} sent to {attempt.target}" for attempt in arrived]
    waiting = [
        f"{_count(target.waiting, 'alert')} for {target.name} waiting: {_why(target)}"
        for target in done.targets
        if target.waiting
    ]
    shown = data if output is Output.JSON else {name: data[name] for name in ("sent", "alerts", "waiting")}
    terminal.show(output, shown, lines + waiting or ["nothing to send"])
    _complain(done.attempts, "alerts were not taken")


def _complain(attempts: "tuple[Attempt, ...] | list[Attempt]", what: str) -> None:
    failed = [f"{attempt.target}: {attempt.error}" for attempt in attempts if attempt.error]
    if failed:
        raise WaSessionsError(f"{what} by {'; '.join(failed)}")


def _data(outbox: "Outbox") -> dict[str, Any]:
    return {
        "alerts": [
            {
                **{name: value for name, value in _row(alert).items() if name not in ("sent", "waiting")},
                "payload": alert.payload,
                "deliveries": [_delivery(delivery) for delivery in alert.deliveries],
            }
            for alert in outbox.alerts
        ],
        "targets": [_target(target, configured=target.name in outbox.configured) for target in outbox.targets],
    }


def _row(alert: "LeftAlert") -> dict[str, Any]:
    ended = {one.target for one in alert.deliveries if one.sent_at or one.given_up_at}
    return {
        "id": alert.id,
        "at": iso(alert.at),
        "phone_id": alert.phone_id,
        "phone": alert.payload.get("phone"),
        "organization_id": alert.payload.get("organizationId"),
        "type": alert.kind,
        "severity": alert.payload.get("severity"),
        "text": alert.payload.get("text"),
        "sent": sum(1 for one in alert.deliveries if one.sent_at),
        "waiting": len({one.target for one in alert.deliveries} - ended),
    }


def _delivery(delivery: "Delivery") -> dict[str, Any]:
    return {
        "target": delivery.target,
        "attempts": delivery.attempts,
        "sent_at": iso(delivery.sent_at),
        "given_up_at": iso(delivery.given_up_at),
        "error": delivery.error,
    }


def _target(target: "TargetState", *, configured: bool) -> dict[str, Any]:
    return {
        "target": target.name,
        "configured": configured,
        "waiting": target.waiting,
        "failures": target.failures,
        "next_at": iso(target.next_at),
        "error": target.last_error,
    }


def _attempt(attempt: "Attempt") -> dict[str, Any]:
    return {
        "target": attempt.target,
        "alerts": attempt.alerts,
        "delivered": attempt.error is None,
        "error": attempt.error,
    }


def _lines(outbox: "Outbox", now: datetime) -> list[str]:
    rows = []
    for alert in outbox.alerts:
        row = _row(alert)
        sent = f"{row['sent']}+{row['waiting']}" if row["waiting"] else str(row["sent"])
        cells = (alert.id, in_column(alert.at, now), row["phone"] or "", alert.kind, sent, row["text"] or "")
        rows.append([terminal.plain(str(cell)) for cell in cells])
    listed = table(_COLUMNS, rows, terminal.table_width(), [None] * len(_COLUMNS)) if rows else ["no alerts"]
    waiting = [
        f"{_count(target.waiting, 'alert')} for {target.name} waiting: {_why(target)}"
        for target in outbox.targets
        if target.waiting and target.name in outbox.configured
    ]
    hint = [] if outbox.configured else ["no target is configured here: alerts are kept, and sent by whoever has one"]
    return [*listed, *waiting, *hint]


def _why(target: "TargetState") -> str:
    return f"{target.last_error}, {_count(target.failures, 'attempt')}" if target.last_error else "its turn comes"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
