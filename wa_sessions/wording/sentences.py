"""What an event of the history says to a person: a sentence for every kind.

What is told comes out of the database, of older and newer programs too, so any value may be missing.
"""

from typing import assert_never

from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.events import connection, keys, operators, workers
from wa_sessions.health.events.detail import EventSource, UnknownDetail
from wa_sessions.health.events.every import Detail
from wa_sessions.health.limits import ErrorKind
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.numbers import duration
from wa_sessions.wording.parts import Value, known, lasting, many, part, part_if
from wa_sessions.wording.phrases import Language, Phrase, say

_TABLE = "sentences"


def sentence(detail: Detail | UnknownDetail, language: Language = ENGLISH) -> str:
    """What an event says, for somebody who was just woken up. Never raises."""
    if isinstance(detail, UnknownDetail):
        return detail.kind.replace("_", " ")
    return say(_phrase(detail), language)


def _phrase(detail: Detail) -> Phrase:
    if isinstance(detail, connection.ConnectionDetail):
        return _of_connection(detail)
    if isinstance(detail, keys.KeysDetail):
        return _of_keys(detail)
    if isinstance(detail, operators.OperatorDetail):
        return _of_operator(detail)
    return _of_worker(detail)


# ----------------------------------------------------------------------------------------------- the connection


def _of_connection(detail: connection.ConnectionDetail) -> Phrase:
    match detail:
        case connection.PairingFailed(reason):
            return _say(detail.kind, why=part_if("why", reason=reason))
        case connection.WrongNumber(unlinked):
            return _say(detail.kind if unlinked else "wrong_number.linked")
        case connection.StreamError(code):
            return _say(detail.kind, code=code or _say("stream_error.code"))
        case connection.Banned(reason):
            for_a_while = reason is not None and " until " in reason
            return _say("banned.for_a_while" if for_a_while else detail.kind, reason=_reason(detail))
        case connection.Replaced() | connection.LoggedOut() | connection.Outdated() | connection.LoginRefused():
            return _say(detail.kind, reason=_reason(detail))
        case connection.Unreachable(_, down) | connection.Crashed(_, down):
            return _say(detail.kind, reason=_reason(detail), since=lasting("since", down or None))
        case connection.StoreLost(down):
            return _say(detail.kind, reason=_reason(detail), time=lasting("for", down))
        case connection.SetAside():
            return _say(detail.kind, reason=_reason(detail))
        case (
            connection.PairingStarted()
            | connection.PairingExpired()
            | connection.Paired()
            | connection.Connected()
            | connection.Disconnected()
            | connection.NoAnswer()
            | connection.AnswersAgain()
            | connection.StoreBack()
            | connection.Moved()
        ):
            return _say(detail.kind)
        case _:
            assert_never(detail)


_WithReason = connection.StaysDown | connection.ComesBack | connection.StoreLost | connection.SetAside


def _reason(detail: _WithReason) -> Value:
    return detail.reason or _say(f"{detail.kind}.reason")


# ------------------------------------------------------------------------------------- messages, errors, repairs


def _of_keys(detail: keys.KeysDetail) -> Phrase:
    match detail:
        case keys.MessagePending(id_, cause, sender):
            whose = part("its_sender_named", sender=sender) if sender else part("its_sender")
            return _say(detail.kind, message=_message(id_), cause=part(cause or "other"), sender=whose)
        case keys.MessageRecovered(id_, seconds) | keys.MessageLost(id_, seconds):
            return _say(detail.kind, message=_message(id_), after=lasting("after", seconds))
        case keys.ErrorCounted():
            return _error(detail)
        case keys.CounterReset(kind):
            return _say(detail.kind, label=_label(kind))
        case keys.SessionClosed(kind, count, limit, source=source):
            form = detail.kind.value
            if source is EventSource.LOGS:
                form = "session_closed.logs" if count is not None else "session_closed.logs_uncounted"
            return _say(form, label=_label(kind), count=known(count), limit=known(limit))
        case keys.BackendClosed(reason):
            return _say(detail.kind, why=part_if("why", reason=reason))
        case _:
            return _of_repair(detail)


def _of_repair(detail: keys.RepairDetail) -> Phrase:
    match detail:
        case keys.SessionQuarantined(sender, number):
            return _say(detail.kind, sender=known(sender, "one_sender"), keys=_keys(number))
        case keys.SenderKeyQuarantined(chat, sender, number):
            whose, where = known(sender, "one_sender"), known(chat, "one_group")
            return _say(detail.kind, sender=whose, chat=where, keys=_keys(number))
        case keys.CollectionQuarantined(collection, number):
            return _say(detail.kind, collection=known(collection, "one_collection"), keys=_keys(number))
        case keys.SessionKept(sender) | keys.SenderKeyKept(_, sender):
            return _say(detail.kind, sender=known(sender, "one_sender"))
        case keys.CollectionKept(collection):
            return _say(detail.kind, collection=known(collection, "one_collection"))
        case _:
            assert_never(detail)


def _error(detail: keys.ErrorCounted) -> Phrase:
    last = detail.count is not None and detail.count + 1 == detail.limit
    return _say(
        detail.kind,
        label=_label(detail.error_kind),
        count=known(detail.count),
        limit=known(detail.limit),
        origin=part_if("from_sender", sender=detail.sender) or part_if("in_collection", collection=detail.collection),
        warning=part("next_closes") if last else "",
    )


def _label(kind: ErrorKind | None) -> Value:
    return kind.label if kind else part("an")


