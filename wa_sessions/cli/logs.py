"""``logs``: what the Node backend's logs say about its phones."""

import sys
import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import DatabaseUrl, Json, Organization, Output, OutputOption, chosen
from wa_sessions.cli.times import when
from wa_sessions.errors import DatabaseError, PermissionMissing, UsageError
from wa_sessions.health.sentences import counted

if TYPE_CHECKING:
    from wa_sessions.actions.record_logs import Recorded
    from wa_sessions.logs.found import Found
    from wa_sessions.logs.report import Errors, LogReport, PhoneLog

_ERRORS = ("counter_lines", "max_counter", "last_counter", "messages", "first_at", "last_at")


def logs(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE...]", help="Log files, gzipped ones too; - is stdin.")
    ] = None,
    *,
    pm2: Annotated[
        str | None, typer.Option("--pm2", metavar="NAME", help="The logs that pm2 keeps of this process.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Read on as they grow, until Ctrl-C.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Put what is new into the phones' counters and history, each line once.")
    ] = False,
    find_secrets: Annotated[
        bool, typer.Option("--find-secrets", help="Only count private keys that were logged, by file.")
    ] = False,
    org: Organization = None,
    output: OutputOption = Output.TABLE,
    json: Json = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Tell from the Node backend's logs what each phone met.
    \f
    Give both logs of a process, out and error: some messages have one line in each. Lines are read with pm2's prefixes,
    as pm2's JSON, and as pino's; words that a customer wrote count nothing. A message is counted once, however many
    lines, stored session states and retries it has. pm2 writes local times: how far they are from UTC is seen from
    lines that have pino's time too, else this machine's zone is taken.

    The library's own lines name only the sender. With a database they are attributed to the phone that holds the
    sender's session or sender key (or else its LID or device list), if only one does. Only SELECT is needed. Without a
    database everything else is told. A private key that was logged is never shown, only counted.

    `--follow` tells it all once, and then what changes. A log may be renamed, copied and truncated, or packed
    meanwhile, as logrotate and pm2-logrotate do it: what of it was not read yet is looked for in the same folder.

    `--record` reads on from where the last run with it ended, and writes errors, resets and closes into the counters
    and the history, so that `stats`, `check`, `errors`, metrics and alerts know the backend's phones: all `baileys`
    phones, or those of `--org`. A run is written whole or not at all, and each line counts once, whoever kills what:
    cron can run it every minute; `--follow` does it as the logs grow, and every 30 seconds. Where the backend writes
    counter lines, they are the counters. Where it does not, a message of a certain phone counts as one Bad MAC when a
    retried copy fails too, and a later connection of the phone resets the counter; that needs both logs, and Bad
    Decrypt is then of no certain phone. What is over an hour old makes no alert. A log is recorded for all, or for each
    organization by itself, not both. It needs `wa-sessions db upgrade`.

    JSON: `phones`, a list: `phone`, `bad_mac` and `bad_decrypt` (each `counter_lines`, `max_counter`, `last_counter`: 0
    after a reset; `messages`, `first_at`, `last_at`), `resets`, `closes` (by reason), `library`. `last_counter` is null
    where files leave the order of lines open, and with `resets` where a reset's phone id is of no known phone.
    `library`: failed messages (or collections) by the library's own lines, of all phones: `bad_mac`, `bad_decrypt`,
    `missing_key`, `duplicate` (old counters in groups too), `no_session`, `invalid_prekey`, `group` (no sender key, or
    its signature is wrong). `unattributed`: the same for those of no certain phone, `candidates` (`phones`,
    `messages`) where several hold the sender's keys, and `resets` by unknown phone id. `undetermined`: messages whose
    reason stands in the error log, which was not given. `secrets_seen`. With `--find-secrets`: `files` (`file`,
    `secrets`) and `secrets_seen`. With `--follow` one object a line, each time that something is new. `--record` tells
    of what is new, and adds `recorded`: `phones` (observed), `entries` (of the history, by kind) and `lost` (logs that
    were truncated while something in them may have been unread).

    Exit: 0 whatever the logs say, 1 (a file cannot be read, `--record` without our schema or at the same time as
    another), 2, 4 (`--database-url` leads nowhere), 130 (`--follow` ended by Ctrl-C).

    Replaces: `pm2 logs messenger-backend --lines 100 | grep -E "(Bad MAC|bad decrypt)"`, which counts lines and what
    customers write; and `grep -E "(Bad MAC error #|Bad Decrypt error #)"`.
    """
    output = chosen(output, json=json)
    if bool(files) == bool(pm2):
        raise UsageError("which logs? Name files, - for stdin, or a pm2 process with --pm2")
    if find_secrets and (follow or record):
        raise UsageError("--find-secrets only counts: leave --follow and --record out")
    from wa_sessions.actions import logs as action
    from wa_sessions.logs.files import STDIN, of_pm2

    names = list(dict.fromkeys(files or of_pm2(pm2 or "")))
    if STDIN in names and (follow or record):
        raise UsageError("stdin cannot be read on later: name files, or a pm2 process with --pm2")
    if find_secrets:
        _show_secrets(names, action.read_logs(names), output)
    elif record:
        _record(names, org, database_url, output, follow=follow)
    elif follow:
        _follow(names, org, database_url, output)
    else:
        _show(_told(action.read_logs(names), org, database_url), output)


def _show(told: "LogReport", output: Output, recorded: "Recorded | None" = None, *, indent: int | None = 2) -> None:
    _warn(told)
    match output:
        case Output.JSON:
            more = {"recorded": recorded.as_dict()} if recorded else {}
            terminal.write(terminal.as_json(told.as_dict() | more, indent=indent))
        case Output.TSV:
            columns = ["phone", *(f"{kind}_{name}" for kind in ("bad_mac", "bad_decrypt") for name in _ERRORS)]
            terminal.write(
                *terminal.tsv([_flat(phone) for phone in told.phones], [*columns, "resets", "closes", "library"])
            )
        case Output.TABLE:
            terminal.write(*_lines(told, datetime.now().astimezone()))
            if recorded:
                terminal.write(*_wrapped(_recorded(recorded)), *_doubts(recorded))


def _warn(told: "LogReport") -> None:
    for form, lines, example in told.unread:
        terminal.say(f"{counted(lines, 'line')} could not be read ({form}), such as: {example}")


def _follow(names: list[str], org: int | None, database_url: str | None, output: Output) -> None:
    from wa_sessions.actions import logs as action

    before: LogReport | None = None
    for found in action.follow(names):
        told = _told(found, org, database_url, quietly=before is not None)
        if before is None or output is not Output.TABLE:
            _show(told, output, indent=None)
        else:
            terminal.write(*_changes(before, told, datetime.now().astimezone()))
        sys.stdout.flush()
        before = told


def _record(names: list[str], org: int | None, database_url: str | None, output: Output, *, follow: bool) -> None:
    from wa_sessions.actions import logs as action
    from wa_sessions.actions.record_logs import follow_and_record
    from wa_sessions.actions.record_logs import record as record_once

    with terminal.opened(database_url) as opened:
        runs = follow_and_record(opened, names, org) if follow else [record_once(opened, names, org)]
        for recorded in runs:
            told = action.told(recorded.found, opened, org)
            for name in recorded.lost:
                terminal.say(f"{name} was truncated: what stood in it unread is lost")
            if not follow:
                _show(told, output, recorded)
            elif recorded.entries or told.phones:
                _show(told, output, recorded, indent=None)
            sys.stdout.flush()


def _recorded(recorded: "Recorded") -> str:
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(recorded.entries.items()))
    return f"recorded of {recorded.observed} phones: {counts or 'nothing new'}"


def _doubts(recorded: "Recorded") -> Iterator[str]:
    for reason, phones in recorded.doubts.most_common():
        yield from _wrapped(f"health of {counted(phones, 'phone')} not known: {reason}")


def _changes(before: "LogReport", told: "LogReport", now: datetime) -> Iterator[str]:
    """What has become of the phones whose lines are new, one line each; and the library's sums."""
    earlier = {phone.phone: phone for phone in before.phones}
    at = f"{now:%H:%M:%S}"
    for phone in told.phones:
        if phone != earlier.get(phone.phone):
            closes = sum(phone.closes.values())
            yield (
                f"{at}  {phone.phone}  Bad MAC {_standing(phone.bad_mac)}, Bad Decrypt {_standing(phone.bad_decrypt)}"
                + (f", closed {closes} times" if closes else "")
            )
    if told.library != before.library:
        yield from _wrapped(f"{at}  messages by the library's own lines: {_counts(told.library)}")


