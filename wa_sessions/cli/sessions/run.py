"""``run``: the worker in the foreground."""

import sys
from datetime import timedelta
from typing import Annotated, Literal

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import DatabaseUrl, Embedded, LogFormat, Organization, address, age, duration
from wa_sessions.cli.shown_passwords import watched
from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import parse_phone

Phones = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PHONE]...", help="Which phones; none named: all neonize phones, shared with other workers."
    ),
]
OnMessage = Annotated[
    str | None,
    typer.Option("--on-message", metavar="MODULE:FUNCTION", help="Python function that takes each message."),
]
OnMessageExec = Annotated[
    str | None,
    typer.Option("--on-message-exec", metavar="CMD", help="Command that takes each message as JSON on stdin."),
]
OnMessageUrl = Annotated[
    str | None,
    typer.Option(
        "--on-message-url",
        metavar="URL",
        envvar="WA_SESSIONS_HANDLER_URL",
        callback=watched("--on-message-url", "set WA_SESSIONS_HANDLER_URL instead"),
        help="URL that each message is posted to as JSON, signed with WA_SESSIONS_HANDLER_SECRET if that is set.",
    ),
]
Handlers = Annotated[
    int, typer.Option("--handlers", metavar="N", min=1, max=64, help="How many processes handle messages.")
]
HandlerTimeout = Annotated[
    timedelta,
    typer.Option(
        "--handler-timeout", metavar="60s", parser=duration, help="How long one message may take before it is given up."
    ),
]
HandlerEnv = Annotated[
    list[str] | None,
    typer.Option(
        "--handler-env",
        metavar="NAME",
        help="A variable with a secret or the database's address that handlers get too, as PG*; * for all.",
    ),
]
HandlerAttempts = Annotated[
    int,
    typer.Option(
        "--handler-attempts", metavar="N", min=1, max=1000, help="How often a message is tried until it is set aside."
    ),
]
HandlerPause = Annotated[
    timedelta,
    typer.Option(
        "--handler-pause",
        metavar="1s",
        parser=duration,
        help="How long its chat waits after a failure; each next pause is four times longer, up to 5 minutes.",
    ),
]
OnDead = Annotated[
    Literal["skip", "hold"],
    typer.Option("--on-dead", help="hold: the chat of a message that is set aside waits until you decide."),
]
InboxOption = Annotated[
    Literal["database", "memory"],
    typer.Option("--inbox", help="Where messages wait; memory: what waits when the worker ends is lost."),
]
SessionsPerHost = Annotated[
    int,
    typer.Option(
        "--sessions-per-host",
        metavar="N",
        min=1,
        max=150,
        help="How many sessions share a process; 1: each has its own, at 60 MB apiece.",
    ),
]
LogFormatOption = Annotated[LogFormat, typer.Option("--log-format", help="The log on stderr.")]
PairingWindow = Annotated[
    timedelta, typer.Option("--pairing-window", metavar="10m", parser=duration, help="How long QR codes are shown.")
]
AnswerTimeout = Annotated[
    timedelta,
    typer.Option(
        "--answer-timeout",
        metavar="90s",
        parser=duration,
        help="How long WhatsApp may be silent while connecting before it counts as unreachable.",
    ),
]
MaxBadMac = Annotated[
    int,
    typer.Option(
        "--max-bad-mac",
        metavar="N",
        envvar="WA_SESSIONS_MAX_BAD_MAC",
        min=1,
        max=999,
        help="How many Bad MAC errors in a row close a session.",
    ),
]
MaxBadDecrypt = Annotated[
    int,
    typer.Option(
        "--max-bad-decrypt",
        metavar="N",
        envvar="WA_SESSIONS_MAX_BAD_DECRYPT",
        min=1,
        max=999,
        help="How many Bad Decrypt errors in a row close a session.",
    ),
]
LimitScope = Annotated[
    Literal["account", "sender"], typer.Option("--limit-scope", help="sender: one sender's errors count once.")
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store-url",
        metavar="URL",
        callback=watched("--store-url", "set WA_SESSIONS_STORE_URL instead"),
        help="Where neonize keeps keys, as through a pooler; else WA_SESSIONS_STORE_URL, else the same database.",
    ),
]
Lease = Annotated[
    timedelta,
    typer.Option(
        "--lease",
        metavar="5s",
        parser=duration,
        help="Silence of this worker after which another has its phones; 3s or more.",
    ),
]
NoWait = Annotated[
    bool,
    typer.Option("--no-wait", help="End with 5 if another worker has a named phone, instead of waiting for it."),
]
KeepHistory = Annotated[
    timedelta,
    typer.Option(
        "--keep-history",
        metavar="90d",
        parser=age,
        envvar="WA_SESSIONS_KEEP_HISTORY",
        help="Older history is pruned once a day; 0d keeps all.",
    ),
]
MetricsListen = Annotated[
    str | None,
    typer.Option("--metrics-listen", metavar="HOST:PORT", help="Serve metrics for Prometheus at /metrics there."),
]


