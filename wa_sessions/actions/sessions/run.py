"""Running sessions in the foreground."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import require_neonize
from wa_sessions.actions.sessions.connections_needed import Need
from wa_sessions.db import leases, migrate, phones, server, settings, whatsmeow
from wa_sessions.db.gateway import DEADLINE, Connection, Database
from wa_sessions.db.lock_holders import WORKER
from wa_sessions.db.phones import Phone
from wa_sessions.errors import UsageError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.model import Limits
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.process_identity import ProcessIdentity
from wa_sessions.worker import alert_targets, log
from wa_sessions.worker.alerting import Senders
from wa_sessions.worker.delivery.checking import check_handler
from wa_sessions.worker.delivery.dispatcher import Dispatcher
from wa_sessions.worker.delivery.inbox import Inbox, RetryPolicy
from wa_sessions.worker.delivery.spec import HandlerSpec
from wa_sessions.worker.fleet import Scope
from wa_sessions.worker.hosts.delivery_window import WINDOW
from wa_sessions.worker.hosts.pool import HostPool
from wa_sessions.worker.lease_times import DEFAULT_LEASE, LeaseTimes
from wa_sessions.worker.metrics import Figure, expose
from wa_sessions.worker.session import Settings
from wa_sessions.worker.session_task import Watching
from wa_sessions.worker.supervisor import Supervisor, WorkerOptions

CONNECTIONS = 4  # that all sessions of a worker share
METRICS_CONNECTIONS = 2  # of scrapes
INBOX_CONNECTIONS = 1
"""Of its own: messages wait for no session's transactions."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How sessions are run. ``function`` (``module:function``), ``command`` or ``url`` takes messages, or nothing does.

    ``handlers``: processes that it runs in, ``handler_timeout`` seconds each message may take, ``handler_environment``
    names or patterns of secret variables that it gets too. ``lease``: seconds of this worker's silence after which
    another has its phones; ``wait``: what another has of the named phones is waited for. ``inbox``: where messages
    wait for it, ``memory`` loses what waits when the worker ends; ``retry``: what becomes of those that it fails at.
    ``keep_history``: older entries are pruned once a day; 0 keeps all. ``metrics_listen``: host and port that metrics
    are served on. ``on_qr`` gets a number and its raw QR text each time there is a new one. ``on_event`` gets number,
    event and fields of what sessions do, and after ``trial_timeout`` seconds the event ``time_over`` of no number; if
    it answers True, the worker ends.
    """

    limits: Limits
    function: str | None = None
    command: str | None = None
    url: str | None = None
    handlers: int = 2
    handler_timeout: float = 60.0
    handler_environment: tuple[str, ...] = ()
    inbox: Literal["database", "memory"] = "database"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    sessions_per_host: int = 25
    pairing_window: timedelta = timedelta(minutes=10)
    answer_timeout: float = 90.0
    store_url: str | None = None
    lease: float = DEFAULT_LEASE
    wait: bool = True
    keep_history: timedelta = timedelta(days=90)
    metrics_listen: tuple[str, int] | None = None
    on_qr: Callable[[str, str], None] = lambda _phone, _code: None
    trial_timeout: float | None = None
    on_event: Callable[[str, str, Mapping[str, Any]], bool] = lambda _phone, _event, _fields: False


def run(opened: Opened, refs: Sequence[PhoneRef], organization_id: int | None, options: RunOptions) -> None:
    """Run the named phones, or share all ``neonize`` phones (of an organization) with others, until SIGTERM or SIGINT.

    Raises UsageError (no phone at all, a handler that is not there, bad settings of alerts), PhoneNotFound,
    AmbiguousPhone, OwnedByAnother (a phone that is not ours or another worker's), SchemaMissing, DatabaseError (also: a
    pooler in transaction mode, too few connections left), WaSessionsError (the address of ``metrics_listen`` cannot be
    had).
    """
    handler = HandlerSpec.named(options.function, options.command, options.handler_environment, options.url)
    check_handler(handler)
    alert_targets.check()
    override = options.store_url or None
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        chosen, named = _chosen(conn, opened, refs, organization_id)
        free = {phone.id for phone in chosen} - leases.owners(conn).keys()
        limit = server.tightest_limit(conn)
    server.require_session_state(_connections(opened, 1))
    _need(options, with_inbox=handler is not None, sessions=0 if override else len(free)).judge(limit)
    with opened.database.transaction() as conn:
        whatsmeow.ensure_schema(conn)
        store_url = settings.store_url(conn, opened.database.target, override)
    if override:
        whatsmeow.require_search_path(store_url)
    if handler is None:
        log.warn("no --on-message: messages are only observed and not handed to anyone", event="no_handler")
    opened.database.close()  # what is idle of the command's own
    connections = _connections(opened, INBOX_CONNECTIONS)
    with connections, _metrics(opened, options), _alerts(opened):
        scope = None if refs else Scope(organization_id)
        follow = override is None and opened.database.target.has_several_hosts
        asyncio.run(_run(opened, named, scope, options, store_url, handler, connections, follow=follow))


async def _run(
    opened: Opened,
    named: Sequence[Phone],
    scope: Scope | None,
    options: RunOptions,
    store_url: str,
    handler: HandlerSpec | None,
    connections: Database,
    *,
    follow: bool,
) -> None:
    settings_ = Settings(options.limits, options.pairing_window, timedelta(seconds=options.answer_timeout))
    watching = Watching(options.on_qr, options.on_event)
    worker_options = WorkerOptions(
        settings_,
        LeaseTimes(options.lease),
        options.keep_history,
        options.trial_timeout,
        watching,
        scope,
        handles=handler is not None,
    )
    inbox = Inbox(connections, options.retry) if handler is not None and options.inbox == "database" else None
    database = _connections(opened, CONNECTIONS)
    hosts = HostPool(
        store_url,
        options.sessions_per_host,
        deliver=handler is not None,
        window=WINDOW if inbox is not None else 0,
        located=lambda url: settings.at_server(url, database.server) if follow else url,
    )
    dispatcher = Dispatcher(
        handler,
        inbox,
        processes=options.handlers,
        timeout=options.handler_timeout,
        tell=lambda phone_id, event: supervisor.handler_event(phone_id, event),
        output=lambda number, line: log.info(line, phone=number or None, event="output"),
    )
    expose(
        Figure("hosts", "Processes with sessions.", lambda: hosts.counts().hosts),
        Figure("host_clients", "Logins in those processes.", lambda: hosts.counts().clients),
        Figure(
            "host_crashes", "Processes with sessions that ended by themselves.", lambda: hosts.counts().crashes, True
        ),
        Figure(
            "unknown_frames", "Words of theirs that were not understood.", lambda: hosts.counts().unknown_frames, True
        ),
        Figure("messages_waiting", "Messages that wait for their handler, in memory.", lambda: dispatcher.waiting),
        *(_inbox_figures(inbox) if inbox else ()),
    )
    supervisor = Supervisor(database, opened.backend, worker_options, hosts, dispatcher)
    try:
        await supervisor.run(named, wait=options.wait)
    finally:
        database.cut()
        connections.cut()


def _need(options: RunOptions, *, with_inbox: bool, sessions: int) -> Need:
    """A part has one connection at least while the worker runs, and at most as many as it may make."""
    senders = len(alert_targets.configured())
    inbox = INBOX_CONNECTIONS if with_inbox and options.inbox == "database" else 0
    locks, commands = 1, 1
    at_most = CONNECTIONS + locks + commands + inbox + (senders + 1 if senders else 0)
    at_least = 1 + locks + commands + inbox + (1 if senders else 0)
    return Need(at_least, at_most + (METRICS_CONNECTIONS if options.metrics_listen else 0), sessions)


def _connections(opened: Opened, size: int) -> Database:
    """A part's own, with which it waits for no server for ever."""
    name = WORKER + ProcessIdentity.own().name
    return Database(opened.database.target, size, deadline=DEADLINE, writable=True, name=name)


