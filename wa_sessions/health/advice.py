"""What to do about a session: for each kind of phone one table, whose first row that fits is the advice.

A named command works for that phone: one that the Node backend runs is never sent to what our worker alone does.
"""

from collections.abc import Mapping

from wa_sessions.health.advice_cases import (
    NO_PERMISSION,
    NO_SCHEMA,
    Advice,
    Case,
    Remedy,
    Row,
    at_limit,
    because_of,
    closed_in_logs,
    down,
    force_closed,
    keys_in_quarantine,
    messages_fail,
    owned,
    qr_waits,
    severity_is,
    status_is,
    strange_status,
)
from wa_sessions.health.advice_ours import OURS
from wa_sessions.health.backend_words import ConnectionType, PhoneType
from wa_sessions.health.limits import Severity
from wa_sessions.health.reconnect import Status
from wa_sessions.health.unknown import Because

_NODE = (
    Row((qr_waits, down), Remedy.NODE_QR_WAITS, urgent=True),
    Row((owned,), Remedy.STILL_OWNED, urgent=True),
    Row((status_is(Status.LOGGED_OUT), keys_in_quarantine), Remedy.NODE_KEYS_IN_QUARANTINE, urgent=True),
    Row((status_is(Status.LOGGED_OUT),), Remedy.NODE_LOGGED_OUT, urgent=True),
    Row((status_is(Status.PENDING),), Remedy.NODE_PENDING, urgent=True),
    Row((status_is(Status.DISCONNECTED), force_closed), Remedy.NODE_FORCE_CLOSED),
    Row((status_is(Status.DISCONNECTED),), Remedy.NODE_DISCONNECTED),
    Row((strange_status,), Remedy.STRANGE_STATUS),
    Row((at_limit, closed_in_logs), Remedy.NODE_CLOSED_AT_LIMIT, urgent=True),
    Row((severity_is(Severity.CRITICAL), closed_in_logs), Remedy.NODE_CLOSED, urgent=True),
    Row((at_limit,), Remedy.NODE_AT_LIMIT, urgent=True),
    Row((severity_is(Severity.CRITICAL),), Remedy.NODE_CRITICAL, urgent=True),
    NO_SCHEMA,
    NO_PERMISSION,
    Row((because_of(Because.NODE),), Remedy.LOGS_NOT_READ),
    Row((because_of(Because.LOGS),), Remedy.LOGS_IN_DOUBT),
    Row((status_is(Status.LOADING, Status.RECONNECTING),), Remedy.NODE_CONNECTS),
    Row((severity_is(Severity.WARNING), messages_fail), Remedy.NODE_MESSAGES_FAIL),
    Row((severity_is(Severity.WARNING),), Remedy.NODE_WARNING),
    Row((severity_is(Severity.OK),), None),
)

_WABA = (
    Row((status_is(Status.CONNECTED),), Remedy.WABA_CONNECTED),
    Row((), Remedy.WABA_DOWN),
)

_FOREIGN = (Row((), Remedy.FOREIGN_TYPE),)

_TABLES: Mapping[PhoneType, tuple[Row, ...]] = {
    ConnectionType.BAILEYS: _NODE,
    ConnectionType.NEONIZE: OURS,
    ConnectionType.WABA: _WABA,
}


def row_of(case: Case) -> Row:
    """The row for a phone. Raises LookupError if the table has none."""
    for row in _TABLES.get(case.connection_type, _FOREIGN):
        if all(holds(case) for holds in row.when):
            return row
    raise LookupError(f"no advice for {case}")


def advice(case: Case) -> Advice | None:
    """What to do about a phone; None where all is well."""
    row = row_of(case)
    return None if row.remedy is None else Advice(row.remedy, case, row.urgent)
