"""Running sessions in the foreground."""

import asyncio
import contextlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import require_neonize
from wa_sessions.db import migrate, phones, settings, whatsmeow
from wa_sessions.db.gateway import Connection
from wa_sessions.db.phones import Phone
from wa_sessions.errors import UsageError
from wa_sessions.health.model import Limits
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker import alert_targets, log
from wa_sessions.worker.alerting import Senders
from wa_sessions.worker.context import SessionOptions
from wa_sessions.worker.handlers import load_function
from wa_sessions.worker.supervisor import Supervisor

STORE_VARIABLE = "WA_SESSIONS_STORE_URL"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How sessions are run. ``function`` (``module:function``) or ``command`` handles messages, or nothing does.

    ``keep_history``: older entries are pruned once a day; 0 keeps all. ``metrics_listen``: host and port that metrics
    are served on. ``on_qr`` gets a number and its raw QR text each time there is a new one. ``told_after`` and
    ``on_told`` are those of ``SessionOptions``.
    """

    limits: Limits
    function: str | None = None
    command: str | None = None
    pairing_window: timedelta = timedelta(minutes=10)
    answer_timeout: float = 90.0
    store_url: str | None = None
    keep_history: timedelta = timedelta(days=90)
    metrics_listen: tuple[str, int] | None = None
    on_qr: Callable[[str, str], None] = lambda _phone, _code: None
    told_after: float | None = None
    on_told: Callable[[str, str, dict[str, Any]], bool] = lambda _phone, _event, _fields: False


def run(opened: Opened, refs: Sequence[PhoneRef], organization_id: int | None, options: RunOptions) -> None:
    """Run the named phones, or all ``neonize`` phones that nobody else runs, until SIGTERM or SIGINT.

    Raises UsageError (no phone at all, a handler that is not there, bad settings of alerts), PhoneNotFound,
    AmbiguousPhone, OwnedByAnother (a phone that is not ours or another worker's), SchemaMissing, DatabaseError,
    WaSessionsError (the address of ``metrics_listen`` cannot be had).
    """
    _check_handler(options)
    alert_targets.check()
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        chosen = _chosen(conn, opened, refs, organization_id)
        whatsmeow.ensure_schema(conn)
        override = options.store_url or os.environ.get(STORE_VARIABLE) or None
        store_url = settings.store_url(conn, opened.database.target, override)
    if override:
        whatsmeow.require_search_path(store_url)
    if not (options.function or options.command):
        log.warn("no --on-message: messages are only observed and not handed to anyone", event="no_handler")
    session_options = SessionOptions(
        store_url=store_url,
        function=options.function,
        command=options.command,
        pairing_window=options.pairing_window,
        answer_timeout=options.answer_timeout,
        on_qr=options.on_qr,
        told_after=options.told_after,
        on_told=options.on_told,
    )
    supervisor = Supervisor(opened.database, opened.backend, session_options, options.limits, options.keep_history)
    with _metrics(opened, options), _alerts(opened):
        asyncio.run(supervisor.run(chosen, skip_owned=not refs))


@contextlib.contextmanager
def _alerts(opened: Opened) -> Iterator[None]:
    senders = Senders(opened.database, alert_targets.from_environment(), alert_targets.pace())
    senders.start()
    try:
        yield
    finally:
        senders.stop()


@contextlib.contextmanager
def _metrics(opened: Opened, options: RunOptions) -> Iterator[None]:
    if options.metrics_listen is None:
        yield
        return
    from wa_sessions.actions.metrics import Exposition
    from wa_sessions.worker.metrics import listening

    with listening(options.metrics_listen, Exposition(opened).render) as port:
        host = options.metrics_listen[0]
        log.info(f"metrics at http://{f'[{host}]' if ':' in host else host}:{port}/metrics", event="metrics", port=port)
        yield


def _chosen(conn: Connection, opened: Opened, refs: Sequence[PhoneRef], organization_id: int | None) -> list[Phone]:
    if refs:
        found = [phones.find(conn, opened.backend, ref, organization_id) for ref in refs]
        for phone in found:
            require_neonize(phone)
        return list({phone.id: phone for phone in found}.values())
    listed = phones.list_phones(conn, opened.backend, organization_id)
    ours = [phone for phone in listed if phone.connection_type == "neonize"]
    if not ours:
        where = f" in organization {organization_id}" if organization_id is not None else ""
        org = organization_id if organization_id is not None else "N"
        raise UsageError(
            f"there is no neonize phone{where}: add one with wa-sessions add PHONE --org {org}, or take one over "
            "from the Node backend with wa-sessions adopt PHONE"
        )
    return ours


def _check_handler(options: RunOptions) -> None:
    if options.function and options.command:
        raise UsageError("--on-message and --on-message-exec exclude each other")
    if options.function:
        _check_function(options.function)
    if options.command is not None:
        _check_command(options.command)


def _check_function(name: str) -> None:
    try:
        load_function(name)
    except UsageError:
        raise
    except Exception as error:  # whatever the operator's module does when it is imported
        raise UsageError(f"--on-message {name}: {type(error).__name__}: {error}") from error


def _check_command(command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--on-message-exec: {error}") from None
    if not words:
        raise UsageError("--on-message-exec is empty: give a command")
    if shutil.which(words[0]) is None:
        raise UsageError(f"--on-message-exec: there is no program {words[0]!r}")
