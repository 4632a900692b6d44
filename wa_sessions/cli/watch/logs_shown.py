"""How ``logs`` shows what logs say: a table and what stands below it, one line an event, secrets by file."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wa_sessions.cli import terminal
from wa_sessions.cli.options import Output
from wa_sessions.cli.table import Column
from wa_sessions.cli.times import in_column, when

if TYPE_CHECKING:
    from wa_sessions.actions.watch.last_lines import LastLine
    from wa_sessions.actions.watch.logs import Line, Scope
    from wa_sessions.actions.watch.recorded import Recorded
    from wa_sessions.logs.report import Errors, LogReport, PhoneLog
    from wa_sessions.logs.scan_result import ScanResult

_ERRORS = ("counter_lines", "max_counter", "last_counter", "messages", "first_at", "last_at")
_MEANINGS = {
    "bad_mac": "did not authenticate",
    "bad_decrypt": "collections of synced state that did not decrypt",
    "missing_key": "collections whose key is missing",
    "duplicate": "came twice; nothing is wrong",
    "no_session": "there was no session with the sender",
    "invalid_prekey": "meant for a pre-key that is not there any more",
    "group": "the sender's key of the group was missing or wrong",
    "other": "failed for another reason",
}
_MOST_NAMED = 4
_MOST_REASONS = 8
_COLUMNS = (
    Column("PHONE"),
    Column("MAC", right=True),
    Column("MAX", right=True, drops=1),
    Column("NOW", right=True),
    Column("DEC", right=True, drops=7),
    Column("MAX", right=True, drops=2),
    Column("NOW", right=True, drops=6),
    Column("RESETS", right=True, drops=3),
    Column("CLOSES", right=True, drops=5),
    Column("LAST (UTC)", drops=4),
    Column("NAME", flexible=True, drops=8),
)


def show(
    told: "LogReport",
    output: Output,
    scope: "Scope",
    recorded: "Recorded | None" = None,
    *,
    last: "Sequence[LastLine]" = (),
    indent: int | None = 2,
) -> None:
    """Write a report on what was asked for; what could not be read is told on stderr too.

    ``last``: the last line of each log, unless a run recorded it.
    """
    warn(told.unread)
    match output:
        case Output.JSON:
            logs = {"logs": [one.as_dict() for one in last]} if scope.since else {}
            more = {"recorded": recorded.as_dict()} if recorded else logs
            terminal.write(terminal.as_json(told.as_dict() | more, indent=indent))
        case Output.TSV:
            columns = ["phone", *(f"{kind}_{name}" for kind in ("bad_mac", "bad_decrypt") for name in _ERRORS)]
            columns += ["resets", "closes", "library", "name"]
            terminal.write(*terminal.tsv([_flat(phone) for phone in told.phones], columns))
        case Output.TABLE:
            nothing = "no new line names a phone" if recorded else _nothing(scope, told)
            terminal.write(*_lines(told, datetime.now(UTC), nothing, narrow=scope.narrow))
            terminal.write(*(line for one in last for line in _silent(one, scope.since, datetime.now(UTC))))
            if recorded:
                terminal.write(*_recorded(recorded))


def warn(unread: "Sequence[tuple[str, int, str]]") -> None:
    """Say on stderr what could not be read."""
    for form, lines, example in unread:
        terminal.say(f"{_counted(lines, 'line')} could not be read ({form}), such as: {example}")


def warn_of_strangers(names: "Sequence[str]") -> None:
    """Say on stderr whom lines name that no row has."""
    if names:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        terminal.say(f"named in the log, not in the database: {', '.join(names[:_MOST_NAMED])}{more}")


def event_line(line: "Line", now: datetime) -> str:
    """One event: when (UTC), whose, what."""
    event = line.event
    at = now if event.time < 0 else datetime.fromtimestamp(event.time / 1000, UTC)
    who = " or ".join(event.phones[:_MOST_NAMED]) or "?"
    name = next((name for name in line.names if name), None) if len(event.phones) == 1 else None
    return terminal.plain("  ".join([f"{at:%H:%M:%S}", who, event.text, *([name] if name else [])]))


def show_secrets(names: list[str], found: "list[ScanResult]", output: Output) -> None:
    """How often private keys stand in each file."""
    from wa_sessions.logs.report import unread

    rows = [{"file": name, "secrets": one.secrets} for name, one in zip(names, found, strict=True)]
    total = sum(one.secrets for one in found)
    forms = unread(found)
    warn(forms)
    match output:
        case Output.JSON:
            left = [dict(zip(("form", "lines", "example"), form, strict=True)) for form in forms]
            terminal.write(terminal.as_json({"files": rows, "secrets_seen": total, "unread": left}))
        case Output.TSV:
            terminal.write(*terminal.tsv(rows, ["file", "secrets"]))
        case Output.TABLE:
            terminal.write(*(f"{row['secrets']:>7}  {terminal.plain(str(row['file']))}" for row in rows))
            if total:
                terminal.say("whoever can read these files can read messages: delete them, and every copy")


def _silent(last: "LastLine", since: datetime | None, now: datetime) -> Iterator[str]:
    """Where nothing was written since then: when the last line was."""
    if since is None or (newest := last.at or last.written_at) is None or newest >= since:
        return
    if last.at:
        what = f"its last line of the backend or its library was written {when(last.at, now)}"
    else:
        what = f"it was last written to {when(newest, now)}, and no line in it is known to be the backend's"
    yield from _wrapped(f"{terminal.plain(last.log)} is silent: {what}")


def _recorded(recorded: "Recorded") -> Iterator[str]:
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(recorded.entries.items()))
    yield from _wrapped(f"recorded of {_counted(recorded.observed, 'phone')}: {counts or 'nothing new'}")
    failing, failing_left = _most_common(recorded.failing)
    for reason, phones in failing:
        yield from _wrapped(f"of {_counted(phones, 'phone')}: {reason}")
    if failing_left:
        yield from _wrapped(f"of {_counted(failing_left, 'more phone')} messages failed again, too")
    doubts, left = _most_common(recorded.doubts)
    for reason, phones in doubts:
        yield from _wrapped(f"health of {_counted(phones, 'phone')} not fully known: {reason}")
    if left:
        yield from _wrapped(f"health of {_counted(left, 'more phone')} not fully known, for other reasons")


def _most_common(phones_of: "Mapping[str, Sequence[str]]") -> tuple[list[tuple[str, int]], int]:
    """The reasons of most phones, and how many phones have others."""
    counts = Counter({reason: len(numbers) for reason, numbers in phones_of.items()}).most_common()
    return counts[:_MOST_REASONS], sum(phones for _, phones in counts[_MOST_REASONS:])


def _flat(phone: "PhoneLog") -> dict[str, Any]:
    data = phone.as_dict()
    for kind in ("bad_mac", "bad_decrypt"):
        data |= {f"{kind}_{name}": value for name, value in data.pop(kind).items()}
    return data


def _nothing(scope: "Scope", told: "LogReport") -> str:
    """What to say where no phone is told of, without a word about lines that were not asked for."""
    if not (told.recognized or told.unread or scope.since):
        return "no line here is known to be the backend's or its library's: are these its logs?"
    whose = " of these" if scope.narrow else ""
    since = f" since {scope.since:%d %b %H:%M} UTC" if scope.since else ""
    return f"no line{since} names a phone{whose}"


def _lines(told: "LogReport", now: datetime, nothing: str, *, narrow: bool) -> Iterator[str]:
    from wa_sessions.cli.table import table

    rows = [_row(phone, now) for phone in sorted(told.phones, key=_worst_first)]
    if rows:
        yield from table(_COLUMNS, rows, terminal.table_width(), [None] * len(_COLUMNS))
    else:
        yield nothing
    yield ""
    yield from _library(told, " of all phones" if narrow else "")
    for phones, count in told.candidates[:5]:
        yield f"  {count} of {' or '.join(phones[:_MOST_NAMED])}{' or others' if len(phones) > _MOST_NAMED else ''}"
    if told.undetermined:
        yield f"{told.undetermined} more say why only in the other log: give both, out and error"
    for phone_id, count in told.unknown_resets.items():
        yield f"{_counted(count, 'reset')} of #{phone_id}, which is no known phone"
    if told.secrets_seen:
        times = _counted(told.secrets_seen, "time")
        where = "wa-sessions logs --find-secrets, with the same files or --pm2 NAME"
        yield from _wrapped(f"private keys were logged {times}; where: {where}")
    for form, lines, example in told.unread:
        yield from _wrapped(
            f"could not be read: {_counted(lines, 'line')} ({form}), such as: {terminal.plain(example)}"
        )
    yield from _left_out(told)


def _library(told: "LogReport", whose: str) -> Iterator[str]:
    """Failed messages by the library's own lines: how many, what that means, and how many of them are of nobody."""
    if not (told.recognized or told.unread):
        return
    if not any(told.library.values()):
        yield f"the library's own lines tell of no failed message{whose}"
        return
    yield f"by the library's own lines failed{whose}:"
    for kind, count in told.library.items():
        if count:
            nobody = told.unattributed[kind]
            of = f"; {nobody} of no certain phone" if nobody else ""
            yield from _wrapped(f"{count:>7} {kind.replace('_', ' ')}: {_MEANINGS[kind]}{of}", "          ")