def _standing(errors: "Errors") -> str:
    return f"{_cells(errors)[2]} (messages: {errors.messages})"


def _told(found: "list[Found]", org: int | None, database_url: str | None, *, quietly: bool = False) -> "LogReport":
    """With a database if there is one; only one that was named on the command line must be there."""
    from wa_sessions.actions import logs as action

    try:
        with terminal.opened(database_url) as opened:
            return action.told(found, opened, org)
    except (DatabaseError, PermissionMissing) as error:
        if database_url is not None or org is not None:
            raise
        if not quietly:
            terminal.say(f"senders are not looked up: {error}")
        return action.told(found)


def _show_secrets(names: list[str], found: "list[Found]", output: Output) -> None:
    rows = [{"file": name, "secrets": one.secrets} for name, one in zip(names, found, strict=True)]
    total = sum(one.secrets for one in found)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json({"files": rows, "secrets_seen": total}))
        case Output.TSV:
            terminal.write(*terminal.tsv(rows, ["file", "secrets"]))
        case Output.TABLE:
            terminal.write(*(f"{row['secrets']:>7}  {terminal.plain(str(row['file']))}" for row in rows))
            if total:
                terminal.say("whoever can read these files can read messages: delete them, and every copy")


def _flat(phone: "PhoneLog") -> dict[str, Any]:
    data = phone.as_dict()
    for kind in ("bad_mac", "bad_decrypt"):
        data |= {f"{kind}_{name}": value for name, value in data.pop(kind).items()}
    return data


