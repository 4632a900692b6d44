"""``stats`` and ``sessions``: how healthy sessions are."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    Output,
    PhoneArgument,
    ResultOptions,
    ScopeOptions,
)
from wa_sessions.cli.table import Column
from wa_sessions.cli.times import due, in_column, short, when
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.wording import counted

if TYPE_CHECKING:
    from wa_sessions.actions.watch.sessions import Session
    from wa_sessions.actions.watch.stats import SessionErrorStats, Worker

MOST_ADVICE = 10
_WORKER = ("id", "host", "pid", "since", "state")
_KEYS = ("store", "keys", "keys_by_type")
_COLOURS = {"ok": "32", "warning": "33", "critical": "1;31", "unknown": "2", "down": "1;31"}
NOT_KNOWN = "\u2013"
_COLUMNS = (
    Column("PHONE"),
    Column("ORG", right=True, drops=4),
    Column("NAME", flexible=True, drops=8),
    Column("STATUS"),
    Column("HEALTH"),
    Column("MAC", drops=7),
    Column("DEC", drops=6),
    Column("KEYS", right=True, drops=5),
    Column("CONNECTED", drops=3),
    Column("STORE", flexible=True, whole=True, drops=2),
    Column("WORKER", flexible=True, whole=True, drops=1),
)
KINDS = {"bad_mac": "Bad MAC", "bad_decrypt": "Bad Decrypt"}
_LABEL = 13
_UP = ("connected", "loading", "reconnecting")
_COMMAND = re.compile(r"wa-sessions [a-z][a-z-]*(?: (?:--[a-z0-9-]+|[A-Z]+|[0-9]+|op-\S*[a-z0-9]|'#[0-9]+'))*")
_HARD_SPACE = "\xa0"


def stats(
    phone: PhoneArgument,
    *,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Say how healthy a session is, and what to do about it.
    \f
    JSON: [the fields of `stats`](sessions.md#the-fields-of-stats-and-sessions).

    Exit: 0 whatever the health is, 2 (two organizations), 3, 4.

    Replaces: `pm2 logs messenger-backend | grep -E "(Bad MAC error #|Bad Decrypt error #)"`, for our own phones.
    """
    output, ref = result.chosen, parse_phone(phone)
    from wa_sessions.actions.watch.stats import session_stats

    with terminal.opened(where.database_url) as opened:
        found = session_stats(opened, ref, where.org)
    data = found.as_dict() if output is Output.JSON else _flat(found)
    terminal.show(output, data, card(found, datetime.now(UTC)))


def sessions(
    *,
    status: Annotated[str | None, typer.Option("--status", metavar="STATUS", help="Only with this status.")] = None,
    unhealthy: Annotated[
        bool, typer.Option("--unhealthy", help="Only with counted errors, or that somebody has to look at.")
    ] = False,
    few_keys: Annotated[
        int | None, typer.Option("--few-keys", metavar="N", min=1, help="Only with fewer than N auth keys.")
    ] = None,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """List all phones. With the health of their sessions, and how many keys they have.
    \f
    The worst stand first; below the table is how many stand how, who needs somebody, and why the others are not known.
    HEALTH is the severity, or `down` where no message can come through: by its status, or without a worker that has it
    connected. Counters of a phone that nobody observes are a dash. Filters narrow together. `--unhealthy` are, as with
    `u` in `top`, those that are down, `warning` or `critical`, and those of which a message is set aside or has waited
    for its handler for 5 minutes. `--few-keys` leaves out `waba` phones, which have none. A terminal that is wide
    enough shows store and worker too; one below 80 columns leaves columns out, and a pipe gets all, whole, unless
    `COLUMNS` says how wide it is.

    JSON: `sessions`, a list; each has [the fields of `stats`](sessions.md#the-fields-of-stats-and-sessions), then
    `store` (`baileys`, `whatsmeow`, null), `keys` and `keys_by_type`, as in `keys`; these two are null for `waba`
    phones and where the store cannot be read.

    Exit: 0 (also for none), 1 (`--few-keys` without the right to read a key store), 2 (a status that is none and that
    no phone has), 4.

    Replaces: `SELECT id, "phoneJid", status FROM "OrganizationPhone"`; with `--status connected`,
    `SELECT "phoneJid", status, "lastConnectedAt" … WHERE status = 'connected'`; joins of phones and counts of their
    keys; with `--few-keys`, looking for phones that have suspiciously few.
    """
    output = result.chosen
    from wa_sessions.actions.watch.sessions import fleet, left_out

    with terminal.opened(where.database_url) as opened:
        listed = fleet(opened, organization_id=where.org, status=status, unhealthy=unhealthy, few_keys=few_keys)
        for words in left_out(opened):
            terminal.say(words)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json({"sessions": [found.as_dict() for found in listed]}))
        case Output.TSV:
            rows = [_flat(found.stats) | _keys(found) for found in listed]
            terminal.write(*terminal.tsv(rows, [*_names(), *_KEYS]))
        case Output.TABLE:
            terminal.write(*_fleet(listed, datetime.now(UTC)))