def _inbox_figures(inbox: Inbox) -> tuple[Figure, ...]:
    return (
        Figure("inbox_unwritten", "Messages that do not stand in the inbox yet.", lambda: inbox.unwritten),
        Figure("messages_handled", "Messages that their handler has taken.", lambda: inbox.handled_total, True),
        Figure("messages_dead", "Messages that were set aside.", lambda: inbox.dead_total, True),
    )


@contextlib.contextmanager
def _alerts(opened: Opened) -> Iterator[None]:
    senders = Senders(opened.database, alert_targets.configured(), alert_targets.pace())
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
    from wa_sessions.actions.watch.metrics import Exposition
    from wa_sessions.worker.metrics import listening

    scraped = Opened(_connections(opened, METRICS_CONNECTIONS), opened.backend)
    with scraped, listening(options.metrics_listen, Exposition(scraped).render) as port:
        host = options.metrics_listen[0]
        log.info(f"metrics at http://{f'[{host}]' if ':' in host else host}:{port}/metrics", event="metrics", port=port)
        yield


def _chosen(
    conn: Connection, opened: Opened, refs: Sequence[PhoneRef], organization_id: int | None
) -> tuple[list[Phone], list[Phone]]:
    """The phones that it is about, and those of them that are named; where none is, there is any to share."""
    if refs:
        found = [phones.find(conn, opened.backend, ref, organization_id) for ref in refs]
        for phone in found:
            require_neonize(phone)
        named = list({phone.id: phone for phone in found}.values())
        return named, named
    listed = phones.list_phones(conn, opened.backend, organization_id)
    ours = [phone for phone in listed if phone.connection_type == ConnectionType.NEONIZE]
    if not ours:
        where = f" in organization {organization_id}" if organization_id is not None else ""
        org = organization_id if organization_id is not None else "N"
        raise UsageError(
            f"there is no neonize phone{where}: add one with wa-sessions add PHONE --org {org}, or take one over "
            "from the Node backend with wa-sessions adopt PHONE"
        )
    return ours, []
