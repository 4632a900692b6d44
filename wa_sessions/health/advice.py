"""What to do about a session: for each kind of phone one table, whose first row that fits is the advice.

A named command works for that phone: one that the Node backend runs is never sent to what our worker alone does.
"""

from wa_sessions.health.advice_cases import (
    NO_PERMISSION,
    NO_SCHEMA,
    Advice,
    Case,
    Row,
    at_limit,
    because_of,
    closed_in_logs,
    down,
    keys_in_quarantine,
    owned,
    qr_waits,
    severity_is,
    status_is,
    strange_status,
)
from wa_sessions.health.advice_ours import OURS
from wa_sessions.health.limits import Severity
from wa_sessions.health.reconnect import Status
from wa_sessions.health.unknown import Because

_NODE = (
    Row(
        (qr_waits, down),
        "a QR waits: scan it with the phone, under WhatsApp, Linked devices: wa-sessions qr {phone}",
        urgent=True,
    ),
    Row((owned,), "a worker of ours still has it; which, and how that is: wa-sessions workers", urgent=True),
    Row(
        (status_is(Status.LOGGED_OUT), keys_in_quarantine),
        "its keys are in quarantine; back without a QR: wa-sessions restore {operation}, then start the Node backend "
        "again; with a new QR: start it, and scan what comes: wa-sessions qr {phone} --watch",
        urgent=True,
    ),
    Row(
        (status_is(Status.LOGGED_OUT),),
        "it needs a new QR: start the Node backend again, which makes one, and scan it: wa-sessions qr {phone} --watch",
        urgent=True,
    ),
    Row(
        (status_is(Status.PENDING),),
        "it needs a QR, which the Node backend makes when it starts; to see it come: wa-sessions qr {phone} --watch",
        urgent=True,
    ),
    Row(
        (status_is(Status.DISCONNECTED),),
        "the Node backend has not connected it; its log may say why: wa-sessions logs --pm2 NAME",
    ),
    Row(
        (strange_status,),
        "the backend gave it a status that is not known here; its log may say more: wa-sessions logs --pm2 NAME",
    ),
    Row(
        (at_limit, closed_in_logs),
        "{at_limit}: the backend closed it, as its log says, and a new QR is needed: wa-sessions qr {phone} --watch",
        urgent=True,
    ),
    Row(
        (severity_is(Severity.CRITICAL), closed_in_logs),
        "the backend closed it, as its log says, and has not connected it since; a new QR is needed: "
        "wa-sessions qr {phone} --watch",
        urgent=True,
    ),
    Row(
        (at_limit,),
        "{at_limit}: the backend should have closed it; look whether it did: wa-sessions logs --pm2 NAME",
        urgent=True,
    ),
    Row(
        (severity_is(Severity.CRITICAL),),
        "at one more such error the Node backend closes it and asks for a new QR: keep the phone at hand; what fails: "
        "wa-sessions errors {phone}",
        urgent=True,
    ),
    NO_SCHEMA,
    NO_PERMISSION,
    Row(
        (because_of(Because.NODE),),
        "the Node backend runs it and nobody reads its logs here: wa-sessions logs --pm2 NAME --record",
    ),
    Row((because_of(Because.LOGS),), "{reason}; look at them: wa-sessions logs --pm2 NAME"),
    Row(
        (status_is(Status.LOADING, Status.RECONNECTING),),
        "wait: the Node backend connects it; if that goes on, its log may say why: wa-sessions logs --pm2 NAME",
    ),
    Row(
        (severity_is(Severity.WARNING),),
        "wait: the session goes on, and the counter resets when the backend says so or connects it again",
    ),
    Row((severity_is(Severity.OK),), None),
)

_WABA = (
    Row((status_is(Status.CONNECTED),), "nothing to do here: the official API runs it, without keys that could break"),
    Row((), "the official API runs it: look where that is set up, as nothing here can connect it"),
)

_FOREIGN = (
    Row(
        (),
        "phones of the type {kind} are not known here: look at what runs them; all phones: wa-sessions sessions",
    ),
)

_TABLES = {"baileys": _NODE, "neonize": OURS, "waba": _WABA}


def row_of(case: Case) -> Row:
    """The row for a phone. Raises LookupError if the table has none."""
    for row in _TABLES.get(case.connection_type, _FOREIGN):
        if all(holds(case) for holds in row.when):
            return row
    raise LookupError(f"no advice for {case}")


def advice(case: Case) -> Advice | None:
    """What to do about a phone; None where all is well."""
    row = row_of(case)
    if row.text is None:
        return None
    text = row.text.format(
        phone=case.phone,
        operation=case.closed_by,
        reason=case.reason,
        at_limit=case.at_limit,
        kind=case.connection_type,
    )
    return Advice(text, row.urgent)
