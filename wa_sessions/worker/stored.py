"""The health policy's values as rows of the database, and back."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType

from wa_sessions.db.health import HealthRow, MessageRow
from wa_sessions.db.phones import Phone
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.model import ErrorKind, FailedMessage, Health, Limits, Outcome


def health_row(
    phone: Phone,
    health: Health,
    limits: Limits,
    *,
    state: str,
    state_detail: str | None,
    state_since: datetime,
    retry_at: datetime | None,
) -> HealthRow:
    """A phone's health and what its session is doing, to be saved."""
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
        state=state,
        state_detail=state_detail,
        state_since=state_since,
        retry_at=retry_at,
        closing=health.closing,
        max_bad_mac=limits.bad_mac,
        max_bad_decrypt=limits.bad_decrypt,
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


def message_row(phone_id: int, message: FailedMessage) -> MessageRow:
    """A failed message, to be saved."""
    return MessageRow(phone_id=phone_id, **asdict(message))


def _message(row: MessageRow) -> FailedMessage:
    fields = asdict(row)
    del fields["phone_id"]
    fields["cause"], fields["encryption"] = Cause(row.cause), Encryption(row.encryption)
    fields["outcome"] = Outcome(row.outcome) if row.outcome else None
    return FailedMessage(**fields)
