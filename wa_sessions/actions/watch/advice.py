"""PURE: what to do about a phone, if anything: about its session, and about what waits for a handler."""

from datetime import timedelta

from wa_sessions.actions.watch.stats import SessionErrorStats
from wa_sessions.health import advice
from wa_sessions.health.advice_cases import Advice, Case
from wa_sessions.health.checking import WAITS_LONG
from wa_sessions.health.limits import ErrorCount, ErrorKind, Limits
from wa_sessions.health.reconnect import State
from wa_sessions.wording.advice import advice_text, messages_set_aside, waits_for_handler

_AT_ONCE = timedelta(minutes=5)
"""What crashed is tried again within this time; later, if its process ended again and again."""


def next_step(stats: SessionErrorStats) -> str | None:
    """One line for a person; None where all is well. A message waits for what its session needs, too."""
    session = session_step(stats)
    if stats.inbox_dead:
        dead = messages_set_aside(stats.inbox_dead, typed(stats))
        return f"{session}; {dead}" if session else dead
    if session is None and (waited := _waited_long(stats)):
        return waits_for_handler(waited, typed(stats))
    return session


def session_step(stats: SessionErrorStats) -> str | None:
    """The same of its session alone, whatever waits for a handler."""
    told = _advice(stats)
    return advice_text(told) if told else None


def needs_operator(stats: SessionErrorStats) -> bool:
    """Whether nothing gets better until somebody acts, or soon gets much worse; or messages are set aside or stuck."""
    told = _advice(stats)
    return messages_stuck(stats) or bool(told and told.urgent)


def messages_stuck(stats: SessionErrorStats) -> bool:
    """Whether messages are set aside, or one has waited long for its handler."""
    return bool(stats.inbox_dead or _waited_long(stats))


def typed(stats: SessionErrorStats) -> str:
    """The phone as it is typed in a command; a shell takes what follows a bare # for a comment."""
    return f"'{stats.phone}'" if stats.phone.startswith("#") else stats.phone


def _advice(stats: SessionErrorStats) -> Advice | None:
    return advice.advice(case_of(stats))


def case_of(stats: SessionErrorStats) -> Case:
    """What of a phone's stats the advice depends on."""
    return Case(
        phone=typed(stats),
        connection_type=stats.connection_type,
        status=stats.status,
        state=stats.state,
        severity=stats.severity,
        because=stats.unknown_because,
        reason=stats.unknown_reason,
        at_limit=at_limit(stats),
        qr=stats.qr_waits,
        closed_by=stats.closed_by,
        comes_back=stats.retry_at is not None,
        set_aside=_is_set_aside(stats),
        owned=stats.worker is not None,
        closed_in_logs=stats.closed_in_logs_at is not None,
        force_closed=stats.force_closed_at is not None,
        closer=stats.force_closed_by,
        uncounted=stats.uncounted_reason,
    )


def at_limit(stats: SessionErrorStats) -> ErrorCount | None:
    """A counter that has reached its limit; None where none has, or nobody observes the phone."""
    if stats.unknown_because is not None:
        return None
    counts = {ErrorKind.BAD_MAC: stats.bad_mac_errors, ErrorKind.BAD_DECRYPT: stats.bad_decrypt_errors}
    limits = Limits(stats.max_bad_mac_errors, stats.max_bad_decrypt_errors)
    reached = (ErrorCount(kind, count, limits.of(kind)) for kind, count in counts.items() if count >= limits.of(kind))
    return next(reached, None)


def _waited_long(stats: SessionErrorStats) -> timedelta | None:
    waited = timedelta(seconds=stats.inbox_oldest_seconds or 0)
    return waited if waited >= WAITS_LONG else None


def _is_set_aside(stats: SessionErrorStats) -> bool:
    """Its process crashed again and again, so that its worker leaves it alone for long."""
    if stats.state != State.CRASHED or stats.retry_at is None or stats.state_since is None:
        return False
    return stats.retry_at - stats.state_since > _AT_ONCE
