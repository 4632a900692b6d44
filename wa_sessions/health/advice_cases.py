"""What is known of a phone where advice is looked for, and the rows of the tables that have it."""

from collections.abc import Callable
from dataclasses import dataclass

from wa_sessions.health.limits import Severity
from wa_sessions.health.reconnect import UP_STATUSES, Status
from wa_sessions.health.unknown import Because


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a phone. ``phone`` is how it is typed in a command.

    ``at_limit``: a counter that has reached its limit, in words. ``qr``: a QR waits that can be drawn. ``closed_by``:
    the operation that has its keys, if ``restore`` brings them back. ``comes_back``: a time is set at which it connects
    by itself. ``set_aside``: its process ended again and again, so that its worker leaves it alone for long. ``owned``:
    a worker of ours has it. ``closed_in_logs``: the Node backend's logs say that it closed it at the limit.
    """

    phone: str
    connection_type: str
    status: str
    state: str | None
    severity: str
    because: str | None
    reason: str | None
    at_limit: str | None
    qr: bool
    closed_by: str | None
    comes_back: bool
    set_aside: bool
    owned: bool
    closed_in_logs: bool


@dataclass(frozen=True, slots=True)
class Advice:
    """A line for a person. ``urgent``: nothing gets better until somebody acts, or soon it gets much worse."""

    text: str
    urgent: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What is said where all of ``when`` holds; None where there is nothing to do."""

    when: tuple[Callable[[Case], bool], ...]
    text: str | None
    urgent: bool = False


def status_is(*known: str) -> Callable[[Case], bool]:
    """The backend's status is one of these."""
    return lambda case: case.status in known


def state_is(*known: str | None) -> Callable[[Case], bool]:
    """What its worker said last is one of these."""
    return lambda case: case.state in known


def because_of(*known: str | None) -> Callable[[Case], bool]:
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
    return case.status not in set(Status)


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


def down(case: Case) -> bool:
    """By its status it has no connection, and gets none by itself."""
    return case.status not in UP_STATUSES


NO_SCHEMA = Row((because_of(Because.NO_SCHEMA),), "nothing is recorded in this database yet: wa-sessions db upgrade")
NO_PERMISSION = Row(
    (because_of(Because.NO_PERMISSION),),
    "GRANT this database role USAGE on the schema wa_sessions and SELECT on its tables; then look again: "
    "wa-sessions stats {phone}",
)
