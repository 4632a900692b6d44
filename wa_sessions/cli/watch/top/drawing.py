"""PURE: the view's lines, as text with styles of the terminal's own sixteen colours."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len
from rich.text import Span, Text

from wa_sessions.actions.watch.advice import next_step
from wa_sessions.actions.watch.stats import SessionErrorStats, Standing
from wa_sessions.actions.watch.top import MINUTES, Row
from wa_sessions.cli import terminal
from wa_sessions.cli.table import cut
from wa_sessions.cli.times import short, when
from wa_sessions.cli.watch.stats import KINDS, counter_words, doing, inbox_words, place, wrapped
from wa_sessions.cli.watch.top.sparkline import sparkline
from wa_sessions.health.checking import Thresholds

GAP = 1
STYLES = {
    Standing.DOWN: "bold red reverse",
    Standing.CRITICAL: "bold red",
    Standing.WARNING: "bold yellow",
    Standing.UNKNOWN: "dim",
    Standing.OK: "green",
}
_SHORT_KINDS = {"bad_mac": "MAC", "bad_decrypt": "DEC"}
_NOT_KNOWN = "-"  # silence is not health
_NAME, _NAME_AT_MOST = 8, 32
_INBOX = 9  # 12345 59m
_LATE = Thresholds(timedelta()).inbox_warning  # what ``check`` says by default
_WIDE_ONLY = ("INBOX", "TYPE", "WORKER")


@dataclass(frozen=True, slots=True)
class Moment:
    """What all rows are drawn against: the time, and how many errors a minute a full bar stands for."""

    now: datetime
    peak: int


Shown = tuple[str, str]  # a text and its style
Cell = Callable[[Row, int, Moment], Shown]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table, its width without the gap after it."""

    title: str
    width: int
    cell: Cell