def _flat(found: "SessionErrorStats") -> dict[str, Any]:
    """One level: the worker's fields as ``worker_…``."""
    data = found.as_dict()
    worker = data.pop("worker") or {}
    return data | {f"worker_{name}": worker.get(name) for name in _WORKER}


def _keys(found: "Session") -> dict[str, Any]:
    return {name: getattr(found, name) for name in _KEYS}


def _names() -> list[str]:
    from dataclasses import fields

    from wa_sessions.actions.watch.stats import SessionErrorStats

    plain = [field.name for field in fields(SessionErrorStats) if field.name != "worker"]
    return plain + [f"worker_{name}" for name in _WORKER]


def card(found: "SessionErrorStats", now: datetime) -> list[str]:
    """All that is known of one phone, as ``stats`` shows it, and what to do next."""
    from wa_sessions.actions.watch.advice import next_step

    title = terminal.plain(found.phone) + (f"  {terminal.plain(found.display_name)}" if found.display_name else "")
    lines = [title]
    for label, value in _facts(found, now):
        wide = terminal.width() - _LABEL - 2
        parts = textwrap.wrap(terminal.plain(value), wide, break_on_hyphens=False) or [""]
        parts[0] = terminal.colour(parts[0], _COLOURS[found.standing]) if label == "health" else parts[0]
        lines += [f"  {name:<{_LABEL}}{part}" for name, part in zip([label] + [""] * len(parts), parts, strict=False)]
    if advice := next_step(found):
        lines += wrapped(f"next: {advice}")
    return lines


def _facts(found: "SessionErrorStats", now: datetime) -> Iterator[tuple[str, str]]:
    why = found.unknown_reason or (found.uncounted_reason if found.standing == "warning" else None)
    yield "health", found.standing + (f": {why}" if why else "")
    yield "Bad MAC", counter_words(found, found.bad_mac_errors, found.max_bad_mac_errors)
    yield "Bad Decrypt", counter_words(found, found.bad_decrypt_errors, found.max_bad_decrypt_errors)
    if found.last_error_at:
        kind = KINDS.get(found.last_error_kind or "", found.last_error_kind or "")
        yield "last error", f"{kind}, {when(found.last_error_at, now)}"
    yield "status", f"{found.status}, last connected {when(found.last_connected_at, now)}"
    if found.force_closed_at:
        yield "closed", _forced(found, now)
    elif found.state:
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


def _forced(found: "SessionErrorStats", now: datetime) -> str:
    reason = f" ({found.force_closed_reason})" if found.force_closed_reason else ""
    return f"by {found.force_closed_by or 'somebody'}, {when(found.force_closed_at, now)}{reason}"


