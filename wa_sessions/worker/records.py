"""How each record of a session is written: its repair, its entry in the history, its answer, its line in the log."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, assert_never

from wa_sessions.db import commands, operations, phones, quarantine, restoring, whatsmeow
from wa_sessions.db.gateway import Connection, errors_of
from wa_sessions.db.operations import OperationPart
from wa_sessions.db.phones import KEEP
from wa_sessions.errors import StoreAway, TryAgain, WaSessionsError
from wa_sessions.health.events import operators as events
from wa_sessions.health.events.keys import (
    CollectionKept,
    CollectionQuarantined,
    CounterReset,
    ErrorCounted,
    MessageLost,
    MessagePending,
    MessageRecovered,
    RepairDetail,
    SenderKeyKept,
    SenderKeyQuarantined,
    SessionClosed,
    SessionKept,
    SessionQuarantined,
)
from wa_sessions.health.model import (
    Action,
    CloseSession,
    FailedMessage,
    LeaveStore,
    Outcome,
    QuarantineCollection,
    QuarantineSenderKey,
    QuarantineSession,
    RecordEnd,
    RecordError,
    RecordPending,
    RecordReset,
)
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.selection import EVERYTHING, Selection
from wa_sessions.wording import counted
from wa_sessions.worker.effect_context import EffectContext
from wa_sessions.worker.effects import (
    AnswerCommand,
    Asked,
    CheckRestore,
    CleanKeys,
    CloseAtLimit,
    ForceClose,
    ForgetDevice,
    Keep,
    Level,
    Note,
    Record,
    RestoreKeys,
    SetStatus,
)
from wa_sessions.worker.metrics import Work, timed
from wa_sessions.worker.session import Command, CommandSettled, RestoreAllowed

Repair = QuarantineSession | QuarantineSenderKey | QuarantineCollection
_ENDS: Mapping[Outcome, tuple[type[MessageRecovered | MessageLost], Level]] = {
    Outcome.RECOVERED: (MessageRecovered, "info"),
    Outcome.LOST: (MessageLost, "warn"),
}


def write(conn: Connection, context: EffectContext, record: Record) -> None:
    """Carry out and record one thing; lines and outcomes are left in ``context``."""
    match record:
        case Note(detail, message, level):
            context.event(conn, detail)
            if message:
                context.line(level, message, detail)
        case SetStatus():
            _set_status(conn, context, record)
        case AnswerCommand(command_id, result):
            answer(conn, command_id, result)
        case CloseAtLimit():
            _close(conn, context, record)
        case ForgetDevice(device):
            whatsmeow.forget_device(conn, device)
        case ForceClose(command) | CleanKeys(command) | CheckRestore(command) | RestoreKeys(command):
            _carry_out(conn, context, record, command)
        case _:
            _health_action(conn, context, record)


def answer(conn: Connection, command_id: int, result: Mapping[str, Any] | WaSessionsError) -> None:
    """Tell an operator what became of a command; a second answer to one changes nothing."""
    if isinstance(result, WaSessionsError):
        commands.finish(conn, command_id, error=str(result), exit_code=int(result.exit_code))
    else:
        commands.finish(conn, command_id, answer=result)


def _set_status(conn: Connection, context: EffectContext, record: SetStatus) -> None:
    """Raises PhoneNotFound where the row has another number by now: that one's status is not ours to write."""
    phones.set_status(
        conn,
        context.backend,
        context.phone.id,
        record.status,
        qr_code=KEEP if isinstance(record.qr_code, Keep) else record.qr_code,
        phone_jid=KEEP if isinstance(record.phone_jid, Keep) else record.phone_jid,
        connected_now=record.connected_now,
        of_number=context.phone.number,
    )


def _close(conn: Connection, context: EffectContext, record: CloseAtLimit) -> None:
    """Keys away, status, history and alert: all or nothing."""
    reason = f"{record.kind.label} limit reached ({record.count} of {record.limit})"
    with timed(Work.CLOSE):
        part = context.operation(conn, "close", reason, status_after=Status.LOGGED_OUT)
        quarantine.take(conn, context.backend, part, context.phone, EVERYTHING)
        _set_status(conn, context, SetStatus(Status.LOGGED_OUT, qr_code=None))
    operation = part.operation_id
    detail = SessionClosed(record.kind, record.count, record.limit)
    context.event(conn, detail, operation)
    message = (
        f"session closed: {reason}. Its keys are in quarantine and nothing was unlinked at WhatsApp: "
        f"`wa-sessions restore {operation}` brings it back without a QR. After a new pairing the old entry "
        f"stays under Linked devices on the phone: `wa-sessions unlink {operation}` removes it."
    )
    context.line("error", message, detail, operation=operation)