def columns(rows: Sequence[Row], width: int) -> list[Column]:
    """What fits: at 80 columns all but the inbox, the type and the worker, which the lines below the table tell.

    A wider terminal has room for more, in this order: the inbox, the worker, the type, a minute a bar, names whole.
    """
    longest = max((len(row.stats.phone) for row in rows), default=0)
    shown = [
        Column("PHONE", max(longest, 11), _phone),
        Column("NAME", _NAME, _name),
        Column("TYPE", 7, _type),
        Column("STATUS", 12, _condition),
        Column("HEALTH", 8, _standing),
        Column("MAC", 3, _bad_mac),
        Column("DEC", 3, _bad_decrypt),
        Column("P/L", 5, _pending_lost),
        Column("INBOX", _INBOX, _inbox),
        Column("ERR/MIN", MINUTES // 3, _errors),
        Column("LAST ERR", 8, _last_error),
        Column("WORKER", max((cell_len(_where(row)) for row in rows), default=0), _worker),
    ]
    optional = {"INBOX": _INBOX, "WORKER": max(shown[-1].width, 6), "TYPE": 7, "ERR/MIN": MINUTES}
    left = width - sum(column.width + GAP for column in shown if column.title not in _WIDE_ONLY)
    wider: dict[str, int] = {}
    for title, wanted in optional.items():
        more = wanted - MINUTES // 3 if title == "ERR/MIN" else wanted + GAP
        if more <= left:
            wider[title], left = wanted, left - more
    names = max((cell_len(_name_of(row)) for row in rows), default=0)
    wider["NAME"] = min(max(_NAME + left, len("NAME")), max(names, _NAME), _NAME_AT_MOST)
    kept = [column for column in shown if column.title not in _WIDE_ONLY or column.title in wider]
    return [Column(column.title, wider.get(column.title, column.width), column.cell) for column in kept]


def cells(row: Row, shown: Sequence[Column], moment: Moment) -> list[Text]:
    """A row's cells, each as wide as its column."""
    return [_fitted(column.cell(row, column.width, moment), column.width) for column in shown]


def summary(rows: Sequence[Row], now: datetime, width: int) -> Text:
    """How many phones stand how, the worst first, and the time."""
    counts = Counter(row.standing for row in rows)
    text = Text(f"{len(rows)} {'phone' if len(rows) == 1 else 'phones'}", style="bold")
    for standing in Standing:
        if counts[standing]:
            text.append(" ").append(f" {counts[standing]} {standing} ", style=STYLES[standing])
    return _ends(text, _clock(now), width)


def errors_line(rows: Sequence[Row], asked: str, width: int) -> Text:
    """Errors a minute of all phones together, what waits for handlers, and what is shown of them."""
    total = [sum(counts) for counts in zip(*(row.errors for row in rows), strict=True)] or [0] * MINUTES
    room = MINUTES if width >= 100 else MINUTES // 2
    bars = sparkline(total, room, max(total))
    text = Text("errors/min ").append(bars, style="red" if any(total) else "dim")
    text.append(f"  {total[-1]} in the last{' minute' if width >= 100 else ''}, {sum(total)} in {MINUTES} min")
    if any(row.stats.inbox_waiting or row.stats.inbox_dead for row in rows):
        text.append(f"  inbox {_inbox_of(*(row.stats for row in rows))}")
    return _ends(text, asked, width)


def alarm(why: str) -> Text:
    """Why what is shown is not of now."""
    return Text(terminal.plain(why), style="bold red reverse")


def headline(row: Row, now: datetime, width: int) -> Text:
    """How one phone stands, and the time."""
    stats = row.stats
    text = Text(f"{stats.phone}  ", style="bold").append(f" {row.standing} ", style=STYLES[row.standing])
    text.append(f"  Bad MAC {counter_words(stats, stats.bad_mac_errors, stats.max_bad_mac_errors)}")
    text.append(f", Bad Decrypt {counter_words(stats, stats.bad_decrypt_errors, stats.max_bad_decrypt_errors)}")
    return _ends(text, _clock(now), width)


def details(row: Row, now: datetime, width: int) -> Text:
    """What to do next about one phone, and what else is known of it; a command stands on one line, to be copied."""
    stats = row.stats
    place_ = f"  organization {stats.organization_id}, {terminal.plain(stats.connection_type)}"
    name = f"{stats.phone}  {terminal.plain(stats.display_name or '')}".rstrip()
    text = Text(cut(name, max(width - cell_len(place_), len(stats.phone))), style="bold")
    text.append(f"{place_}\n", style="not bold")
    advice = next_step(stats)
    lines = wrapped(f"next: {advice}", width) if advice else ["all is well"]
    return text.append("\n".join([*lines, "; ".join(_facts(stats, now))]), style="not bold")


def _facts(stats: SessionErrorStats, now: datetime) -> Iterator[str]:
    if stats.state:
        yield terminal.plain(doing(stats, now))
    yield f"status {terminal.plain(stats.status)}"
    if stats.last_error_at:
        kind = KINDS.get(stats.last_error_kind or "", stats.last_error_kind or "")
        yield f"last error {terminal.plain(kind)} {when(stats.last_error_at, now)}"
    if stats.uncounted_reason:
        yield stats.uncounted_reason
    if stats.messages_pending:
        yield f"{stats.messages_pending} pending"
    if stats.messages_lost:
        yield f"{stats.messages_lost} lost"
    if words := inbox_words(stats):
        yield f"inbox: {words}"
    yield f"worker {terminal.plain(place(stats.worker))}" if stats.worker else "no worker"


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago, in one number and one letter.

    >>> now = datetime(2026, 1, 15, 18, 0, tzinfo=UTC)
    >>> age(now - timedelta(seconds=60), now), age(None, now)
    ('1m', '')
    """
    return short(max(now - moment, timedelta())) if moment else ""


def _clock(now: datetime) -> str:
    return f"{now.astimezone(UTC):%H:%M:%S} UTC"


def _ends(left: Text, right: str, width: int) -> Text:
    """Something at the left and something at the right of a line; the left gives way."""
    room = width - cell_len(right) - 1
    left.truncate(max(room, 0), overflow="ellipsis", pad=True)
    return left.append(" ").append(right)


def _fitted(shown: Shown, width: int) -> Text:
    text, style = shown
    text = cut(text, width)
    padding = " " * (width - cell_len(text) + GAP)
    return Text(text + padding, spans=[Span(0, len(text), style)] if style else None)


def _phone(row: Row, _width: int, _moment: Moment) -> Shown:
    return row.stats.phone, "bold" if row.standing in (Standing.DOWN, Standing.CRITICAL) else ""


def _name(row: Row, _width: int, _moment: Moment) -> Shown:
    return _name_of(row), ""


def _type(row: Row, _width: int, _moment: Moment) -> Shown:
    return terminal.plain(row.stats.connection_type), ""


def _condition(row: Row, _width: int, _moment: Moment) -> Shown:
    return terminal.plain(row.condition), "red" if row.standing is Standing.DOWN else ""


def _standing(row: Row, _width: int, _moment: Moment) -> Shown:
    return row.standing, STYLES[row.standing]


def _bad_mac(row: Row, _width: int, _moment: Moment) -> Shown:
    return _counted(row, row.stats.bad_mac_errors, row.stats.max_bad_mac_errors)


def _bad_decrypt(row: Row, _width: int, _moment: Moment) -> Shown:
    return _counted(row, row.stats.bad_decrypt_errors, row.stats.max_bad_decrypt_errors)


def _pending_lost(row: Row, _width: int, _moment: Moment) -> Shown:
    pending, lost = row.stats.messages_pending, row.stats.messages_lost
    if not (row.stats.observed or pending or lost):
        return _NOT_KNOWN, "dim"
    return f"{pending}/{lost}", "yellow" if pending else "" if lost else "dim"


def _errors(row: Row, width: int, moment: Moment) -> Shown:
    if not (row.stats.observed or any(row.errors)):
        return "", ""
    return sparkline(row.errors, width, moment.peak), "red" if any(row.errors) else "dim"


def _inbox(row: Row, _width: int, _moment: Moment) -> Shown:
    stats = row.stats
    if not (stats.inbox_waiting or stats.inbox_dead):
        return ("0" if stats.observed else ""), "dim"
    late = (stats.inbox_oldest_seconds or 0) >= _LATE.total_seconds()
    return _inbox_of(stats), "yellow" if late or stats.inbox_dead else ""


def _inbox_of(*listed: SessionErrorStats) -> str:
    """How many wait, and those that are set aside where there are any; for how long the oldest has waited."""
    waiting, dead = sum(stats.inbox_waiting for stats in listed), sum(stats.inbox_dead for stats in listed)
    oldest = max(stats.inbox_oldest_seconds or 0 for stats in listed)
    return f"{waiting}{f'/{dead}' if dead else ''} {short(timedelta(seconds=oldest)) if waiting else ''}".rstrip()


def _last_error(row: Row, _width: int, moment: Moment) -> Shown:
    stats = row.stats
    kind = _SHORT_KINDS.get(stats.last_error_kind or "", "")
    return f"{kind} {age(stats.last_error_at, moment.now)}".strip(), ""


def _worker(row: Row, _width: int, _moment: Moment) -> Shown:
    return _where(row), ""


def _where(row: Row) -> str:
    return terminal.plain(place(row.stats.worker)) if row.stats.worker else ""


def _name_of(row: Row) -> str:
    return f"{row.stats.organization_id} {terminal.plain(row.stats.display_name or '')}".rstrip()


def _counted(row: Row, count: int, limit: int) -> Shown:
    if not row.stats.observed:
        return _NOT_KNOWN, "dim"
    style = "dim" if not count else "bold red" if count >= limit - 1 else "bold yellow"
    return f"{count}/{limit}", style