def _message(message_id: str | None) -> Phrase:
    return part("message", id=message_id) if message_id else part("a_message")


def _keys(number: int | None) -> Phrase:
    return many("keys", number, "its_keys")


# --------------------------------------------------------------------------------------------------- operators


def _of_operator(detail: operators.OperatorDetail) -> Phrase:
    by = part_if("by", actor=detail.actor)
    match detail:
        case operators.Added():
            return _say(detail.kind, by=by)
        case operators.Assigned(_, before, after):
            return _say(detail.kind, before=_observer(before), after=_observer(after), by=by)
        case operators.Renamed(_, before, after):
            return _say(detail.kind, before=known(before, "none"), after=known(after, "none"), by=by)
        case operators.MoveAsked(_, before, to):
            return _say(detail.kind, to=known(to), instead=part_if("instead", before=before), by=by)
        case operators.InboxRetried(_, number):
            return _say(detail.kind, messages=many("messages", number, "some_messages"), by=by)
        case operators.Unlinked(device, _, already):
            form = "unlinked.already" if already else detail.kind
            return _say(form, device=part_if("named", what=device), by=by)
        case operators.Restored(_, number):
            return _say(detail.kind, keys=_keys(number), by=by)
        case operators.RestoredFromFile():
            return _from_file(detail, by)
        case _:
            return _with_reason(detail, by, part_if("why", reason=detail.reason))


_Reasoned = (
    operators.KeysQuarantined
    | operators.ForceClosed
    | operators.StatusReset
    | operators.Adopted
    | operators.Returned
    | operators.Exported
    | operators.Imported
    | operators.Removed
    | operators.InboxDropped
)


def _with_reason(detail: _Reasoned, by: Value, why: Value) -> Phrase:
    match detail:
        case operators.KeysQuarantined(action, _, number):
            action_named = part_if("action", action=action)
            return _say(detail.kind, keys=_keys(number), by=by, action=action_named, why=why)
        case operators.ForceClosed(logout=logout):
            return _say("force_closed.logout" if logout else detail.kind, by=by, why=why)
        case operators.StatusReset(status_before=before, status=after):
            return _say(detail.kind, before=known(before), after=known(after), by=by, why=why)
        case operators.Adopted(device=device) | operators.Returned(device=device):
            return _say(detail.kind, by=by, device=known(device, "same_device"), why=why)
        case operators.Exported(keys=number, file=file):
            return _say(detail.kind, file=known(file, "none"), by=by, why=why, keys=_keys(number))
        case operators.Imported(file=file, device=device):
            return _say(detail.kind, file=known(file, "none"), by=by, device=known(device, "same_device"), why=why)
        case operators.Removed(keys=number):
            return _say(detail.kind, by=by, why=why, keys=_keys(number))
        case operators.InboxDropped(messages=number):
            return _say(detail.kind, messages=many("messages", number, "some_messages"), by=by, why=why)
        case _:
            assert_never(detail)


def _from_file(detail: operators.RestoredFromFile, by: Value) -> Phrase:
    room = _say("restored_from_file.room", keys=_keys(detail.quarantined)) if detail.quarantined else ""
    made = part_if("made", at=detail.made_at)
    return _say(detail.kind, keys=_keys(detail.keys), by=by, file=known(detail.file, "a_file"), made=made, room=room)


def _observer(connection_type: str | None) -> Value:
    return part(connection_type) if connection_type in set(ConnectionType) else known(connection_type)


# ----------------------------------------------------------------------------------------- handlers and workers


def _of_worker(detail: workers.WorkerDetail) -> Phrase:
    match detail:
        case workers.HandlerFailed(id_, error):
            return _say(detail.kind, error=known(error, "an_error"), message=_message(id_))
        case workers.HandlerSlow(id_, seconds, waiting):
            longer = lasting("more_than", seconds) or part("too_long")
            queue = part_if("queue", n=waiting)
            return _say(detail.kind, longer=longer, message=_message(id_), queue=queue)
        case workers.HandlerEnded(id_, error):
            in_hand = part("in_hand", message=_message(id_)) if id_ else ""
            return _say(detail.kind, error=part_if("with_error", error=error), in_hand=in_hand)
        case workers.HandlerUnfinished(waiting):
            return _say(detail.kind, messages=many("messages", waiting, "no_number_of_messages"))
        case workers.HandlerDead(_, error, attempts):
            times = many("times", attempts, "several_times")
            return _say(detail.kind, times=times, error=known(error, "an_error"))
        case workers.Taken():
            return _taken(detail)
        case workers.Fault(reason) | workers.Faulted(reason):
            return _say(detail.kind, reason=reason or _say("fault.reason"))
        case workers.Stopped(reason):
            return _say("stopped.reason", reason=reason) if reason else _say(detail.kind)
        case workers.HistoryPruned(_, until):
            return _say(detail.kind, n=detail.events, before=part_if("before", until=until))
        case _:
            assert_never(detail)


def _taken(detail: workers.Taken) -> Phrase:
    worker, before = known(detail.worker), known(detail.from_)
    if detail.killed:
        return _say("taken.killed", worker=worker, before=before)
    if detail.silent_seconds is not None:
        return _say("taken.silent", worker=worker, before=before, silent=duration(detail.silent_seconds))
    if detail.from_:
        return _say("taken.after", worker=worker, before=before)
    return _say(detail.kind, worker=worker)


def _say(form: str, **values: Value) -> Phrase:
    return Phrase(_TABLE, form, values)