# ------------------------------------------------------------------------------------------------- commands


def _carry_out(conn: Connection, context: EffectContext, record: Asked, command: Command) -> None:
    """Do what an operator asked, or say why not: what is refused leaves nothing behind but its answer."""
    lines = len(context.lines)
    try:
        with errors_of(context.target), conn.transaction():
            result = _done(conn, context, record, command)
    except (StoreAway, TryAgain):
        raise
    except WaSessionsError as error:
        del context.lines[lines:]
        answer(conn, command.id, error)
        context.outcomes.append(CommandSettled(command.id, done=False))
        return
    if result is None:
        context.outcomes.append(RestoreAllowed(command.id))
        return
    answer(conn, command.id, result)
    if isinstance(record, CheckRestore | RestoreKeys):
        context.outcomes.append(CommandSettled(command.id, done=isinstance(record, RestoreKeys)))


def _done(conn: Connection, context: EffectContext, record: Asked, command: Command) -> Mapping[str, Any] | None:
    match record:
        case ForceClose():
            return _force_close(conn, context, command)
        case CleanKeys():
            return _clean(conn, context, command)
        case CheckRestore():
            return _check_restore(conn, context, command)
        case RestoreKeys():
            return _restore(conn, context, command)
        case _:
            assert_never(record)


def _force_close(conn: Connection, context: EffectContext, command: Command) -> Mapping[str, Any]:
    reason, logout = command.arguments["reason"], command.arguments["logout"]
    operation, taken = None, quarantine.QuarantineResult()
    if logout:
        part = context.operation(
            *(conn, "force_close", reason, command.actor),
            status_after=Status.LOGGED_OUT,
            operation_id=command.arguments.get("operation"),
        )
        taken = quarantine.take(conn, context.backend, part, context.phone, EVERYTHING)
        operation = part.operation_id
    status = Status.LOGGED_OUT if logout else Status.DISCONNECTED
    _set_status(conn, context, SetStatus(status, qr_code=None))
    detail = events.ForceClosed(reason, command.actor, logout)
    context.event(conn, detail, operation)
    undo = f"; its keys are in quarantine, undo: wa-sessions restore {operation}" if operation else ""
    context.line("warn", f"force-closed by {command.actor}: {reason}{undo}", detail, operation=operation)
    return {"operation": operation, "taken": asdict(taken)}


def _clean(conn: Connection, context: EffectContext, command: Command) -> Mapping[str, Any]:
    action, reason, operation_id = (command.arguments[name] for name in ("action", "reason", "operation"))
    selection = Selection.from_dict(command.arguments["selection"])
    part = context.operation(conn, action, reason, command.actor, operation_id=operation_id)
    taken = quarantine.take(conn, context.backend, part, context.phone, selection)
    if not taken.quarantined:
        operations.discard(conn, part)
        return {"operation": None, "taken": asdict(taken)}
    operation = part.operation_id
    detail = events.KeysQuarantined(action, command.actor, taken.quarantined)
    context.event(conn, detail, operation)
    keys = counted(taken.quarantined, "key")
    message = f"{keys} quarantined by {command.actor} ({action}); undo: wa-sessions restore {operation}"
    context.line("warn", message, detail, operation=operation)
    return {"operation": operation, "taken": asdict(taken)}


def _check_restore(conn: Connection, context: EffectContext, command: Command) -> Mapping[str, Any] | None:
    try:
        with conn.transaction(force_rollback=True):
            _bring_back(conn, context, command)
    except restoring.AlreadyRestored:
        return {"counts": {}, "overwritten": 0, "already": True}
    return None


def _restore(conn: Connection, context: EffectContext, command: Command) -> Mapping[str, Any]:
    restored, operation = _bring_back(conn, context, command), command.arguments["operation"]
    detail = events.Restored(command.actor, restored.keys)
    context.event(conn, detail, operation)
    context.line("info", f"restored {operation}", detail)
    done = {"counts": restored.counts, "overwritten": restored.overwritten, "status": restored.status}
    return done | {"already": False}


