"""``run``: the worker in the foreground."""

import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.configured import setting_option
from wa_sessions.cli.options import Embedded, LogFormat, ScopeOptions, address
from wa_sessions.cli.shown_passwords import watched
from wa_sessions.config import table
from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import parse_phone

Phones = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PHONE]...", help="Which phones; none named: all neonize phones, shared with other workers."
    ),
]
StoreUrl = Annotated[
    str | None, setting_option(table.STORE_URL, watched("--store-url", "set WA_SESSIONS_STORE_URL instead"))
]
LogFormatOption = Annotated[LogFormat, setting_option(table.LOG_FORMAT)]
NoWait = Annotated[
    bool,
    typer.Option("--no-wait", help="End with 5 if another worker has a named phone, instead of waiting for it."),
]


@dataclass(frozen=True, eq=False, repr=False)
class HandlerOptions:
    """What takes messages, and how."""

    on_message: Annotated[str | None, setting_option(table.ON_MESSAGE)] = None
    on_message_exec: Annotated[str | None, setting_option(table.ON_MESSAGE_EXEC)] = None
    on_message_url: Annotated[
        str | None,
        setting_option(table.HANDLER_URL, watched("--on-message-url", "set WA_SESSIONS_HANDLER_URL instead")),
    ] = None
    handlers: Annotated[int, setting_option(table.HANDLERS)] = table.HANDLERS.default
    handler_timeout: Annotated[timedelta, setting_option(table.HANDLER_TIMEOUT)] = table.HANDLER_TIMEOUT.default
    handler_env: Annotated[list[str] | None, setting_option(table.HANDLER_ENV)] = None
    handler_attempts: Annotated[int, setting_option(table.HANDLER_ATTEMPTS)] = table.HANDLER_ATTEMPTS.default
    handler_pause: Annotated[timedelta, setting_option(table.HANDLER_PAUSE)] = table.HANDLER_PAUSE.default
    on_dead: Annotated[Literal["skip", "hold"], setting_option(table.ON_DEAD)] = "skip"

    def as_run_options(self) -> dict[str, Any]:
        """The same, as a worker is told."""
        from wa_sessions.worker.delivery.inbox import RetryPolicy

        pause = self.handler_pause.total_seconds()
        return {
            "function": self.on_message,
            "command": self.on_message_exec,
            "url": self.on_message_url,
            "handlers": self.handlers,
            "handler_timeout": self.handler_timeout.total_seconds(),
            "handler_environment": tuple(self.handler_env or ()),
            "retry": RetryPolicy(self.handler_attempts, pause, hold=self.on_dead == "hold"),
        }


@dataclass(frozen=True, eq=False, repr=False)
class WorkerOptions:
    """How sessions are kept."""

    inbox: Annotated[Literal["database", "memory"], setting_option(table.INBOX)] = "database"
    sessions_per_host: Annotated[int, setting_option(table.SESSIONS_PER_HOST)] = table.SESSIONS_PER_HOST.default
    log_format: LogFormatOption = LogFormat.TEXT
    pairing_window: Annotated[timedelta, setting_option(table.PAIRING_WINDOW)] = table.PAIRING_WINDOW.default
    answer_timeout: Annotated[timedelta, setting_option(table.ANSWER_TIMEOUT)] = table.ANSWER_TIMEOUT.default
    max_bad_mac: Annotated[int, setting_option(table.MAX_BAD_MAC)] = table.MAX_BAD_MAC.default
    max_bad_decrypt: Annotated[int, setting_option(table.MAX_BAD_DECRYPT)] = table.MAX_BAD_DECRYPT.default
    limit_scope: Annotated[Literal["account", "sender"], setting_option(table.LIMIT_SCOPE)] = "account"
    store_url: StoreUrl = None
    lease: Annotated[timedelta, setting_option(table.LEASE)] = table.LEASE.default
    keep_history: Annotated[timedelta, setting_option(table.KEEP_HISTORY)] = table.KEEP_HISTORY.default
    metrics_listen: Annotated[str | None, setting_option(table.METRICS_LISTEN)] = None

    def as_run_options(self) -> dict[str, Any]:
        """The same, as a worker is told."""
        from wa_sessions.health.model import Limits

        return {
            "limits": Limits(bad_mac=self.max_bad_mac, bad_decrypt=self.max_bad_decrypt, scope=self.limit_scope),
            "inbox": self.inbox,
            "sessions_per_host": self.sessions_per_host,
            "pairing_window": self.pairing_window,
            "store_url": self.store_url,
            "answer_timeout": self.answer_timeout.total_seconds(),
            "lease": self.lease.total_seconds(),
            "keep_history": self.keep_history,
            "metrics_listen": address(self.metrics_listen) if self.metrics_listen is not None else None,
            "on_qr": _draw if self.log_format is LogFormat.TEXT else _nothing,
        }


def run(
    phones: Phones = None,
    *,
    handler: HandlerOptions,
    worker: WorkerOptions,
    no_wait: NoWait = False,
    embedded: Embedded = False,
    where: ScopeOptions,
) -> None:
    """Keep sessions connected, in the foreground.

    Until SIGTERM or Ctrl-C, either of which ends it gracefully. A phone without keys shows a QR code to be scanned.
    \f
    SIGTERM and Ctrl-C end it within 10 s, exit 0; another worker has its sessions within 3. Workers to which no phones
    are named share all of them (`--org`: those of an organization): each takes what is free up to its share, takes up
    what is added or adopted later, lets go of what leaves, and stands by where others run them all
    ([ownership](../explanation/ownership.md)). Handlers run in processes of their own, which have no keys and, but for
    `--handler-env`, no secret of ours; the messages of a chat are handled in order, chats side by side. A function is
    also looked for in the current folder; with `--log-format json` no QR is drawn. There is no `--json`: see
    [log lines](history.md#log-lines). History of the last day is never pruned.
    [Metrics](../monitoring/README.md#metrics) have no password: listen on loopback, as in `127.0.0.1:9464`.

    Exit: 0, 1 (no schema, no address for metrics, a service of the worker that failed, all that is left is
    `faulted`), 2 (no `neonize` phone, a handler that is not there), 3, 4 (also: neonize cannot use the key store, a
    pooler in transaction mode, too few connections left), 5 (not a `neonize` phone; with `--no-wait` also: another
    worker runs it).

    Replaces: `pm2 start messenger-backend`, for our own phones.
    """
    refs = [parse_phone(phone) for phone in phones or ()]
    if no_wait and not refs:
        raise UsageError("--no-wait is for phones that are named: without names a worker shares them and stands by")
    from wa_sessions.actions.sessions import run as action
    from wa_sessions.worker import log

    log.configure(worker.log_format.value)
    options = action.RunOptions(**handler.as_run_options(), **worker.as_run_options(), wait=not no_wait)
    with terminal.opened(where.database_url, may_make=embedded or terminal.at_terminal()) as opened:
        action.run(opened, refs, where.org, options)


def _nothing(_number: str, _code: str) -> None:
    """The log says already that there is a QR, and where; its text is for the phone alone."""


def _draw(number: str, code: str) -> None:
    from wa_sessions.cli.sessions.qr_code import drawn, too_large

    room = terminal.room(sys.stderr)
    head = f"{number}: scan this with WhatsApp on the phone, under Linked devices (it is renewed by itself)"
    terminal.print_line(f"{head}\n{terminal.ours(drawn(code, terminal=sys.stderr.isatty(), room=room))}")
    if words := too_large(code, room):
        terminal.say(words.replace("PHONE", number))
