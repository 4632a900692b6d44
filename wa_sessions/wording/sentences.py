"""What an entry of the history says: a sentence for every kind.

Details come out of the database, of older and newer programs too: any value may be missing or of another type.
"""

from collections.abc import Callable, Mapping
from typing import Any

from wa_sessions.health.limits import ErrorKind
from wa_sessions.wording.numbers import counted, lasted

Detail = Mapping[str, Any]

_OBSERVERS = {"baileys": "the Node backend", "neonize": "wa-sessions", "waba": "the official API"}
_CAUSES = {
    "bad_mac": "Bad MAC",
    "missing_key": "a key is missing",
    "untrusted_identity": "its sender has a new identity",
    "store": "our own database failed",
    "other": "not known why",
}


def sentence(kind: str, detail: Detail) -> str:
    """What an entry of the history says, for somebody who was just woken up. Never raises."""
    told = _SENTENCES.get(kind, kind.replace("_", " "))
    return told if isinstance(told, str) else told(detail)


def _said(detail: Detail, name: str, otherwise: str = "?") -> str:
    value = detail.get(name)
    return otherwise if value is None or value == "" else str(value)


def _number(detail: Detail, name: str) -> float | None:
    value = detail.get(name)
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else None


def _by(detail: Detail) -> str:
    return f" by {detail['actor']}" if detail.get("actor") else ""


def _why(detail: Detail) -> str:
    return f": {detail['reason']}" if detail.get("reason") else ""


def _keys(detail: Detail, name: str = "keys") -> str:
    number = _number(detail, name)
    return "its keys" if number is None else counted(int(number), "key")


def _label(detail: Detail) -> str:
    kind = _said(detail, "error_kind")
    return ErrorKind(kind).label if kind in set(ErrorKind) else "an"


def _after(detail: Detail) -> str:
    seconds = _number(detail, "seconds")
    return f" after {lasted(seconds)}" if seconds is not None else ""


def _message(detail: Detail) -> str:
    return f"message {detail['message_id']}" if detail.get("message_id") else "a message"


def _trying(otherwise: str) -> Callable[[Detail], str]:
    def told(detail: Detail) -> str:
        down = _number(detail, "down_seconds")
        since = f", for {lasted(down)} by now" if down else ""
        return f"{_said(detail, 'reason', otherwise)}; it tries again{since}"

    return told


def _down(otherwise: str, mended_by: str) -> Callable[[Detail], str]:
    return lambda detail: f"{_said(detail, 'reason', otherwise)}; it stays down until {mended_by}"


def _banned(detail: Detail) -> str:
    reason = _said(detail, "reason", "banned by WhatsApp")
    ends = "it connects by itself then" if " until " in reason else "it stays down until wa-sessions restart"
    return f"{reason}; {ends}"


def _store_lost(detail: Detail) -> str:
    down = _number(detail, "down_seconds")
    time = f" for {lasted(down)}" if down is not None else ""
    return f"{_said(detail, 'reason', 'the database did not answer')}{time}: socket closed, WhatsApp kept the messages"


def _wrong_number(detail: Detail) -> str:
    ending = "was unlinked again" if detail.get("unlinked") else "is still there: remove it under Linked devices"
    return f"another account scanned the QR; the device that it made {ending}"


def _pending(detail: Detail) -> str:
    cause = _CAUSES.get(_said(detail, "cause", "other"), _said(detail, "cause", ""))
    sender = f"its sender {detail['sender']}" if detail.get("sender") else "its sender"
    return f"{_message(detail)} did not decrypt ({cause}); {sender} is asked to send it again"


def _lost(detail: Detail) -> str:
    return f"{_message(detail)} lost{_after(detail)}: no copy of it decrypted"


def _error(detail: Detail) -> str:
    count, limit = _number(detail, "count"), _number(detail, "limit")
    place = detail.get("sender") or detail.get("collection")
    origin = f", from {place}" if detail.get("sender") else f", in {place}" if place else ""
    warning = ": the next one closes the session" if count is not None and count + 1 == limit else ""
    return f"{_label(detail)} error {_said(detail, 'count')} of {_said(detail, 'limit')}{origin}{warning}"


def _closed(detail: Detail) -> str:
    limit = f"{_label(detail)} {_said(detail, 'count')} of {_said(detail, 'limit')}"
    if detail.get("source") == "logs":
        return f"the Node backend closed the session at the limit, {limit}: a new QR is to be scanned"
    return f"session closed at the limit, {limit}: its keys are in quarantine, a new QR is to be scanned"


