"""How healthy a phone's session is."""

import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.ownership import live_owner
from wa_sessions.actions.watch.limits import configured_limits
from wa_sessions.db import health, inbox, log_reading, operations, phones
from wa_sessions.db.health import ForcedClose, HealthRow
from wa_sessions.db.inbox import Depth
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.log_reading import LogWatch
from wa_sessions.db.phones import Phone
from wa_sessions.errors import PermissionMissing, SchemaMissing
from wa_sessions.health.backend_words import BackendStatus, ConnectionType, PhoneType, SessionState
from wa_sessions.health.limits import Limits, Severity, severity
from wa_sessions.health.reconnect import DOWN_STATUSES, UP_STATUSES, State, Status
from wa_sessions.health.uncounted import NotCounted, Uncounted
from wa_sessions.health.unknown import FRESH, Because, Unknown
from wa_sessions.health.workers import WorkerState
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.wording.reasons import uncounted_reason, unknown_reason

SILENT_AFTER = 20.0
"""So many seconds without a sign of life a session may be; its worker passes one on every 5 s."""

_WATCHING = {State.CONNECTING, State.CONNECTED, State.RECONNECTING, State.NO_ANSWER}

_UNSEEN = (Because.NOT_CONNECTED, Because.NO_WORKER, Because.NO_SIGN_OF_LIFE)

_SCANNABLE = re.compile(r"[!-~]{16,1000}")


class Standing(StrEnum):
    """How a phone stands, the worst first: a severity, or ``down``, where no message can come through at all."""

    DOWN = "down"
    CRITICAL = "critical"
    WARNING = "warning"
    UNKNOWN = "unknown"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Worker:
    """The live worker that owns a session; host and pid are None where its own row is gone.

    ``state`` is ``serving``, ``draining`` or ``silent``, as ``workers`` has it.
    """

    id: str
    host: str | None
    pid: int | None
    since: datetime | None
    state: WorkerState = WorkerState.SERVING


@dataclass(frozen=True, slots=True)
class SessionErrorStats:
    """A phone's session: counted errors, their limits, and what is going on.

    ``severity`` is ``ok``, ``warning`` (any error, or messages that
    fail again and again), ``critical`` (the next error of that kind closes the session) or
    ``unknown``, where nobody sees its messages; ``unknown_because`` then says why in a word
    (``wa_sessions.health.unknown.Because``), and ``unknown_reason`` for people. ``standing`` is the word that people
    read: the severity, or ``down`` by its status, or without a worker that has it connected. ``is_healthy`` is False
    from critical on, None when unknown. ``state`` is what a worker wrote last, at an earlier time where ``observed`` is
    False. ``messages_uncounted`` messages of a Node backend's phone failed again in the last quarter of an hour for
    reasons that count towards no limit; ``uncounted_because`` says why most of them did
    (``wa_sessions.health.uncounted.NotCounted``), ``uncounted_reason`` says it for people. A phone of the Node backend
    has no state; it is observed through the backend's logs, last read at
    ``logs_read_at``. ``qr_waits``: a QR stands there to be scanned, as text. ``closed_by``: the operation that closed
    the session and has its keys, while ``restore`` can bring them back. ``closed_in_logs_at``: when the Node backend's
    logs said that it closed the session at a limit, if it has not connected since. ``force_closed_at``, ``_by`` and
    ``_reason``: that somebody closed it on purpose, as long as it stays closed. ``inbox_waiting`` messages wait for
    their handler, the oldest for ``inbox_oldest_seconds``; ``inbox_dead`` are set aside.
    """

    phone_id: int
    phone: str
    organization_id: int
    display_name: str | None
    connection_type: PhoneType
    status: BackendStatus
    state: SessionState | None
    state_detail: str | None
    state_since: datetime | None
    retry_at: datetime | None
    bad_mac_errors: int
    bad_decrypt_errors: int
    max_bad_mac_errors: int
    max_bad_decrypt_errors: int
    is_healthy: bool | None
    severity: Severity
    standing: Standing = field(init=False)
    unknown_because: Because | None
    unknown_reason: str | None
    last_error_at: datetime | None
    last_error_kind: str | None
    messages_recovered: int
    messages_lost: int
    messages_pending: int
    messages_uncounted: int
    uncounted_because: NotCounted | None
    uncounted_reason: str | None
    inbox_waiting: int
    inbox_dead: int
    inbox_oldest_seconds: float | None
    last_connected_at: datetime | None
    worker: Worker | None
    logs_read_at: datetime | None
    qr_waits: bool
    closed_by: str | None
    closed_in_logs_at: datetime | None
    force_closed_at: datetime | None
    force_closed_by: str | None
    force_closed_reason: str | None
    observed: bool

    def __post_init__(self) -> None:
        """Say how it stands, which follows from the rest."""
        closed = self.status in DOWN_STATUSES and self.connection_type != ConnectionType.WABA
        down = closed or self.unknown_because in _UNSEEN
        object.__setattr__(self, "standing", Standing.DOWN if down else Standing(self.severity))

    def as_dict(self) -> dict[str, Any]:
        """Plain values in snake_case; times are ISO 8601 in UTC."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def as_seed_dict(self) -> dict[str, Any]:
        """The same under the camelCase names of the Node backend's ``getSessionErrorStats``."""
        return {_camel(name): value for name, value in self.as_dict().items()}


