"""A session's values as rows of the database, and back."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from types import MappingProxyType

from wa_sessions.db.health import HealthRow, MessageRow
from wa_sessions.db.phones import Phone
from wa_sessions.health.backend_words import SessionState, UnknownWord
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.model import ErrorKind, FailedMessage, Health, Outcome
from wa_sessions.health.reconnect import State
from wa_sessions.worker.session import Session

_FORMER = {"closing": State.CONNECTING}
"""States that older versions wrote, and what they are now: that a close is due stands in ``closing`` alone."""


def health_row(phone: Phone, session: Session, version: int, now: datetime) -> HealthRow:
    """A phone's health and what its session is doing, to be saved."""
    health, limits = session.health, session.settings.limits
    return HealthRow(
        phone_id=phone.id,
        organization_id=phone.organization_id,
        bad_mac_errors=health.bad_mac,
        bad_decrypt_errors=health.bad_decrypt,
        counted_senders=tuple(sorted(health.counted_senders)),
        last_error_at=health.last_error_at,
        last_error_kind=health.last_error_kind,
        messages_recovered=health.recovered,
        messages_lost=health.lost,
        state=session.state,
        state_detail=session.detail,
        state_since=session.since or now,
        retry_at=session.retry_at,
        closing=health.closing,
        max_bad_mac=limits.bad_mac,
        max_bad_decrypt=limits.bad_decrypt,
        version=version,
    )


def with_stored(session: Session, row: HealthRow | None, messages: Iterable[MessageRow]) -> Session:
    """The session with what the database keeps of it."""
    if row is None:
        return session
    return replace(
        session,
        health=health_of(row, messages),
        state=_state(row.state),
        detail=row.state_detail,
        since=row.state_since,
        retry_at=row.retry_at,
    )


def health_of(row: HealthRow, messages: Iterable[MessageRow]) -> Health:
    """What an earlier worker knew."""
    return Health(
        bad_mac=row.bad_mac_errors,
        bad_decrypt=row.bad_decrypt_errors,
        counted_senders=frozenset(row.counted_senders),
        messages=MappingProxyType({message.message_id: _message(message) for message in messages}),
        recovered=row.messages_recovered,
        lost=row.messages_lost,
        closing=ErrorKind(row.closing) if row.closing else None,
        last_error_at=row.last_error_at,
        last_error_kind=ErrorKind(row.last_error_kind) if row.last_error_kind else None,
    )


def _state(state: SessionState) -> State:
    """The state as stored; another version may have written one that is not known here."""
    return _FORMER.get(state, State.IDLE) if isinstance(state, UnknownWord) else state


def message_row(phone_id: int, message: FailedMessage) -> MessageRow:
    """A failed message, to be saved."""
    return MessageRow(phone_id=phone_id, **asdict(message))


def _message(row: MessageRow) -> FailedMessage:
    fields = asdict(row)
    del fields["phone_id"]
    fields["cause"], fields["encryption"] = Cause(row.cause), Encryption(row.encryption)
    fields["outcome"] = Outcome(row.outcome) if row.outcome else None
    return FailedMessage(**fields)