def _lines(told: "LogReport", now: datetime) -> Iterator[str]:
    from wa_sessions.cli.table import Column, table

    columns = (
        Column("PHONE"),
        *(Column(title, right=True) for title in ("MAC", "MAX", "NOW", "DECRYPT", "MAX", "NOW", "RESETS", "CLOSES")),
        Column("LAST ERROR"),
    )
    rows = [_row(phone, now) for phone in told.phones]
    if rows:
        yield from table(columns, rows, terminal.width(), [None] * len(columns))
    else:
        yield "no phone is named"
    yield ""
    yield from _wrapped(f"messages by the library's own lines: {_counts(told.library)}")
    if any(told.unattributed.values()):
        yield from _wrapped(f"of no certain phone: {_counts(told.unattributed)}")
    for phones, count in told.candidates[:5]:
        yield f"  {count} of {' or '.join(phones[:4])}{' or others' if len(phones) > 4 else ''}"
    if told.undetermined:
        yield f"{told.undetermined} more say why only in the other log: give both, out and error"
    for phone_id, count in told.unknown_resets.items():
        yield f"{count} resets of #{phone_id}, which is no known phone"
    if told.secrets_seen:
        yield f"private keys were logged {told.secrets_seen} times: logs --find-secrets says where"


def _row(phone: "PhoneLog", now: datetime) -> tuple[str, ...]:
    last = max((at for at in (phone.bad_mac.last_at, phone.bad_decrypt.last_at) if at), default=None)
    return (
        phone.phone,
        *_cells(phone.bad_mac),
        *_cells(phone.bad_decrypt),
        "?" if phone.resets is None else str(phone.resets),
        str(sum(phone.closes.values())),
        when(last, now) if last else "-",
    )


def _cells(errors: "Errors") -> tuple[str, str, str]:
    standing = "?" if errors.last_counter is None else str(errors.last_counter)
    return str(errors.messages), str(errors.max_counter), standing


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, terminal.width(), subsequent_indent="    ")


def _counts(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in kinds.items() if count) or "none"