def _repaired(what: str, then: str) -> Callable[[Detail], str]:
    def told(detail: Detail) -> str:
        subject = what.format(
            sender=_said(detail, "sender", "one sender"),
            chat=_said(detail, "chat", "one group"),
            collection=_said(detail, "collection", "one collection"),
        )
        return f"mended: {subject} put into quarantine ({_keys(detail)}); {then}"

    return told


def _kept(what: str) -> Callable[[Detail], str]:
    return lambda detail: what.format(
        sender=_said(detail, "sender", "one sender"), collection=_said(detail, "collection", "one collection")
    )


def _cleaned(detail: Detail) -> str:
    action = f" ({detail['action']})" if detail.get("action") else ""
    return f"{_keys(detail)} put into quarantine{_by(detail)}{action}{_why(detail)}"


def _moved(detail: Detail, how: str) -> str:
    return f"{how}{_by(detail)} as {_said(detail, 'device', 'the same device')}{_why(detail)}"


def _taken(detail: Detail) -> str:
    worker, before = f"worker {_said(detail, 'worker')}", f"worker {_said(detail, 'from')}"
    silent = _number(detail, "silent_seconds")
    if detail.get("killed"):
        return f"taken over by {worker} from {before}, which was killed"
    if silent is not None:
        return f"taken over by {worker} from {before}, of which nothing was heard for {lasted(silent)}"
    return f"run by {worker} from now on" + (f", after {before}" if detail.get("from") else "")


def _instead(detail: Detail) -> str:
    return f" instead of {detail['from']}" if detail.get("from") else ""


def _force_closed(detail: Detail) -> str:
    keys = "; its keys are in quarantine" if detail.get("logout") else "; its keys stay"
    return f"force-closed{_by(detail)}{_why(detail)}{keys}"


def _from_file(detail: Detail) -> str:
    made = f" made {detail['made_at']}" if detail.get("made_at") else ""
    taken = f"; {_keys(detail, 'quarantined')} put into quarantine for that" if _number(detail, "quarantined") else ""
    return f"{_keys(detail)} brought back{_by(detail)} from the backup {_said(detail, 'file', 'file')}{made}{taken}"


def _unlinked(detail: Detail) -> str:
    gone = "was gone at WhatsApp already" if detail.get("already") else "removed at WhatsApp"
    return f"the closed session's device {_said(detail, 'device', '')} ".rstrip() + f" {gone}{_by(detail)}"


def _messages_of(detail: Detail) -> str:
    number = _number(detail, "messages")
    return "some messages" if number is None else counted(int(number), "message")


def _times(detail: Detail, name: str) -> str:
    number = _number(detail, name)
    return "several times" if number is None else counted(int(number), "time")


def _slow(detail: Detail) -> str:
    seconds, waiting = _number(detail, "seconds"), _number(detail, "waiting")
    longer = f"more than {lasted(seconds)}" if seconds is not None else "too long"
    queue = f"; {counted(int(waiting), 'message')} waiting" if waiting else ""
    return f"the message handler takes {longer} for {_message(detail)}{queue}"


def _handler_ended(detail: Detail) -> str:
    error = f" ({detail['error']})" if detail.get("error") else ""
    message = f" with {_message(detail)} in hand" if detail.get("message_id") else ""
    return f"the message handler's process ended{error}{message}; another one goes on"


def _unfinished(detail: Detail) -> str:
    waiting = _number(detail, "waiting")
    messages = "messages" if waiting is None else counted(int(waiting), "message")
    return f"the worker ended with {messages} that the handler had not finished; WhatsApp does not send them again"


def _pruned(detail: Detail) -> str:
    totals = detail.get("totals")
    times = [part[0] for part in totals.values() if isinstance(part, list) and part] if isinstance(totals, dict) else []
    number = sum(int(one) for one in times if isinstance(one, int | float) and abs(one) < 1e12)
    before = f"from before {detail['until']} " if detail.get("until") else ""
    return f"{counted(number, 'older entry').replace('entrys', 'entries')} {before}pruned"


