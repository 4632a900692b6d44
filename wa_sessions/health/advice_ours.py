"""What to do about a phone that our own worker runs: a table whose first row that fits is the advice."""

from wa_sessions.health.advice_cases import (
    NO_PERMISSION,
    NO_SCHEMA,
    Remedy,
    Row,
    at_limit,
    because_of,
    comes_back,
    keys_in_quarantine,
    qr_waits,
    set_aside,
    severity_is,
    state_is,
    status_is,
)
from wa_sessions.health.limits import Severity
from wa_sessions.health.reconnect import State, Status
from wa_sessions.health.unknown import Because

_NOBODY = because_of(Because.NO_WORKER)
_AWAY = (
    Row((_NOBODY, state_is(State.FAULTED)), Remedy.FAULTED_AWAY, urgent=True),
    Row(
        (_NOBODY, state_is(State.FORCE_CLOSED), status_is(Status.LOGGED_OUT), keys_in_quarantine),
        Remedy.KEYS_IN_QUARANTINE_AWAY,
        urgent=True,
    ),
    Row((_NOBODY, status_is(Status.LOGGED_OUT)), Remedy.LINKED_BY_RUN, urgent=True),
    Row((_NOBODY, state_is(State.LOGGED_OUT, State.PAIRING, State.PAIRING_EXPIRED)), Remedy.LINKED_BY_RUN, urgent=True),
    Row((_NOBODY, state_is(State.FORCE_CLOSED)), Remedy.CLOSED_AWAY),
    Row((_NOBODY, state_is(State.REPLACED)), Remedy.REPLACED_AWAY, urgent=True),
    Row((_NOBODY, state_is(State.BANNED), comes_back), Remedy.BANNED_FOR_A_WHILE_AWAY),
    Row((_NOBODY, state_is(State.BANNED, State.LOGIN_REFUSED)), Remedy.ACCOUNT_AWAY, urgent=True),
    Row((_NOBODY, state_is(State.OUTDATED)), Remedy.OUTDATED_AWAY, urgent=True),
    Row((_NOBODY,), Remedy.NO_WORKER),
)

_HERE = (
    Row((state_is(State.PAIRING), qr_waits), Remedy.QR_WAITS, urgent=True),
    Row((state_is(State.PAIRING),), Remedy.QR_COMES, urgent=True),
    Row((state_is(State.PAIRING_EXPIRED),), Remedy.PAIRING_EXPIRED, urgent=True),
    Row((state_is(State.LOGGED_OUT),), Remedy.LINKED_BY_RELINK, urgent=True),
    Row(
        (state_is(State.FORCE_CLOSED), status_is(Status.LOGGED_OUT), keys_in_quarantine),
        Remedy.KEYS_IN_QUARANTINE,
        urgent=True,
    ),
    Row((state_is(State.FORCE_CLOSED), status_is(Status.LOGGED_OUT)), Remedy.LINKED_BY_RELINK, urgent=True),
    Row((state_is(State.FORCE_CLOSED),), Remedy.CLOSED, urgent=True),
    Row((state_is(State.REPLACED),), Remedy.REPLACED, urgent=True),
    Row((state_is(State.LOGIN_REFUSED),), Remedy.LOGIN_REFUSED, urgent=True),
    Row((state_is(State.OUTDATED),), Remedy.OUTDATED, urgent=True),
    Row((state_is(State.BANNED), comes_back), Remedy.BANNED_FOR_A_WHILE),
    Row((state_is(State.BANNED),), Remedy.BANNED, urgent=True),
    Row((state_is(State.FAULTED),), Remedy.FAULTED, urgent=True),
    Row((state_is(State.WAITING_FOR_STORE),), Remedy.WAITING_FOR_STORE),
    Row((state_is(State.STOPPED),), Remedy.STOPPED),
    Row((state_is(State.CRASHED), set_aside), Remedy.KEEPS_CRASHING, urgent=True),
    Row((state_is(State.CRASHED),), Remedy.CRASHED),
    Row((state_is(State.UNREACHABLE),), Remedy.UNREACHABLE),
    Row((because_of(Because.NOT_CONNECTED), state_is(State.CONNECTED)), Remedy.STATUS_OVERWRITTEN, urgent=True),
    Row((because_of(Because.NOT_CONNECTED),), Remedy.BEGINS),
    Row((at_limit,), Remedy.AT_LIMIT, urgent=True),
    Row((severity_is(Severity.CRITICAL),), Remedy.CRITICAL, urgent=True),
    Row((state_is(State.RECONNECTING, State.NO_ANSWER),), Remedy.RECONNECTS),
    Row((severity_is(Severity.WARNING),), Remedy.WARNING),
    Row((severity_is(Severity.OK),), None),
)

OURS = (
    NO_SCHEMA,
    NO_PERMISSION,
    Row((because_of(Because.NO_SIGN_OF_LIFE),), Remedy.HANGS, urgent=True),
    *_AWAY,
    *_HERE,
)