def run(
    phones: Phones = None,
    *,
    on_message: OnMessage = None,
    on_message_exec: OnMessageExec = None,
    on_message_url: OnMessageUrl = None,
    handlers: Handlers = 2,
    handler_timeout: HandlerTimeout = "60s",  # type: ignore[assignment]  # typer parses it
    handler_env: HandlerEnv = None,
    handler_attempts: HandlerAttempts = 5,
    handler_pause: HandlerPause = "1s",  # type: ignore[assignment]  # typer parses it
    on_dead: OnDead = "skip",
    inbox: InboxOption = "database",
    sessions_per_host: SessionsPerHost = 25,
    log_format: LogFormatOption = LogFormat.TEXT,
    pairing_window: PairingWindow = "10m",  # type: ignore[assignment]  # typer parses it
    answer_timeout: AnswerTimeout = "90s",  # type: ignore[assignment]  # typer parses it
    max_bad_mac: MaxBadMac = 3,
    max_bad_decrypt: MaxBadDecrypt = 5,
    limit_scope: LimitScope = "account",
    store_url: StoreUrl = None,
    lease: Lease = "5s",  # type: ignore[assignment]  # typer parses it
    no_wait: NoWait = False,
    keep_history: KeepHistory = "90d",  # type: ignore[assignment]  # typer parses it
    metrics_listen: MetricsListen = None,
    embedded: Embedded = False,
    org: Organization = None,
    database_url: DatabaseUrl = None,
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
    if timedelta() < keep_history < timedelta(days=1):
        raise UsageError("--keep-history takes a day or more: messages of the last day may still come again")
    if not timedelta(seconds=3) <= lease <= timedelta(minutes=10):
        raise UsageError("--lease takes 3s to 10m: what is shorter would end sessions on a busy machine")
    if no_wait and not refs:
        raise UsageError("--no-wait is for phones that are named: without names a worker shares them and stands by")
    listen = address(metrics_listen) if metrics_listen is not None else None
    from wa_sessions.actions.sessions import run as action
    from wa_sessions.health.model import Limits
    from wa_sessions.worker import log
    from wa_sessions.worker.delivery.inbox import RetryPolicy

    log.configure(log_format.value)
    options = action.RunOptions(
        limits=Limits(bad_mac=max_bad_mac, bad_decrypt=max_bad_decrypt, scope=limit_scope),
        function=on_message,
        command=on_message_exec,
        url=on_message_url,
        handlers=handlers,
        handler_timeout=handler_timeout.total_seconds(),
        handler_environment=tuple(handler_env or ()),
        inbox=inbox,
        retry=RetryPolicy(handler_attempts, handler_pause.total_seconds(), hold=on_dead == "hold"),
        sessions_per_host=sessions_per_host,
        pairing_window=pairing_window,
        store_url=store_url,
        answer_timeout=answer_timeout.total_seconds(),
        lease=lease.total_seconds(),
        wait=not no_wait,
        keep_history=keep_history,
        metrics_listen=listen,
        on_qr=_draw if log_format is LogFormat.TEXT else _nothing,
    )
    with terminal.opened(database_url, may_make=embedded or terminal.at_terminal()) as opened:
        action.run(opened, refs, org, options)


def _nothing(_number: str, _code: str) -> None:
    """The log says already that there is a QR, and where; its text is for the phone alone."""


def _draw(number: str, code: str) -> None:
    from wa_sessions.cli.sessions.qr_code import drawn, too_large

    room = terminal.room(sys.stderr)
    head = f"{number}: scan this with WhatsApp on the phone, under Linked devices (it is renewed by itself)"
    terminal.narrate(f"{head}\n{terminal.ours(drawn(code, terminal=sys.stderr.isatty(), room=room))}")
    if words := too_large(code, room):
        terminal.say(words.replace("PHONE", number))
