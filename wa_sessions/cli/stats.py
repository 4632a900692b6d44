"""``stats`` and ``sessions``: how healthy sessions are."""

import re
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import DatabaseUrl, Json, Organization, Output, OutputOption, PhoneArgument, chosen
from wa_sessions.cli.times import due, short, when
from wa_sessions.keys.phone_ref import parse_phone

if TYPE_CHECKING:
    from wa_sessions.actions.sessions import Session
    from wa_sessions.actions.stats import SessionErrorStats, Worker

MOST_ADVICE = 10
_WORKER = ("id", "host", "pid", "since", "state")
_KEYS = ("store", "keys", "keys_by_type")
_COLOURS = {"ok": "32", "warning": "33", "critical": "1;31", "unknown": "2"}
KINDS = {"bad_mac": "Bad MAC", "bad_decrypt": "Bad Decrypt"}
_LABEL = 13
_COMMAND = re.compile(r"wa-sessions [a-z][a-z-]*(?: (?:--[a-z0-9-]+|[A-Z]+|[0-9]+|op-\S*[a-z0-9]))*")
_HARD_SPACE = "\xa0"


def stats(
    phone: PhoneArgument,
    *,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say how healthy a session is, and what to do about it.
    \f
    JSON: [the fields of `stats`](sessions.md#the-fields-of-stats-and-sessions).

    Exit: 0 whatever the health is, 2 (two organizations), 3, 4.

    Replaces: `pm2 logs messenger-backend | grep -E "(Bad MAC error #|Bad Decrypt error #)"`, for our own phones.
    """
    output, ref = chosen(output, json=json), parse_phone(phone)
    from wa_sessions.actions.stats import session_stats

    with terminal.opened(database_url) as opened:
        found = session_stats(opened, ref, org)
    data = found.as_dict() if output is Output.JSON else _flat(found)
    terminal.show(output, data, _card(found, datetime.now().astimezone()))


def sessions(
    *,
    status: Annotated[str | None, typer.Option("--status", metavar="STATUS", help="Only with this status.")] = None,
    unhealthy: Annotated[
        bool, typer.Option("--unhealthy", help="Only with counted errors, or that somebody has to look at.")
    ] = False,
    few_keys: Annotated[
        int | None, typer.Option("--few-keys", metavar="N", min=1, help="Only with fewer than N auth keys.")
    ] = None,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List all phones. With the health of their sessions, and how many keys they have.
    \f
    Below the table stand those that need somebody. Filters narrow together. `--unhealthy` are those with severity
    `warning` or `critical`, those that only a person can mend, those of which a message is set aside or has waited
    for its handler for 5 minutes, and, where nobody observes a phone, those with status `logged_out`. `--few-keys`
    leaves out `waba` phones, which have none. A terminal that is wide enough shows store and worker too.

    JSON: `sessions`, a list; each has [the fields of `stats`](sessions.md#the-fields-of-stats-and-sessions), then
    `store` (`baileys`, `whatsmeow`, null), `keys` and `keys_by_type`, as in `keys`; these two are null for `waba`
    phones and where the store cannot be read.

    Exit: 0 (also for none), 1 (`--few-keys` without the right to read a key store), 2 (a status that is none and that
    no phone has), 4.

    Replaces: `SELECT id, "phoneJid", status FROM "OrganizationPhone"`; with `--status connected`,
    `SELECT "phoneJid", status, "lastConnectedAt" … WHERE status = 'connected'`; joins of phones and counts of their
    keys; with `--few-keys`, looking for phones that have suspiciously few.
    """
    output = chosen(output, json=json)
    from wa_sessions.actions.sessions import fleet

    with terminal.opened(database_url) as opened:
        listed = fleet(opened, organization_id=org, status=status, unhealthy=unhealthy, few_keys=few_keys)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json({"sessions": [found.as_dict() for found in listed]}))
        case Output.TSV:
            rows = [_flat(found.stats) | _keys(found) for found in listed]
            terminal.write(*terminal.tsv(rows, [*_names(), *_KEYS]))
        case Output.TABLE:
            terminal.write(*_fleet(listed, datetime.now().astimezone()))


def _flat(found: "SessionErrorStats") -> dict[str, Any]:
    """One level: the worker's fields as ``worker_…``."""
    data = found.as_dict()
    worker = data.pop("worker") or {}
    return data | {f"worker_{name}": worker.get(name) for name in _WORKER}


def _keys(found: "Session") -> dict[str, Any]:
    return {name: getattr(found, name) for name in _KEYS}


def _names() -> list[str]:
    from dataclasses import fields

    from wa_sessions.actions.stats import SessionErrorStats

    plain = [field.name for field in fields(SessionErrorStats) if field.name != "worker"]
    return plain + [f"worker_{name}" for name in _WORKER]


def _card(found: "SessionErrorStats", now: datetime) -> list[str]:
    from wa_sessions.actions.advice import next_step

    title = terminal.plain(found.phone) + (f"  {terminal.plain(found.display_name)}" if found.display_name else "")
    lines = [title]
    for label, value in _facts(found, now):
        parts = textwrap.wrap(terminal.plain(value), terminal.width() - _LABEL - 2) or [""]
        parts[0] = terminal.colour(parts[0], _COLOURS[found.severity]) if label == "health" else parts[0]
        lines += [f"  {name:<{_LABEL}}{part}" for name, part in zip([label] + [""] * len(parts), parts, strict=False)]
    if advice := next_step(found):
        lines += wrapped(f"next: {advice}")
    return lines


def _facts(found: "SessionErrorStats", now: datetime) -> Iterator[tuple[str, str]]:
    yield "health", found.severity
    yield "Bad MAC", f"{found.bad_mac_errors} of {found.max_bad_mac_errors}"
    yield "Bad Decrypt", f"{found.bad_decrypt_errors} of {found.max_bad_decrypt_errors}"
    if found.last_error_at:
        kind = KINDS.get(found.last_error_kind or "", found.last_error_kind or "")
        yield "last error", f"{kind}, {when(found.last_error_at, now)}"
    yield "status", f"{found.status}, last connected {when(found.last_connected_at, now)}"
    if found.state:
        yield "session", doing(found, now)
    if found.retry_at and found.observed:
        if found.state == "pairing":
            yield "QR until", when(found.retry_at, now)
        else:
            yield "next attempt", due(found.retry_at, now)
    ends = f"{found.messages_recovered} recovered, {found.messages_lost} lost"
    yield "messages", f"{found.messages_pending} waiting for a retry, {ends}"
    if words := inbox_words(found):
        yield "inbox", words
    yield "worker", _worker(found, now)
    yield "phone", f"#{found.phone_id}, organization {found.organization_id}, {found.connection_type}"


def doing(found: "SessionErrorStats", now: datetime) -> str:
    """What a phone's worker said last that it does, and since when."""
    detail = f" ({found.state_detail})" if found.state_detail else ""
    state = (found.state or "").replace("_", " ")
    earlier = "" if found.observed else "when last seen: "
    return f"{earlier}{state}{detail}, {when(found.state_since, now)}"


def inbox_words(found: "SessionErrorStats") -> str:
    """What waits for a handler, and for how long; nothing if nothing does."""
    parts = []
    if found.inbox_waiting:
        wait = "waits" if found.inbox_waiting == 1 else "wait"
        oldest = f", the oldest for {short(timedelta(seconds=found.inbox_oldest_seconds or 0))}"
        parts.append(f"{found.inbox_waiting} {wait} for a handler{oldest}")
    if found.inbox_dead:
        parts.append(f"{found.inbox_dead} set aside")
    return "; ".join(parts)


def _worker(found: "SessionErrorStats", now: datetime) -> str:
    if found.worker is None and found.logs_read_at:
        return f"none; the Node backend's logs were read {when(found.logs_read_at, now)}"
    if found.worker is None:
        return "none"
    return f"{place(found.worker)}, started {when(found.worker.since, now)}"


def place(worker: "Worker") -> str:
    """Where a worker runs, and what is wrong or about to change with it."""
    name = f"{worker.host}/{worker.pid}" if worker.host else worker.id
    return name if worker.state == "serving" else f"{name} ({worker.state})"


def _fleet(listed: "list[Session]", now: datetime) -> list[str]:
    if not listed:
        return ["no phones"]
    from wa_sessions.cli.table import Column, table

    columns = (
        Column("PHONE"),
        Column("ORG", right=True),
        Column("NAME", flexible=True),
        Column("STATUS"),
        Column("HEALTH"),
        Column("MAC"),
        Column("DEC"),
        Column("KEYS", right=True),
        Column("CONNECTED"),
        Column("STORE", flexible=True),
        Column("WORKER", flexible=True),
    )
    paint = [None] * 4 + [lambda text: terminal.colour(text, _COLOURS[text])] + [None] * 6
    rows = [_row(found, now) for found in listed]
    return table(columns, rows, terminal.width(), paint) + _advice([found.stats for found in listed])


def _row(found: "Session", now: datetime) -> tuple[str, ...]:
    stats = found.stats
    return (
        stats.phone,
        str(stats.organization_id),
        terminal.plain(stats.display_name or ""),
        terminal.plain(stats.status),
        stats.severity,
        f"{stats.bad_mac_errors}/{stats.max_bad_mac_errors}",
        f"{stats.bad_decrypt_errors}/{stats.max_bad_decrypt_errors}",
        "-" if found.keys is None else str(found.keys),
        when(stats.last_connected_at, now),
        found.store or "",
        place(stats.worker) if stats.worker else "",
    )


def _advice(listed: "list[SessionErrorStats]") -> list[str]:
    """Whom to look at first, below the table."""
    from wa_sessions.actions.advice import needs_operator, next_step

    lines: list[str] = []
    urgent = [found for found in listed if needs_operator(found)]
    for found in urgent[:MOST_ADVICE]:
        lines += wrapped(f"{found.phone}: {next_step(found)}")
    if len(urgent) > MOST_ADVICE:
        lines.append(f"… and {len(urgent) - MOST_ADVICE} more need somebody")
    alone = sum(found.unknown_because == "no_worker" for found in listed)
    if alone:
        lines += wrapped(f"no worker runs {alone} of the neonize phones: wa-sessions run")
    if any(found.unknown_because in ("no_schema", "no_permission") for found in listed):
        odd = next(found for found in listed if found.unknown_because in ("no_schema", "no_permission"))
        lines += wrapped(next_step(odd) or "")
    return ["", *lines] if lines else []


def wrapped(text: str) -> list[str]:
    """Lines that fit; commands in the text stay whole, so that they can be copied."""
    whole = _COMMAND.sub(lambda command: command[0].replace(" ", _HARD_SPACE), terminal.plain(text))
    width = terminal.width()
    lines = textwrap.wrap(whole, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return [line.replace(_HARD_SPACE, " ") for line in lines]