@dataclass(frozen=True, slots=True)
class Watch:
    """What our own schema says of one phone, or why it says nothing."""

    health: HealthRow | None = None
    owner: WorkerInfo | None = None
    pending: int = 0
    missing: Because | None = None
    logs: LogWatch | None = None
    inbox: Depth = field(default_factory=Depth)
    closed_by: str | None = None
    closed_in_logs_at: datetime | None = None
    forced: ForcedClose | None = None
    failing_again: Uncounted | None = None

    @property
    def logs_age(self) -> timedelta | None:
        """How long ago the logs of the Node backend were read, which has no other observer."""
        return max(datetime.now(UTC) - self.logs.read_at, timedelta()) if self.logs else None


def session_stats(
    opened: Opened, phone: PhoneRef, organization_id: int | None = None, *, limits: Limits | None = None
) -> SessionErrorStats:
    """The stats of one phone; it needs no right but SELECT on the backend's tables, and not our schema.

    Raises PhoneNotFound, AmbiguousPhone, DatabaseError.
    """
    with opened.database.transaction() as conn:
        found = phones.find(conn, opened.backend, phone, organization_id)
    return judge(found, _watch(opened, found.id), limits)


def judge(phone: Phone, watch: Watch, limits: Limits | None = None) -> SessionErrorStats:
    """Put together what is known of a phone. Silence is not health: without a live worker severity is unknown.

    Errors that logs have counted are worse than what those logs leave open. The limits are those of the worker that
    owns the session, else the configured ones.
    """
    row, owner = watch.health, watch.owner
    if limits is None:
        limits = Limits(row.max_bad_mac, row.max_bad_decrypt) if row and owner else configured_limits()
    bad_mac, bad_decrypt = (row.bad_mac_errors, row.bad_decrypt_errors) if row else (0, 0)
    because, closed = _unknown_because(phone, watch), still_closed(phone, watch.closed_in_logs_at)
    failing = watch.failing_again if phone.connection_type == ConnectionType.BAILEYS and owner is None else None
    uncounted = failing.messages if failing else 0
    counted = Severity.CRITICAL if closed else severity(bad_mac, bad_decrypt, limits, uncounted=uncounted)
    if because is Because.LOGS and counted is not Severity.OK:
        because = None
    level = Severity.UNKNOWN if because else counted
    state = None if phone.connection_type == ConnectionType.BAILEYS and watch.logs else row
    forced = _still_forced(phone, watch.forced)
    return SessionErrorStats(
        phone_id=phone.id,
        phone=phone.number,
        organization_id=phone.organization_id,
        display_name=phone.display_name,
        connection_type=phone.connection_type,
        status=phone.status,
        state=state.state if state else None,
        state_detail=state.state_detail if state else None,
        state_since=state.state_since if state else None,
        retry_at=state.retry_at if state else None,
        bad_mac_errors=bad_mac,
        bad_decrypt_errors=bad_decrypt,
        max_bad_mac_errors=limits.bad_mac,
        max_bad_decrypt_errors=limits.bad_decrypt,
        is_healthy=None if level is Severity.UNKNOWN else level is not Severity.CRITICAL,
        severity=level,
        unknown_because=because,
        unknown_reason=_reason(because, phone, watch) if because else None,
        last_error_at=row.last_error_at if row else None,
        last_error_kind=row.last_error_kind if row else None,
        messages_recovered=row.messages_recovered if row else 0,
        messages_lost=row.messages_lost if row else 0,
        messages_pending=watch.pending,
        messages_uncounted=uncounted,
        uncounted_because=failing.reason if failing else None,
        uncounted_reason=uncounted_reason(failing) if failing else None,
        inbox_waiting=watch.inbox.waiting,
        inbox_dead=watch.inbox.dead,
        inbox_oldest_seconds=_rounded(watch.inbox.oldest_seconds),
        last_connected_at=phone.last_connected_at,
        worker=_worker(owner) if owner else None,
        logs_read_at=watch.logs.read_at if watch.logs else None,
        qr_waits=phone.status != Status.CONNECTED and is_scannable(phone.qr_code),
        closed_by=watch.closed_by,
        closed_in_logs_at=closed,
        force_closed_at=forced.at if forced else None,
        force_closed_by=forced.actor if forced else None,
        force_closed_reason=forced.reason if forced else None,
        observed=because is None or (because is Because.NOT_CONNECTED and not _doubtful(watch)),
    )


