"""``stats`` and ``sessions``: how healthy sessions are."""

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import DatabaseUrl, Json, Organization, Output, OutputOption, PhoneArgument, chosen
from wa_sessions.cli.table import Column, table
from wa_sessions.cli.times import when
from wa_sessions.keys.phone_ref import parse_phone

if TYPE_CHECKING:
    from wa_sessions.actions.stats import SessionErrorStats

MOST_ADVICE = 10
_WORKER = ("id", "host", "pid", "since")
_COLOURS = {"ok": "32", "warning": "33", "critical": "1;31", "unknown": "2"}
_KINDS = {"bad_mac": "Bad MAC", "bad_decrypt": "Bad Decrypt"}
_LABEL = 13
_COMMAND, _HARD_SPACE = "wa-sessions ", "\xa0"
_COLUMNS = (
    Column("PHONE"),
    Column("ORG", right=True),
    Column("NAME", flexible=True),
    Column("STATUS"),
    Column("HEALTH"),
    Column("MAC"),
    Column("DEC"),
    Column("CONNECTED"),
)


def stats(
    phone: PhoneArgument,
    *,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say how healthy a session is, and what to do about it."""
    output, ref = chosen(output, json=json), parse_phone(phone)
    from wa_sessions.actions.stats import session_stats

    with terminal.opened(database_url) as opened:
        found = session_stats(opened, ref, org)
    data = found.as_dict() if output is Output.JSON else _flat(found)
    terminal.show(output, data, _card(found, datetime.now().astimezone()))


def sessions(
    *,
    status: Annotated[str | None, typer.Option("--status", metavar="STATUS", help="Only with this status.")] = None,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List all phones with the health of their sessions."""
    output = chosen(output, json=json)
    from wa_sessions.actions.sessions import fleet

    with terminal.opened(database_url) as opened:
        listed = fleet(opened, organization_id=org, status=status)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json({"sessions": [found.as_dict() for found in listed]}))
        case Output.TSV:
            terminal.write(*terminal.tsv([_flat(found) for found in listed], _names()))
        case Output.TABLE:
            terminal.write(*_fleet(listed, datetime.now().astimezone()))


def _flat(found: "SessionErrorStats") -> dict[str, Any]:
    """One level: the worker's fields as ``worker_…``."""
    data = found.as_dict()
    worker = data.pop("worker") or {}
    return data | {f"worker_{name}": worker.get(name) for name in _WORKER}


def _names() -> list[str]:
    from dataclasses import fields

    from wa_sessions.actions.stats import SessionErrorStats

    plain = [field.name for field in fields(SessionErrorStats) if field.name != "worker"]
    return plain + [f"worker_{name}" for name in _WORKER]


def _card(found: "SessionErrorStats", now: datetime) -> list[str]:
    from wa_sessions.actions.advice import next_step

    title = found.phone + (f"  {terminal.plain(found.display_name)}" if found.display_name else "")
    lines = [title]
    for label, value in _facts(found, now):
        wrapped = textwrap.wrap(terminal.plain(value), terminal.width() - _LABEL - 2) or [""]
        wrapped[0] = terminal.colour(wrapped[0], _COLOURS[found.severity]) if label == "health" else wrapped[0]
        lines += [
            f"  {name:<{_LABEL}}{part}" for name, part in zip([label] + [""] * len(wrapped), wrapped, strict=False)
        ]
    if advice := next_step(found):
        lines += _wrapped(f"next: {advice}")
    return lines


def _facts(found: "SessionErrorStats", now: datetime) -> Iterator[tuple[str, str]]:
    yield "health", found.severity
    yield "Bad MAC", f"{found.bad_mac_errors} of {found.max_bad_mac_errors}"
    yield "Bad Decrypt", f"{found.bad_decrypt_errors} of {found.max_bad_decrypt_errors}"
    if found.last_error_at:
        kind = _KINDS.get(found.last_error_kind or "", found.last_error_kind or "")
        yield "last error", f"{kind}, {when(found.last_error_at, now)}"
    yield "status", f"{found.status}, last connected {when(found.last_connected_at, now)}"
    if found.state:
        yield "session", _state(found, now)
    if found.retry_at and found.observed:
        yield ("QR until" if found.state == "pairing" else "next attempt"), when(found.retry_at, now)
    ends = f"{found.messages_recovered} recovered, {found.messages_lost} lost"
    yield "messages", f"{found.messages_pending} waiting for a retry, {ends}"
    yield "worker", _worker(found, now)
    yield "phone", f"#{found.phone_id}, organization {found.organization_id}, {found.connection_type}"


def _state(found: "SessionErrorStats", now: datetime) -> str:
    detail = f" ({found.state_detail})" if found.state_detail else ""
    state = (found.state or "").replace("_", " ")
    earlier = "" if found.observed else "when last seen: "
    return f"{earlier}{state}{detail}, {when(found.state_since, now)}"


def _worker(found: "SessionErrorStats", now: datetime) -> str:
    if found.worker is None:
        return "none"
    place = f"{found.worker.host}/{found.worker.pid}" if found.worker.host else found.worker.id
    return f"{place}, started {when(found.worker.since, now)}"


def _fleet(listed: "list[SessionErrorStats]", now: datetime) -> list[str]:
    if not listed:
        return ["no phones"]
    rows = [
        (
            found.phone,
            str(found.organization_id),
            terminal.plain(found.display_name or ""),
            found.status,
            found.severity,
            f"{found.bad_mac_errors}/{found.max_bad_mac_errors}",
            f"{found.bad_decrypt_errors}/{found.max_bad_decrypt_errors}",
            when(found.last_connected_at, now),
        )
        for found in listed
    ]
    paint = [None] * 4 + [lambda text: terminal.colour(text, _COLOURS[text])] + [None] * 3
    return table(_COLUMNS, rows, terminal.width(), paint) + _advice(listed)


def _advice(listed: "list[SessionErrorStats]") -> list[str]:
    """Whom to look at first, below the table."""
    from wa_sessions.actions.advice import needs_operator, next_step

    lines: list[str] = []
    urgent = [found for found in listed if needs_operator(found)]
    for found in urgent[:MOST_ADVICE]:
        lines += _wrapped(f"{found.phone}: {next_step(found)}")
    if len(urgent) > MOST_ADVICE:
        lines.append(f"… and {len(urgent) - MOST_ADVICE} more need somebody")
    alone = sum(found.unknown_because == "no_worker" for found in listed)
    if alone:
        lines += _wrapped(f"no worker runs {alone} of the neonize phones: wa-sessions run")
    if any(found.unknown_because in ("no_schema", "no_permission") for found in listed):
        odd = next(found for found in listed if found.unknown_because in ("no_schema", "no_permission"))
        lines += _wrapped(next_step(odd) or "")
    return ["", *lines] if lines else []


def _wrapped(text: str) -> list[str]:
    """Lines that fit; the command that the text ends with stays whole, so that it can be copied."""
    words, command, arguments = terminal.plain(text).partition(_COMMAND)
    whole = words + (command + arguments).replace(" ", _HARD_SPACE)
    width = terminal.width()
    lines = textwrap.wrap(whole, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return [line.replace(_HARD_SPACE, " ") for line in lines]