def counter_words(found: "SessionErrorStats", count: int, limit: int) -> str:
    """A counter and its limit in words; of a phone that nobody observes, what it was when last seen."""
    if found.observed:
        return f"{count} of {limit}"
    return f"{NOT_KNOWN} of {limit}" + (f" ({count} when last seen)" if count else "")


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
    from wa_sessions.cli.table import table

    worst_first = sorted(listed, key=lambda found: found.urgency)
    paint = [None] * 4 + [lambda text: terminal.colour(text, _COLOURS[text])] + [None] * 6
    rows = [fleet_row(found, now) for found in worst_first]
    shown = table(_COLUMNS, rows, terminal.table_width(), paint)
    return [*shown, "", *wrapped(_summary(listed)), *_advice([found.stats for found in worst_first])]


def _summary(listed: "list[Session]") -> str:
    """How many phones stand how, the worst first; times in the table are named for their zone here."""
    from wa_sessions.actions.watch.stats import Standing

    counts = Counter(found.standing for found in listed)
    stand = ", ".join(f"{counts[standing]} {standing}" for standing in Standing if counts[standing])
    return f"{counted(len(listed), 'phone')}: {stand} (times are UTC)"


def fleet_row(found: "Session", now: datetime) -> tuple[str, ...]:
    """What ``sessions`` shows of one phone."""
    stats = found.stats
    return (
        stats.phone,
        str(stats.organization_id),
        terminal.plain(stats.display_name or ""),
        terminal.plain(stats.status),
        found.standing,
        counter(stats, stats.bad_mac_errors, stats.max_bad_mac_errors),
        counter(stats, stats.bad_decrypt_errors, stats.max_bad_decrypt_errors),
        "-" if found.keys is None else str(found.keys),
        in_column(stats.last_connected_at, now),
        found.store or "",
        place(stats.worker) if stats.worker else "",
    )


def counter(stats: "SessionErrorStats", count: int, limit: int) -> str:
    """A counter and its limit; silence is not health, so nothing is said of a phone that nobody observes."""
    return f"{count}/{limit}" if stats.observed else NOT_KNOWN


def _advice(listed: "list[SessionErrorStats]") -> list[str]:
    """Whom to look at first, below the table, and why the others are not known."""
    from wa_sessions.actions.watch.advice import needs_operator, next_step

    lines: list[str] = []
    urgent = [found for found in listed if needs_operator(found)]
    for found in urgent[:MOST_ADVICE]:
        lines += wrapped(f"{found.phone}: {next_step(found)}")
    if len(urgent) > MOST_ADVICE:
        lines.append(f"… and {len(urgent) - MOST_ADVICE} more need somebody")
    groups: dict[str, list[SessionErrorStats]] = {}
    for found in listed:
        if found.unknown_because not in (None, "waba", "not_connected") and found not in urgent:
            groups.setdefault(str(found.unknown_reason), []).append(found)
    for reason, found_so in groups.items():
        lines += wrapped(_of_group(reason, found_so))
    return lines


def _of_group(reason: str, found: "list[SessionErrorStats]") -> str:
    from wa_sessions.actions.watch.advice import next_step

    first = min(found, key=lambda one: one.status not in _UP)  # what is down is told of something else to do
    if first.unknown_because == "no_worker" and len(found) > 1:
        return f"no worker runs {len(found)} of the neonize phones: wa-sessions run"
    who = first.phone if len(found) == 1 else f"{first.phone} and {len(found) - 1} more"
    command = _COMMAND.search(next_step(first) or "")
    return f"{who}: {reason}" + (f": {command[0]}" if command and command[0] not in reason else "")


def wrapped(text: str, width: int | None = None) -> list[str]:
    """Lines that fit, into the terminal if nothing else is said; commands stay whole, so that they can be copied."""
    whole = _COMMAND.sub(lambda command: command[0].replace(" ", _HARD_SPACE), terminal.plain(text))
    width = width or terminal.width()
    lines = textwrap.wrap(whole, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return [line.replace(_HARD_SPACE, " ") for line in lines]