def still_closed(phone: Phone, closed_at: datetime | None) -> datetime | None:
    """When the Node backend's logs said that it closed the session, unless it has connected since."""
    connected = phone.last_connected_at
    since = closed_at is not None and connected is not None and connected >= closed_at
    return closed_at if phone.connection_type == ConnectionType.BAILEYS and not since else None


def _still_forced(phone: Phone, forced: ForcedClose | None) -> ForcedClose | None:
    """That somebody closed it on purpose, unless it has connected since or its status says that it may."""
    if forced is None or phone.status not in DOWN_STATUSES:
        return None
    connected = phone.last_connected_at
    return None if connected is not None and connected >= forced.at else forced


def is_scannable(code: str | None) -> bool:
    """Whether the backend's column holds the text of a QR, and not a picture of one or something else."""
    return bool(code and not code.startswith("data:") and _SCANNABLE.fullmatch(code))


def _worker(owner: WorkerInfo) -> Worker:
    return Worker(str(owner.worker_id), owner.host, owner.pid, owner.started_at, owner.state)


def _watch(opened: Opened, phone_id: int) -> Watch:
    try:
        with opened.database.transaction() as conn:
            pending = len(health.pending_messages(conn, phone_id))
            logs = log_reading.watches(conn, phone_id).get(phone_id)
            depth = inbox.depths(conn, phone_id).get(phone_id, Depth())
            closed_by = operations.closes(conn, phone_id).get(phone_id)
            row, owner = health.load(conn, phone_id), live_owner(conn, phone_id)
            closed_at = health.closed_in_logs(conn, phone_id).get(phone_id)
            forced = health.forced_closes(conn, phone_id).get(phone_id)
            again = log_reading.failing_again(conn, phone_id).get(phone_id)
            return Watch(row, owner, pending, None, logs, depth, closed_by, closed_at, forced, again)
    except SchemaMissing:
        return Watch(missing=Because.NO_SCHEMA)
    except PermissionMissing:
        return Watch(missing=Because.NO_PERMISSION)


def _unknown_because(phone: Phone, watch: Watch) -> Because | None:
    if phone.connection_type == ConnectionType.WABA:
        return Because.WABA
    if phone.connection_type not in (ConnectionType.BAILEYS, ConnectionType.NEONIZE):
        return Because.FOREIGN
    if watch.missing is not None:
        return watch.missing
    if watch.owner is not None:
        return _of_worker(phone, watch.owner, watch.health)
    if phone.connection_type == ConnectionType.NEONIZE:
        return Because.NO_WORKER
    if watch.logs is None or watch.logs_age is None or watch.logs_age >= FRESH:
        return Because.NODE
    if phone.status not in UP_STATUSES:
        return Because.NOT_CONNECTED
    return Because.LOGS if watch.logs.doubt else None


def _doubtful(watch: Watch) -> bool:
    """Only logs are read, and they do not tell how it is."""
    return watch.owner is None and watch.logs is not None and watch.logs.doubt is not None


def _of_worker(phone: Phone, owner: WorkerInfo, row: HealthRow | None) -> Because | None:
    if owner.silent_for is not None and owner.silent_for > SILENT_AFTER:
        return Because.NO_SIGN_OF_LIFE
    return None if row and row.state in _WATCHING and phone.status in UP_STATUSES else Because.NOT_CONNECTED


def _reason(because: Because, phone: Phone, watch: Watch) -> str:
    unknown = Unknown(
        because,
        connection_type=phone.connection_type,
        status=phone.status,
        state=watch.health.state if watch.health else None,
        logs_age=watch.logs_age,
        doubt=watch.logs.doubt if watch.logs else None,
    )
    return unknown_reason(unknown)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
