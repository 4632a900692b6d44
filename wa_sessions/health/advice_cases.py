"""What is known of a phone where advice is looked for, what can be advised, and the rows of the tables that choose."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from wa_sessions.health.backend_words import BackendStatus, PhoneType, SessionState, UnknownWord
from wa_sessions.health.limits import ErrorCount, Severity
from wa_sessions.health.reconnect import UP_STATUSES, State, Status
from wa_sessions.health.unknown import Because


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a phone. ``phone`` is how it is typed in a command.

    ``at_limit``: a counter that has reached its limit. ``qr``: a QR waits that can be drawn. ``closed_by``:
    the operation that has its keys, if ``restore`` brings them back. ``comes_back``: a time is set at which it connects
    by itself. ``set_aside``: its process ended again and again, so that its worker leaves it alone for long. ``owned``:
    a worker of ours has it. ``closed_in_logs``: the Node backend's logs say that it closed it at the limit.
    ``force_closed``: somebody closed it on purpose, by name ``closer`` where that is known. ``uncounted``: that
    messages fail again and again for reasons that count towards no limit.
    """

    phone: str
    connection_type: PhoneType
    status: BackendStatus
    state: SessionState | None
    severity: Severity
    because: Because | None
    reason: str | None
    at_limit: ErrorCount | None
    qr: bool
    closed_by: str | None
    comes_back: bool
    set_aside: bool
    owned: bool
    closed_in_logs: bool
    force_closed: bool
    closer: str | None
    uncounted: str | None


class Remedy(StrEnum):
    """What is to be done, which ``wa_sessions.wording`` says; ``_away``: about a phone that no worker runs."""

    NODE_QR_WAITS = "node_qr_waits"
    STILL_OWNED = "still_owned"
    NODE_KEYS_IN_QUARANTINE = "node_keys_in_quarantine"
    NODE_LOGGED_OUT = "node_logged_out"
    NODE_PENDING = "node_pending"
    NODE_FORCE_CLOSED = "node_force_closed"
    NODE_DISCONNECTED = "node_disconnected"
    STRANGE_STATUS = "strange_status"
    NODE_CLOSED_AT_LIMIT = "node_closed_at_limit"
    NODE_CLOSED = "node_closed"
    NODE_AT_LIMIT = "node_at_limit"
    NODE_CRITICAL = "node_critical"
    NO_SCHEMA = "no_schema"
    NO_PERMISSION = "no_permission"
    LOGS_NOT_READ = "logs_not_read"
    LOGS_IN_DOUBT = "logs_in_doubt"
    NODE_CONNECTS = "node_connects"
    NODE_MESSAGES_FAIL = "node_messages_fail"
    NODE_WARNING = "node_warning"
    WABA_CONNECTED = "waba_connected"
    WABA_DOWN = "waba_down"
    FOREIGN_TYPE = "foreign_type"
    HANGS = "hangs"
    FAULTED_AWAY = "faulted_away"
    KEYS_IN_QUARANTINE_AWAY = "keys_in_quarantine_away"
    LINKED_BY_RUN = "linked_by_run"
    CLOSED_AWAY = "closed_away"
    REPLACED_AWAY = "replaced_away"
    BANNED_FOR_A_WHILE_AWAY = "banned_for_a_while_away"
    ACCOUNT_AWAY = "account_away"
    OUTDATED_AWAY = "outdated_away"
    NO_WORKER = "no_worker"
    QR_WAITS = "qr_waits"
    QR_COMES = "qr_comes"
    PAIRING_EXPIRED = "pairing_expired"
    LINKED_BY_RELINK = "linked_by_relink"
    KEYS_IN_QUARANTINE = "keys_in_quarantine"
    CLOSED = "closed"
    REPLACED = "replaced"
    LOGIN_REFUSED = "login_refused"
    OUTDATED = "outdated"
    BANNED_FOR_A_WHILE = "banned_for_a_while"
    BANNED = "banned"
    FAULTED = "faulted"
    WAITING_FOR_STORE = "waiting_for_store"
    STOPPED = "stopped"
    KEEPS_CRASHING = "keeps_crashing"
    CRASHED = "crashed"
    UNREACHABLE = "unreachable"
    STATUS_OVERWRITTEN = "status_overwritten"
    BEGINS = "begins"
    AT_LIMIT = "at_limit"
    CRITICAL = "critical"
    RECONNECTS = "reconnects"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a phone. ``urgent``: nothing gets better until somebody acts, or soon it gets much worse."""

    remedy: Remedy
    case: Case
    urgent: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What is advised where all of ``when`` holds; None where there is nothing to do."""

    when: tuple[Callable[[Case], bool], ...]
    remedy: Remedy | None
    urgent: bool = False


def status_is(*known: Status) -> Callable[[Case], bool]:
    """The backend's status is one of these."""
    return lambda case: case.status in known


def state_is(*known: State) -> Callable[[Case], bool]:
    """What its worker said last is one of these."""
    return lambda case: case.state in known


def because_of(*known: Because) -> Callable[[Case], bool]:
    """Its severity is unknown for one of these reasons."""
    return lambda case: case.because in known


def severity_is(known: Severity) -> Callable[[Case], bool]:
    """Its severity is this one."""
    return lambda case: case.severity == known


def qr_waits(case: Case) -> bool:
    """A QR waits that can be drawn."""
    return case.qr


def keys_in_quarantine(case: Case) -> bool:
    """An operation has its keys, and can be undone."""
    return case.closed_by is not None


def at_limit(case: Case) -> bool:
    """A counter has reached its limit."""
    return case.at_limit is not None


def strange_status(case: Case) -> bool:
    """Its status is a word that is not known."""
    return isinstance(case.status, UnknownWord)


def comes_back(case: Case) -> bool:
    """A time is set at which it connects by itself."""
    return case.comes_back


def set_aside(case: Case) -> bool:
    """Its worker leaves it alone for long."""
    return case.set_aside


def owned(case: Case) -> bool:
    """A worker of ours has it."""
    return case.owned


def closed_in_logs(case: Case) -> bool:
    """The Node backend's logs say that it closed it at the limit."""
    return case.closed_in_logs


def force_closed(case: Case) -> bool:
    """Somebody closed it on purpose."""
    return case.force_closed


def messages_fail(case: Case) -> bool:
    """Messages fail again and again for reasons that count towards no limit."""
    return case.uncounted is not None


def down(case: Case) -> bool:
    """By its status it has no connection, and gets none by itself."""
    return case.status not in UP_STATUSES


NO_SCHEMA = Row((because_of(Because.NO_SCHEMA),), Remedy.NO_SCHEMA)
NO_PERMISSION = Row(
    (because_of(Because.NO_PERMISSION),),
    Remedy.NO_PERMISSION,
)
