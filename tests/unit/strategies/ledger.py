"""The health policy told a second time: every copy is written down, and each answer is looked up in the book."""

from collections import defaultdict
from datetime import datetime

from wa_sessions.health.classify import Cause
from wa_sessions.health.model import (
    Action,
    Closed,
    CloseSession,
    CollectionFailed,
    CollectionSynced,
    Connected,
    ErrorKind,
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

Note = tuple[object, ...]


def noted(action: Action) -> Note:
    """An action as the ledger writes it."""
    match action:
        case RecordError(kind, count, limit, message_id, sender, collection):
            return "error", kind, count, limit, message_id, sender, collection
        case RecordPending(message):
            return "pending", message.message_id
        case RecordEnd(message):
            return "end", message.message_id, message.outcome, message.copies, message.ended_at
        case RecordReset(kind):
            return "reset", kind
        case QuarantineSession(sender, mark, message_id):
            return "session", sender, mark, message_id
        case QuarantineSenderKey(chat, sender, mark, message_id):
            return "sender key", chat, sender, mark, message_id
        case QuarantineCollection(collection):
            return "collection", collection
        case CloseSession(kind):
            return "close", kind
        case LeaveStore():
            return ("leave store",)


def account(sender: str) -> str:
    return sender.partition("@")[0].partition(":")[0]


class Ledger:
    """One session's book. ``enter`` takes an event and gives, in any order, what is to be done."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.copies: dict[str, list[tuple[int, MessageFailed]]] = defaultdict(list)
        self.decrypted: list[tuple[int, MessageDecrypted]] = []
        self.outcomes: dict[str, tuple[Outcome, datetime]] = {}
        self.counted: set[str] = set()
        self.blamed: dict[ErrorKind, list[str]] = {kind: [] for kind in ErrorKind}
        self.totals = dict.fromkeys(Outcome, 0)
        self.closing: ErrorKind | None = None
        self.last_error: tuple[datetime, ErrorKind] | None = None
        self._page = 0

    def errors(self, kind: ErrorKind) -> int:
        once_each = kind is ErrorKind.BAD_MAC and self.limits.scope == "sender"
        return len(set(self.blamed[kind]) if once_each else self.blamed[kind])

    @property
    def pending(self) -> list[str]:
        return [message_id for message_id in self.copies if message_id not in self.outcomes]

    def enter(self, event: HealthEvent) -> list[Note]:
        self._page += 1
        match event:
            case MessageFailed():
                return self._copy(event)
            case CollectionFailed(_, _, Cause.STORE):
                return [("leave store",)]
            case CollectionFailed(at, collection, Cause.BAD_DECRYPT):
                return self._error(ErrorKind.BAD_DECRYPT, at, collection, collection=collection)
            case MessageDecrypted(at, message_id):
                self.decrypted.append((self._page, event))
                return self._end(message_id, Outcome.RECOVERED, at) + self._reset(ErrorKind.BAD_MAC)
            case MessageGivenUp(at, message_id):
                return self._end(message_id, Outcome.LOST, at)
            case CollectionSynced():
                return self._reset(ErrorKind.BAD_DECRYPT)
            case Connected(_, False):
                return self._reset(*ErrorKind)
            case TimePassed(at):
                return self._days_end(at)
            case Closed(at):
                return self._close(at)
            case _:
                return []

    def _copy(self, event: MessageFailed) -> list[Note]:
        message_id = event.message_id
        notes: list[Note] = [] if message_id in self.copies else [("pending", message_id)]
        self.copies[message_id].append((self._page, event))
        if event.cause is Cause.STORE:
            return [*notes, ("leave store",)]
        counts = message_id in self.pending and message_id not in self.counted and self._retry_failed(message_id)
        if not counts or self.closing:
            return notes
        self.counted.add(message_id)
        blamed = account(event.sender)
        return notes + self._error(ErrorKind.BAD_MAC, event.at, blamed, message_id=message_id, sender=event.sender)

    def _retry_failed(self, message_id: str) -> bool:
        copies = [copy for _, copy in self.copies[message_id]]
        if len(copies) < 2 or len(self._bad_macs(message_id)) < 2 or copies[-1].cause is not Cause.BAD_MAC:
            return False
        earlier, this = copies[-2:]
        return earlier.connection == this.connection

    def _bad_macs(self, message_id: str) -> list[tuple[int, MessageFailed]]:
        return [entry for entry in self.copies[message_id] if entry[1].cause is Cause.BAD_MAC]

    def _error(
        self,
        kind: ErrorKind,
        at: datetime,
        blamed: str,
        *,
        message_id: str | None = None,
        sender: str | None = None,
        collection: str | None = None,
    ) -> list[Note]:
        if self.closing:
            return []
        self.blamed[kind].append(blamed)
        self.last_error = at, kind
        count, limit = self.errors(kind), self.limits.of(kind)
        error = ("error", kind, count, limit, message_id, sender, collection)
        if count >= limit:
            self.closing = kind
            return [error, ("close", kind)]
        return [error, ("collection", collection)] if message_id is None else [error, *self._repair(message_id)]

    def _repair(self, message_id: str) -> list[Note]:
        page, first = self._bad_macs(message_id)[0]
        worked = any(
            (later.sender, later.chat) == (first.sender, first.chat) for when, later in self.decrypted if when > page
        )
        if worked or first.session_mark is None:
            return []
        if first.is_group:
            return [("sender key", first.chat, first.sender, first.session_mark, message_id)]
        return [("session", first.sender, first.session_mark, message_id)]

    def _end(self, message_id: str, outcome: Outcome, at: datetime) -> list[Note]:
        if message_id not in self.copies:
            return []
        was, _ = self.outcomes.get(message_id, (None, None))
        if was and (was, outcome) != (Outcome.LOST, Outcome.RECOVERED):
            return []
        if was:
            self.totals[was] -= 1
        self.totals[outcome] += 1
        self.outcomes[message_id] = outcome, at
        return [("end", message_id, outcome, len(self.copies[message_id]), at)]

    def _reset(self, *kinds: ErrorKind) -> list[Note]:
        if self.closing:
            return []
        notes: list[Note] = [("reset", kind) for kind in kinds if self.blamed[kind]]
        for kind in kinds:
            self.blamed[kind].clear()
        return notes

    def _days_end(self, at: datetime) -> list[Note]:
        age = self.limits.give_up_after
        notes: list[Note] = []
        for message_id in self.pending:
            if at - self.copies[message_id][0][1].at >= age:
                notes += self._end(message_id, Outcome.LOST, at)
        for message_id in [key for key, (_, ended) in self.outcomes.items() if at - ended >= age]:
            del self.copies[message_id], self.outcomes[message_id]
            self.counted.discard(message_id)
        return notes

    def _close(self, at: datetime) -> list[Note]:
        self.closing = None
        self._reset(*ErrorKind)
        return [note for message_id in self.pending for note in self._end(message_id, Outcome.LOST, at)]