def _bring_back(conn: Connection, context: EffectContext, command: Command) -> restoring.Restored:
    operation, overwrite = command.arguments["operation"], command.arguments.get("overwrite")
    done = operations.operation(conn, operation)
    return restoring.restore(conn, context.backend, done, context.phone.id, actor=command.actor, overwrite=overwrite)


# --------------------------------------------------------------------------------------------------- health


def _health_action(conn: Connection, context: EffectContext, action: Action) -> None:
    match action:
        case RecordError():
            _error(conn, context, action)
        case RecordPending(message):
            _pending(conn, context, message)
        case RecordEnd(message):
            _end(conn, context, message)
        case RecordReset(kind):
            context.event(conn, CounterReset(kind))
            context.line("info", f"{kind.label} counter reset", CounterReset(kind))
        case QuarantineSession() | QuarantineSenderKey() | QuarantineCollection() if context.device:
            with timed(Work.REPAIR):
                _repair(conn, context, action, context.device)
        case QuarantineSession() | QuarantineSenderKey() | QuarantineCollection():
            pass
        case CloseSession() | LeaveStore():
            pass
        case _:
            assert_never(action)


def _error(conn: Connection, context: EffectContext, action: RecordError) -> None:
    detail = ErrorCounted(action.kind, action.count, action.limit, action.message_id, action.sender, action.collection)
    context.event(conn, detail)
    number = context.phone.number
    message = f"{action.kind.label} error #{action.count} for {number}@s.whatsapp.net (closed at {action.limit})"
    context.line("warn", message, detail)


def _pending(conn: Connection, context: EffectContext, message: FailedMessage) -> None:
    detail = MessagePending(message.message_id, message.cause, message.sender)
    context.event(conn, detail)
    text = f"message {message.message_id} did not decrypt ({message.cause.value}); its sender is asked again"
    context.line("info", text, detail)


def _end(conn: Connection, context: EffectContext, message: FailedMessage) -> None:
    assert message.ended_at
    assert message.outcome
    seconds = round((message.ended_at - message.first_failed_at).total_seconds(), 3)
    ended, level = _ENDS[message.outcome]
    detail = ended(message.message_id, seconds, message.copies)
    context.event(conn, detail)
    text = f"message {message.message_id} {message.outcome.value} after {seconds:.1f} s"
    context.line(level, text, detail)


def _repair(conn: Connection, context: EffectContext, repair: Repair, device: str) -> None:
    part, detail = _quarantine(conn, context, repair, device)
    match detail:
        case SessionKept() | SenderKeyKept() | CollectionKept():
            operations.discard(conn, part)
            context.event(conn, detail)
            is_collection = isinstance(detail, CollectionKept)
            why = "it syncs from its start anyway" if is_collection else "it is not the one that failed any more"
            context.line("info", f"{_in_words(detail)}: {why}", detail)
        case _:
            context.event(conn, detail, part.operation_id)
            undo = f"wa-sessions restore {part.operation_id}"
            message = f"{_in_words(detail)}, the session goes on; undo: {undo}"
            context.line("warn", message, detail, operation=part.operation_id)


def _in_words(detail: RepairDetail) -> str:
    return detail.kind.replace("_", " ")


def _quarantine(
    conn: Connection, context: EffectContext, repair: Repair, device: str
) -> tuple[OperationPart, RepairDetail]:
    match repair:
        case QuarantineSession(sender, mark):
            part = context.operation(conn, "repair_session", f"Bad MAC from {sender}")
            keys = quarantine.session(conn, part, device, sender, only_mark=mark)
            return part, SessionQuarantined(sender, keys) if keys else SessionKept(sender)
        case QuarantineSenderKey(chat, sender, mark):
            part = context.operation(conn, "repair_sender_key", f"Bad MAC from {sender} in {chat}")
            keys = quarantine.sender_key(conn, part, device, chat, sender, only_mark=mark)
            return part, SenderKeyQuarantined(chat, sender, keys) if keys else SenderKeyKept(chat, sender)
        case QuarantineCollection(collection):
            part = context.operation(conn, "repair_collection", f"Bad Decrypt of {collection}")
            keys = quarantine.app_state_version(conn, part, device, collection)
            return part, CollectionQuarantined(collection, keys) if keys else CollectionKept(collection)
        case _:
            assert_never(repair)
