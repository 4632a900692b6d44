"""The decision: from what is known and what happened, to what is known now and what is to be done."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import assert_never

from wa_sessions.health.classify import Cause
from wa_sessions.health.model import (
    Action,
    Closed,
    CloseSession,
    CollectionFailed,
    CollectionSynced,
    Connected,
    ErrorKind,
    FailedMessage,
    Health,
    HealthEvent,
    LeaveStore,
    Limits,
    MessageDecrypted,
    MessageFailed,
    MessageGivenUp,
    Outcome,
    QuarantineCollection,
    QuarantineSenderKey,
    QuarantineSession,
    RecordEnd,
    RecordError,
    RecordPending,
    RecordReset,
    TimePassed,
)

Decision = tuple[Health, tuple[Action, ...]]


def decide(health: Health, event: HealthEvent, limits: Limits) -> Decision:
    """Say what follows from ``event``. Between a reached limit and ``Closed`` nothing is counted or reset."""
    match event:
        case Connected(for_repair=False):
            return _reset(health, *ErrorKind)
        case MessageFailed():
            return _message_failed(health, event, limits)
        case MessageDecrypted():
            return _message_decrypted(health, event)
        case MessageGivenUp():
            return _end(health, event.message_id, Outcome.LOST, event.at)
        case CollectionFailed():
            return _collection_failed(health, event, limits)
        case CollectionSynced():
            return _reset(health, ErrorKind.BAD_DECRYPT)
        case TimePassed():
            return _time_passed(health, event.at, limits)
        case Closed():
            return _closed(health, event.at)
        case Connected():
            return health, ()
        case _:
            assert_never(event)


# ------------------------------------------------------------------------------------------------- messages


def _message_failed(health: Health, event: MessageFailed, limits: Limits) -> Decision:
    known = health.messages.get(event.message_id)
    if known is None:
        message = _first_failure(event)
        actions: tuple[Action, ...] = (RecordPending(message),)
    else:
        message = _another_failure(known, event)
        actions = ()
    health = replace(health, messages=_with(health.messages, message))
    if event.cause is Cause.STORE:
        return health, (*actions, LeaveStore())
    if health.closing or known is None or not _retry_failed(known, event):
        return health, actions
    message = replace(message, counted=True)
    health = replace(health, messages=_with(health.messages, message))
    health, counted = _count(health, ErrorKind.BAD_MAC, event.at, limits, message=message)
    return health, actions + counted


def _first_failure(event: MessageFailed) -> FailedMessage:
    return FailedMessage(
        message_id=event.message_id,
        sender=event.sender,
        chat=event.chat,
        is_group=event.is_group,
        cause=event.cause,
        encryption=event.encryption,
        connection=event.connection,
        first_failed_at=event.at,
        last_failed_at=event.at,
        session_mark=event.session_mark,
    )


def _another_failure(known: FailedMessage, event: MessageFailed) -> FailedMessage:
    first_bad_mac = known.cause is not Cause.BAD_MAC and event.cause is Cause.BAD_MAC
    return replace(
        known,
        copies=known.copies + 1,
        last_failed_at=event.at,
        connection=event.connection,
        encryption=event.encryption,
        cause=event.cause if first_bad_mac or known.cause is not Cause.BAD_MAC else known.cause,
        session_mark=event.session_mark if first_bad_mac else known.session_mark,
        sender_worked=known.sender_worked and not first_bad_mac,
    )


def _retry_failed(known: FailedMessage, event: MessageFailed) -> bool:
    """Whether this is a retried copy of a message whose earlier copy was a Bad MAC too, not yet counted or ended.

    After a reconnect WhatsApp may deliver the very copy that failed once more, and it looks like a retried one. On the
    same connection it can't, as whatsmeow acknowledges what it could not decrypt.
    """
    retried = event.connection == known.connection
    both_bad_mac = event.cause is Cause.BAD_MAC and known.cause is Cause.BAD_MAC
    return both_bad_mac and retried and not known.counted and known.outcome is None


def _message_decrypted(health: Health, event: MessageDecrypted) -> Decision:
    proved = {
        m.message_id: replace(m, sender_worked=True)
        for m in health.pending
        if m.sender == event.sender and m.chat == event.chat
    }
    if proved:
        health = replace(health, messages=MappingProxyType({**health.messages, **proved}))
    health, ended = _end(health, event.message_id, Outcome.RECOVERED, event.at)
    health, reset = _reset(health, ErrorKind.BAD_MAC)
    return health, ended + reset


def _end(health: Health, message_id: str, outcome: Outcome, at: datetime) -> Decision:
    """End a message. One that was given up and then decrypts after all is recovered, never the other way round."""
    message = health.messages.get(message_id)
    if message is None or message.outcome in (outcome, Outcome.RECOVERED):
        return health, ()
    ended = replace(message, outcome=outcome, ended_at=at)
    health = replace(
        health,
        messages=_with(health.messages, ended),
        recovered=health.recovered + (outcome is Outcome.RECOVERED),
        lost=health.lost + (outcome is Outcome.LOST) - (message.outcome is Outcome.LOST),
    )
    return health, (RecordEnd(ended),)


# ------------------------------------------------------------------------------------------------ app state


def _collection_failed(health: Health, event: CollectionFailed, limits: Limits) -> Decision:
    if event.cause is Cause.STORE:
        return health, (LeaveStore(),)
    if event.cause is not Cause.BAD_DECRYPT or health.closing:
        return health, ()
    return _count(health, ErrorKind.BAD_DECRYPT, event.at, limits, collection=event.collection)


# ------------------------------------------------------------------------------------- counting and closing


def _count(
    health: Health,
    kind: ErrorKind,
    at: datetime,
    limits: Limits,
    *,
    message: FailedMessage | None = None,
    collection: str | None = None,
) -> Decision:
    health, count = _counted(health, kind, at, limits, message)
    limit = limits.of(kind)
    record = RecordError(
        kind,
        count,
        limit,
        message_id=message.message_id if message else None,
        sender=message.sender if message else None,
        collection=collection,
    )
    if count >= limit:
        return replace(health, closing=kind), (record, CloseSession(kind))
    repair = QuarantineCollection(collection) if collection else _repair(message) if message else None
    return health, (record, repair) if repair else (record,)


def _counted(
    health: Health, kind: ErrorKind, at: datetime, limits: Limits, message: FailedMessage | None
) -> tuple[Health, int]:
    health = replace(health, last_error_at=at, last_error_kind=kind)
    if kind is ErrorKind.BAD_DECRYPT or message is None:
        health = replace(health, bad_decrypt=health.bad_decrypt + 1)
        return health, health.bad_decrypt
    account = message.sender.split("@")[0].split(":")[0]
    if limits.scope == "sender" and account in health.counted_senders:
        return health, health.bad_mac
    health = replace(health, bad_mac=health.bad_mac + 1, counted_senders=health.counted_senders | {account})
    return health, health.bad_mac


def _repair(message: FailedMessage) -> Action | None:
    """The least that mends it; nothing if the session has proved itself since, or was not there to fail."""
    if message.session_mark is None or message.sender_worked:
        return None
    if message.is_group:
        return QuarantineSenderKey(message.chat, message.sender, message.session_mark, message.message_id)
    return QuarantineSession(message.sender, message.session_mark, message.message_id)


def _reset(health: Health, *kinds: ErrorKind) -> Decision:
    actions = tuple(RecordReset(kind) for kind in kinds if health.errors(kind))
    if health.closing or not (actions or health.counted_senders):  # the way of nearly every message
        return health, ()
    if ErrorKind.BAD_MAC in kinds:
        health = replace(health, bad_mac=0, counted_senders=frozenset())
    if ErrorKind.BAD_DECRYPT in kinds:
        health = replace(health, bad_decrypt=0)
    return health, actions


def _closed(health: Health, at: datetime) -> Decision:
    health, lost = _lose(health, [m.message_id for m in health.pending], at)
    return replace(health, bad_mac=0, bad_decrypt=0, counted_senders=frozenset(), closing=None), lost


def _time_passed(health: Health, at: datetime, limits: Limits) -> Decision:
    overdue = [m.message_id for m in health.pending if at - m.first_failed_at >= limits.give_up_after]
    health, lost = _lose(health, overdue, at)
    kept = {
        key: m for key, m in health.messages.items() if m.ended_at is None or at - m.ended_at < limits.give_up_after
    }
    return replace(health, messages=MappingProxyType(kept)), lost


def _lose(health: Health, message_ids: list[str], at: datetime) -> Decision:
    actions: tuple[Action, ...] = ()
    for message_id in message_ids:
        health, ended = _end(health, message_id, Outcome.LOST, at)
        actions += ended
    return health, actions


def _with(messages: Mapping[str, FailedMessage], message: FailedMessage) -> Mapping[str, FailedMessage]:
    return MappingProxyType({**messages, message.message_id: message})
