"""What to do about a phone that our own worker runs: a table whose first row that fits is the advice."""

from wa_sessions.health.advice_cases import (
    NO_PERMISSION,
    NO_SCHEMA,
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

_QUARANTINE = "its keys are in quarantine; back without a QR: wa-sessions restore {operation}; with a new QR: "
_NOBODY = because_of(Because.NO_WORKER)
_AWAY = (
    Row(
        (_NOBODY, state_is(State.FAULTED)),
        "our own program failed with it five times: report the worker's log to its developers; "
        "to try again: wa-sessions run {phone}",
        urgent=True,
    ),
    Row(
        (_NOBODY, state_is(State.FORCE_CLOSED), status_is(Status.LOGGED_OUT), keys_in_quarantine),
        _QUARANTINE + "wa-sessions run {phone}",
        urgent=True,
    ),
    Row((_NOBODY, status_is(Status.LOGGED_OUT)), "link it again by QR: wa-sessions run {phone}", urgent=True),
    Row(
        (_NOBODY, state_is(State.LOGGED_OUT, State.PAIRING, State.PAIRING_EXPIRED)),
        "link it again by QR: wa-sessions run {phone}",
        urgent=True,
    ),
    Row((_NOBODY, state_is(State.FORCE_CLOSED)), "it was closed on purpose; to connect: wa-sessions run {phone}"),
    Row(
        (_NOBODY, state_is(State.REPLACED)),
        "another program uses these keys: stop it, then wa-sessions run {phone}",
        urgent=True,
    ),
    Row(
        (_NOBODY, state_is(State.BANNED), comes_back),
        "WhatsApp has banned it for a time; after that: wa-sessions run {phone}",
    ),
    Row(
        (_NOBODY, state_is(State.BANNED, State.LOGIN_REFUSED)),
        "look into the account on the phone, then wa-sessions run {phone}",
        urgent=True,
    ),
    Row(
        (_NOBODY, state_is(State.OUTDATED)),
        "WhatsApp refuses this version: upgrade neonize, then wa-sessions run {phone}",
        urgent=True,
    ),
    Row((_NOBODY,), "no worker runs it: wa-sessions run {phone}"),
)

_HERE = (
    Row(
        (state_is(State.PAIRING), qr_waits),
        "scan the QR on the phone, under WhatsApp, Linked devices: wa-sessions qr {phone}",
        urgent=True,
    ),
    Row((state_is(State.PAIRING),), "a QR comes in a moment: wa-sessions qr {phone} --watch", urgent=True),
    Row(
        (state_is(State.PAIRING_EXPIRED),),
        "nobody scanned the QR; show a new one: wa-sessions relink {phone}",
        urgent=True,
    ),
    Row((state_is(State.LOGGED_OUT),), "link it again by QR: wa-sessions relink {phone}", urgent=True),
    Row(
        (state_is(State.FORCE_CLOSED), status_is(Status.LOGGED_OUT), keys_in_quarantine),
        _QUARANTINE + "wa-sessions relink {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.FORCE_CLOSED), status_is(Status.LOGGED_OUT)),
        "link it again by QR: wa-sessions relink {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.FORCE_CLOSED),),
        "it was closed on purpose; to connect: wa-sessions restart {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.REPLACED),),
        "another program uses these keys: stop it, then wa-sessions restart {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.LOGIN_REFUSED),),
        "look into the account on the phone, then wa-sessions restart {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.OUTDATED),),
        "WhatsApp refuses this version: upgrade neonize, then stop its worker and start it again; which that is: "
        "wa-sessions workers",
        urgent=True,
    ),
    Row(
        (state_is(State.BANNED), comes_back),
        "WhatsApp has banned it for a time; it connects again by itself when that is over; until when: "
        "wa-sessions stats {phone}",
    ),
    Row(
        (state_is(State.BANNED),),
        "WhatsApp has banned it and told no end: look at the account on the phone, then wa-sessions restart {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.FAULTED),),
        "our own program failed with it; to try again: wa-sessions restart {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.WAITING_FOR_STORE),),
        "the worker cannot reach its database; it comes back by itself once that answers; what happened: "
        "wa-sessions timeline {phone}",
    ),
    Row((state_is(State.STOPPED),), "its worker is ending; start another: wa-sessions run {phone}"),
    Row(
        (state_is(State.CRASHED), set_aside),
        "its process ends again and again: look in the worker's log for why; "
        "to try before its next attempt: wa-sessions restart {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.CRASHED),),
        "wait: it connects again by itself in a new process; if that goes on, the worker's log says why; how often: "
        "wa-sessions timeline {phone}",
    ),
    Row(
        (state_is(State.UNREACHABLE),),
        "wait: it connects again by itself; if that goes on, look at the network and the worker's log; how often: "
        "wa-sessions timeline {phone}",
    ),
    Row(
        (because_of(Because.NOT_CONNECTED), state_is(State.CONNECTED)),
        "its status was written by somebody else than its worker; to have it written anew: wa-sessions restart {phone}",
        urgent=True,
    ),
    Row(
        (because_of(Because.NOT_CONNECTED),),
        "wait: its worker begins with it; if that goes on: wa-sessions timeline {phone}",
    ),
    Row(
        (at_limit,),
        "{at_limit}: its worker closes it now, and a new QR is needed: wa-sessions qr {phone} --watch",
        urgent=True,
    ),
    Row(
        (severity_is(Severity.CRITICAL),),
        "one more such error closes it and asks for a new QR: keep the phone at hand; what fails: "
        "wa-sessions errors {phone}",
        urgent=True,
    ),
    Row(
        (state_is(State.RECONNECTING, State.NO_ANSWER),),
        "wait: it connects again by itself; if that goes on, look at the network and the worker's log",
    ),
    Row(
        (severity_is(Severity.WARNING),),
        "wait: the damage mends itself, and the counter resets when something decrypts again",
    ),
    Row((severity_is(Severity.OK),), None),
)

OURS = (
    NO_SCHEMA,
    NO_PERMISSION,
    Row(
        (because_of(Because.NO_SIGN_OF_LIFE),),
        "its session hangs in its worker: see the worker's log, then stop it and start it again; which that is: "
        "wa-sessions workers",
        urgent=True,
    ),
    *_AWAY,
    *_HERE,
)