def _left_out(told: "LogReport") -> Iterator[str]:
    left_out = dict.fromkeys(told.left_out)
    reasons = Counter(reason for _, reason in left_out)
    for reason, count in reasons.most_common():
        phones = [phone for phone, why in left_out if why == reason]
        more = f" and {count - _MOST_NAMED} more" if count > _MOST_NAMED else ""
        yield from _wrapped(f"left out, as {reason}: {', '.join(phones[:_MOST_NAMED])}{more}")


def _worst_first(phone: "PhoneLog") -> tuple[int, ...]:
    """By what counts now, then by how much failed."""
    standing = max(phone.bad_mac.last_counter or 0, phone.bad_decrypt.last_counter or 0)
    failed = phone.bad_mac.messages + phone.bad_decrypt.messages
    return -standing, -sum(phone.closes.values()), -failed, -sum(phone.library.values())


def _row(phone: "PhoneLog", now: datetime) -> tuple[str, ...]:
    last = max((at for at in (phone.bad_mac.last_at, phone.bad_decrypt.last_at) if at), default=None)
    return (
        phone.phone,
        *_cells(phone.bad_mac),
        *_cells(phone.bad_decrypt),
        "?" if phone.resets is None else str(phone.resets),
        str(sum(phone.closes.values())),
        in_column(last, now) if last else "-",
        phone.name or "",
    )


def _cells(errors: "Errors") -> tuple[str, str, str]:
    standing = "?" if errors.last_counter is None else str(errors.last_counter)
    return str(errors.messages), str(errors.max_counter), standing


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    return textwrap.wrap(
        text, terminal.width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
