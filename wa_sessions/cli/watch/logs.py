"""``logs``: what the Node backend's logs say about its phones."""

import contextlib
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    Output,
    ResultOptions,
    ScopeOptions,
    long_ago,
)
from wa_sessions.cli.watch.logs_shown import event_line, show, show_secrets, warn, warn_of_strangers
from wa_sessions.errors import DatabaseError, PermissionMissing, StoreAway, TryAgain, UsageError, WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef, parse_phone

if TYPE_CHECKING:
    from collections.abc import Callable

    from wa_sessions.actions.connection import Opened
    from wa_sessions.actions.watch.logs import Scope
    from wa_sessions.logs.report import LogReport
    from wa_sessions.logs.scan_result import ScanResult

_Told = TypeVar("_Told")


def logs(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PHONE] [FILE...]", help="Log files, gzipped ones too; - is stdin. A PHONE: only it."),
    ] = None,
    *,
    pm2: Annotated[
        str | None, typer.Option("--pm2", metavar="NAME", help="The logs that pm2 keeps of this process.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Read on as they grow, until Ctrl-C.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Put what is new into the phones' counters and history, each line once.")
    ] = False,
    forget_habits: Annotated[
        bool,
        typer.Option(
            "--forget-habits", help="Learn anew how often lines name each phone, as after a change of logger."
        ),
    ] = False,
    find_secrets: Annotated[
        bool, typer.Option("--find-secrets", help="Only count private keys that were logged, by file.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="1h", help="Only what was written since then: 30m, 12h, 7d.")
    ] = None,
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Tell from the Node backend's logs what each phone met.
    \f
    Give both logs of a process, out and error: some messages have one line in each. Lines are read behind whatever
    stands before them (pm2's, Docker's, Kubernetes', journald's, syslog's and clouds' prefixes, `log_date_format`,
    levels), in JSON of any wrapper, and as pino and pino-pretty write them; words that a customer wrote count
    nothing. A message is counted once, however many lines, stored session states and retries it has. Times without a
    zone are local ones: how far they are from UTC is seen from lines that have pino's time too, else this machine's
    zone is taken.

    Lines that hold the library's words behind a prefix or in a form that is not known are told on stderr and as
    `unread`, by form, with one example each, in which letters are x and digits 0.

    The library's own lines name only the sender. With a database they are attributed to the phone that holds the
    sender's session or sender key (or else its LID or device list), if only one does. Only SELECT is needed. Without
    a database everything else is told. A private key that was logged is never shown, only counted.

    A PHONE among the files has the table tell of it alone; what stands below is of all phones, as most of the library's
    lines name none. `--since` tells of what was written since then, and lines without a time are left out; of a log
    that is silent since, it says when its last line was written. The worst phone stands first. Phones of which these
    logs cannot tell are named with the reason.

    `--follow` tells it all once, and then one line an event: when (UTC), which phone, what, its name. A log may be
    renamed, copied and truncated, or packed meanwhile, as logrotate and pm2-logrotate do it: what of it was not read
    yet is looked for in the same folder.

    `--record` reads on from where the last run with it ended, and writes errors, resets and closes into the counters
    and the history, so that `stats`, `check`, `errors`, metrics and alerts know the backend's phones: all `baileys`
    phones, or those of `--org`. A run is written whole or not at all, and each line counts once, whoever kills what:
    cron can run it every minute; `--follow` does it as the logs grow, and every 30 seconds. Where the backend writes
    counter lines, they are the counters. Where it does not, a message of a certain phone counts as one Bad MAC when a
    retried copy fails too, and a later connection of the phone resets the counter; that needs both logs, and Bad
    Decrypt is then of no certain phone. What is over an hour old makes no alert. A log is recorded for all, or for
    each organization by itself, not both. It needs `wa-sessions db upgrade`.

    What was not understood is never health: a phone is `unknown` where no line of the backend or its library was
    recognized in the last 15 minutes, where only one of the backend's two logs is read or one is gone, where lines
    could not be read, and where failed messages are left whose reason or phone is not known. A message that failed
    again for a reason that counts towards no limit (no session, a pre-key that is gone, …) is a `warning`. Where lines
    name phones (in a field such as `phone`, `session` or `organizationPhoneId`, or before their words as
    `[77051234567]`), a phone is `unknown`, too, once it has been silent three times as long as it ever was at that hour
    in the last seven days, and where no line names it. Numbers that lines name and no row has are told on stderr.

    JSON: `phones`, a list: `phone`, `name`, `bad_mac` and `bad_decrypt` (each `counter_lines`, `max_counter`,
    `last_counter`: 0 after a reset; `messages`, `first_at`, `last_at`), `resets`, `closes` (by reason), `library`.
    `last_counter` is null where files leave the order of lines open, and with `resets` where a reset's phone id is of
    no known phone. `library`: failed messages (or collections) by the library's own lines, of all phones: `bad_mac`,
    `bad_decrypt`, `missing_key`, `duplicate` (old counters in groups too), `no_session`, `invalid_prekey`, `group`
    (no sender key, or its signature is wrong), `other` (any other reason). `unattributed`: the same for those of no
    certain phone, `candidates` (`phones`, `messages`) where several hold the sender's keys, and `resets` by unknown
    phone id. `undetermined`: messages whose reason stands in the error log, which was not given. `secrets_seen`.
    `left_out`: `phone`, `reason`. `unread`: `form`, `lines`, `example`. With `--since` `logs`: `file`, `last_line_at`
    (of the backend or its library), `written_at` (the file). With `--find-secrets`: `files` (`file`, `secrets`),
    `secrets_seen` and `unread`. With `--follow` one object a line, each time that something is new.
    `--record` tells of what is new, and adds `recorded`: `phones` (whose logs were read), `entries` (of the history,
    by kind), `doubts` (why the logs leave open how phones are: `reason`, `phones`), `failing` (the same of phones of
    which messages failed again for a reason that counts towards no limit), `lost` (logs that were truncated while
    something in them may have been unread) and `not_in_database` (numbers that lines name and no row has; phone ids
    with `#`).

    Exit: 0 whatever the logs say, 1 (a file cannot be read, `--record` without our schema or at the same time as
    another), 2, 3 (no such PHONE), 4 (`--database-url` leads nowhere), 130 (`--follow` ended by Ctrl-C).

    Replaces: `pm2 logs messenger-backend --lines 100 | grep -E "(Bad MAC|bad decrypt)"`, which counts lines and what
    customers write; and `grep -E "(Bad MAC error #|Bad Decrypt error #)"`.
    """
    output = result.chosen
    phone, files = _phone_of(files or [])
    if bool(files) == bool(pm2):
        raise UsageError("which logs? Name files, - for stdin, or a pm2 process with --pm2")
    if find_secrets and (follow or record):
        raise UsageError("--find-secrets only counts: leave --follow and --record out")
    if forget_habits and not record:
        raise UsageError("--forget-habits is for --record, which learns them: add --record")
    if record and (phone or since):
        raise UsageError("--record takes all that is new, of all phones: leave PHONE and --since out")
    from wa_sessions.actions.watch import logs as action
    from wa_sessions.actions.watch.last_lines import last_lines
    from wa_sessions.logs.files import STDIN, of_pm2

    for name in files:
        _refuse_a_process(name)
    names = list(dict.fromkeys(files or of_pm2(pm2 or "")))
    scope = action.Scope(where.org, phone, long_ago(since) if since else None)
    if STDIN in names and (follow or record):
        raise UsageError("stdin cannot be read on later: name files, or a pm2 process with --pm2")
    if find_secrets:
        show_secrets(names, action.read_logs(names), output)
    elif record:
        _record(names, scope, where.database_url, output, follow=follow, forget_habits=forget_habits)
    elif follow:
        _follow(names, scope, where.database_url, output)
    else:
        found = action.read_logs(names)
        show(_told(found, scope, where.database_url), output, scope, last=last_lines(names, found))


def _phone_of(words: list[str]) -> tuple[PhoneRef | None, list[str]]:
    """A phone among the arguments: the first one that is no file and reads as one."""
    for word in words:
        if word != "-" and not Path(word).exists():
            try:
                phone = parse_phone(word)
            except UsageError:
                continue
            return phone, [one for one in words if one is not word]
    return None, words


def _refuse_a_process(name: str) -> None:
    """Raise WaSessionsError for what is no file, but the name of a process whose logs pm2 keeps."""
    from wa_sessions.logs.files import STDIN, of_pm2

    if name == STDIN or "/" in name or Path(name).exists():
        return
    with contextlib.suppress(UsageError):
        of_pm2(name)
        raise WaSessionsError(f"no file is called {name}, but pm2 keeps its logs: wa-sessions logs --pm2 {name}")


def _follow(names: list[str], scope: "Scope", database_url: str | None, output: Output) -> None:
    """A table of what there is, then a line an event; as JSON the whole each time."""
    from wa_sessions.actions.watch import logs as action
    from wa_sessions.actions.watch.last_lines import last_lines
    from wa_sessions.logs.report import unread

    if output is not Output.TABLE:
        for number, found in enumerate(action.follow(names)):
            told = _told(found, scope, database_url, quietly=number > 0)
            show(told, output, scope, last=last_lines(names, found), indent=None)
            sys.stdout.flush()
        return
    begun = False
    for found in action.follow_news(names):
        if begun:
            warn(unread(found))
            for line in _looked_up(database_url, scope, partial(action.happened, found, scope=scope), quietly=True):
                terminal.write(event_line(line, datetime.now(UTC)))
        else:
            show(_told(found, scope, database_url), output, scope, last=last_lines(names, found))
            begun = True
        sys.stdout.flush()


def _record(
    names: list[str],
    scope: "Scope",
    database_url: str | None,
    output: Output,
    *,
    follow: bool,
    forget_habits: bool,
) -> None:
    from wa_sessions.actions.watch import logs as action
    from wa_sessions.actions.watch.log_names import MOST_STRANGERS
    from wa_sessions.actions.watch.record_logs import follow_and_record
    from wa_sessions.actions.watch.record_logs import record as record_once

    with terminal.opened(database_url) as opened:
        arguments = opened, names, scope.organization_id
        runs = (
            follow_and_record(*arguments, forget_habits=forget_habits)
            if follow
            else [record_once(*arguments, forget_habits=forget_habits)]
        )
        strangers = set[str]()
        for recorded in runs:
            told = action.told(recorded.found, opened, scope)
            for name in recorded.lost:
                terminal.say(f"{name} was truncated: what stood in it unread is lost")
            if len(strangers) < MOST_STRANGERS:
                warn_of_strangers([name for name in recorded.strangers if name not in strangers])
                strangers.update(recorded.strangers)
            if not follow:
                show(told, output, scope, recorded)
            elif recorded.entries or told.phones:
                show(told, output, scope, recorded, indent=None)
            else:
                warn(told.unread)
            sys.stdout.flush()


def _told(found: "list[ScanResult]", scope: "Scope", database_url: str | None, *, quietly: bool = False) -> "LogReport":
    from wa_sessions.actions.watch import logs as action

    return _looked_up(database_url, scope, partial(action.told, found, scope=scope), quietly=quietly)


def _looked_up(
    database_url: str | None, scope: "Scope", tell: "Callable[[Opened | None], _Told]", *, quietly: bool
) -> _Told:
    """With a database if there is one; only one that was named on the command line must be there."""
    try:
        with terminal.opened(database_url) as opened:
            return tell(opened)
    except (DatabaseError, StoreAway, TryAgain, PermissionMissing) as error:
        if database_url is not None or scope.organization_id is not None:
            raise
        if not quietly:
            terminal.say(f"senders are not looked up: {error}")
        return tell(None)
