"""``logs``: what the Node backend's logs say about its phones."""

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import DatabaseUrl, Json, Organization, Output, OutputOption, chosen
from wa_sessions.cli.times import when
from wa_sessions.errors import DatabaseError, PermissionMissing, UsageError

if TYPE_CHECKING:
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

    JSON: `phones`, a list: `phone`, `bad_mac` and `bad_decrypt` (each `counter_lines`, `max_counter`, `last_counter`: 0
    after a reset; `messages`, `first_at`, `last_at`), `resets`, `closes` (by reason), `library`. `last_counter` is null
    where files leave the order of lines open, and with `resets` where a reset's phone id is of no known phone.
    `library`: failed messages (or collections) by the library's own lines, of all phones: `bad_mac`, `bad_decrypt`,
    `missing_key`, `duplicate` (old counters in groups too), `no_session`, `invalid_prekey`, `group` (no sender key, or
    its signature is wrong). `unattributed`: the same for those of no certain phone, `candidates` (`phones`,
    `messages`) where several hold the sender's keys, and `resets` by unknown phone id. `undetermined`: messages whose
    reason stands in the error log, which was not given. `secrets_seen`. With `--find-secrets`: `files` (`file`,
    `secrets`) and `secrets_seen`.

    Exit: 0 whatever the logs say, 1 (a file cannot be read), 2, 4 (`--database-url` leads nowhere).

    Replaces: `pm2 logs messenger-backend --lines 100 | grep -E "(Bad MAC|bad decrypt)"`, which counts lines and what
    customers write; and `grep -E "(Bad MAC error #|Bad Decrypt error #)"`.
    """
    output = chosen(output, json=json)
    if bool(files) == bool(pm2):
        raise UsageError("which logs? Name files, - for stdin, or a pm2 process with --pm2")
    from wa_sessions.actions import logs as action
    from wa_sessions.logs.files import of_pm2

    names = list(dict.fromkeys(files or of_pm2(pm2 or "")))
    found = action.read_logs(names)
    if find_secrets:
        _show_secrets(names, found, output)
        return
    told = _told(found, org, database_url)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json(told.as_dict()))
        case Output.TSV:
            columns = ["phone", *(f"{kind}_{name}" for kind in ("bad_mac", "bad_decrypt") for name in _ERRORS)]
            terminal.write(
                *terminal.tsv([_flat(phone) for phone in told.phones], [*columns, "resets", "closes", "library"])
            )
        case Output.TABLE:
            terminal.write(*_lines(told, datetime.now().astimezone()))


def _told(found: "list[Found]", org: int | None, database_url: str | None) -> "LogReport":
    """With a database if there is one; only one that was named on the command line must be there."""
    from wa_sessions.actions import logs as action

    try:
        with terminal.opened(database_url) as opened:
            return action.told(found, opened, org)
    except (DatabaseError, PermissionMissing) as error:
        if database_url is not None or org is not None:
            raise
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