_SENTENCES: Mapping[str, str | Callable[[Detail], str]] = {
    "added": lambda detail: f"added{_by(detail)}",
    "assigned": lambda detail: (
        f"handed from {_OBSERVERS.get(_said(detail, 'from'), _said(detail, 'from'))} to "
        f"{_OBSERVERS.get(_said(detail, 'to'), _said(detail, 'to'))}{_by(detail)}"
    ),
    "renamed": lambda detail: f"renamed from {_said(detail, 'from', '-')} to {_said(detail, 'to', '-')}{_by(detail)}",
    "pairing_started": "a QR waits to be scanned",
    "pairing_expired": "nobody scanned the QR in time; wa-sessions relink shows a new one",
    "pairing_failed": lambda detail: f"an attempt to pair failed{_why(detail)}",
    "wrong_number": _wrong_number,
    "paired": "paired: the QR was scanned",
    "connected": "connected",
    "disconnected": "connection lost; it comes back by itself",
    "stream_error": lambda detail: f"WhatsApp ended the stream (code {_said(detail, 'code', 'unknown')})",
    "no_answer": "WhatsApp does not answer pings",
    "answers_again": "WhatsApp answers again",
    "replaced": _down("another client logged in with these keys", "wa-sessions restart"),
    "logged_out": _down("WhatsApp removed this device", "wa-sessions relink"),
    "outdated": _down("WhatsApp refuses this version of the client", "wa-sessions restart"),
    "login_refused": _down("WhatsApp refused the login", "wa-sessions restart"),
    "banned": _banned,
    "unreachable": _trying("WhatsApp cannot be reached"),
    "crashed": _trying("its session host ended"),
    "store_lost": _store_lost,
    "store_back": "the database answers again",
    "message_pending": _pending,
    "message_recovered": lambda detail: f"{_message(detail)} recovered{_after(detail)}: a later copy decrypted",
    "message_lost": _lost,
    "error_counted": _error,
    "counter_reset": lambda detail: f"{_label(detail)} counter is 0 again",
    "session_quarantined": _repaired("the session with {sender} was", "a new one is made with the next message"),
    "sender_key_quarantined": _repaired("the key of {sender} in {chat} was", "the sender sends a new one"),
    "collection_quarantined": _repaired("the version of {collection} was", "it syncs anew"),
    "session_kept": _kept("nothing to mend: the session with {sender} is not the one that failed any more"),
    "sender_key_kept": _kept("nothing to mend: the group key of {sender} is not the one that failed any more"),
    "collection_kept": _kept("nothing to mend: {collection} syncs from its start anyway"),
    "session_closed": _closed,
    "backend_closed": lambda detail: f"the Node backend closed the session{_why(detail)}",
    "adopted": lambda detail: _moved(detail, "taken over from the Node backend"),
    "returned": lambda detail: _moved(detail, "given back to the Node backend"),
    "exported": lambda detail: (
        f"moved into the file {_said(detail, 'file', '-')}{_by(detail)}{_why(detail)}; "
        f"{_keys(detail)} put into quarantine here"
    ),
    "imported": lambda detail: _moved(detail, f"brought in from the file {_said(detail, 'file', '-')}"),
    "keys_quarantined": _cleaned,
    "force_closed": _force_closed,
    "status_reset": lambda detail: (
        f"status set from {_said(detail, 'status_before')} to {_said(detail, 'status')}{_by(detail)}{_why(detail)}"
    ),
    "removed": lambda detail: f"removed{_by(detail)}{_why(detail)}; {_keys(detail)} put into quarantine",
    "restored": lambda detail: f"undone{_by(detail)}: {_keys(detail)} brought back from quarantine",
    "restored_from_file": _from_file,
    "unlinked": _unlinked,
    "handler_failed": lambda detail: (
        f"the message handler failed with {_said(detail, 'error', 'an error')} on {_message(detail)}"
    ),
    "handler_slow": _slow,
    "handler_ended": _handler_ended,
    "handler_unfinished": _unfinished,
    "handler_dead": lambda detail: (
        f"a message was set aside: its handler failed {_times(detail, 'attempts')}, "
        f"at last with {_said(detail, 'error', 'an error')}"
    ),
    "inbox_retried": lambda detail: f"{_messages_of(detail)} in the inbox tried again{_by(detail)}",
    "inbox_dropped": lambda detail: f"{_messages_of(detail)} in the inbox deleted for good{_by(detail)}{_why(detail)}",
    "move_asked": lambda detail: f"to be run by worker {_said(detail, 'to')}{_instead(detail)}, asked for{_by(detail)}",
    "taken": _taken,
    "moved": "connected again in another process",
    "set_aside": lambda detail: (
        f"{_said(detail, 'reason', 'its process ended')}, again and again: it is left alone for half an hour, "
        "or until wa-sessions restart"
    ),
    "fault": lambda detail: f"{_said(detail, 'reason', 'a fault of wa-sessions')}; the session goes on",
    "faulted": lambda detail: (
        f"{_said(detail, 'reason', 'a fault of wa-sessions')}; too often, so it stays down until wa-sessions run"
    ),
    "stopped": lambda detail: (
        f"its worker let it go: {_said(detail, 'reason', '')}" if detail.get("reason") else "the worker ended"
    ),
    "history_pruned": _pruned,
}

KINDS = frozenset(_SENTENCES)
"""The kinds of entry that have a sentence of their own: those of docs/reference/history.md."""
