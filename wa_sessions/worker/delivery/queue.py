"""PURE: which message is handed over next. Order within a chat, chats side by side, each phone in its turn."""

from collections import deque
from dataclasses import dataclass, field

from wa_sessions.worker.delivery.window import Stored
from wa_sessions.worker.message import IncomingMessage

REMEMBERED = 1000
"""Messages of a phone that are known again if they come twice."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that was taken out of the queue and is now in hand; ``row``: as which it stands in the inbox."""

    phone_id: int
    message: IncomingMessage
    row: Stored | None = None

    @property
    def chat(self) -> str:
        return self.message.chat


@dataclass(slots=True)
class _Phone:
    """``chats``: what waits in each chat, the chat in hand among them; ``ready``: chats whose next may be taken."""

    chats: dict[str, deque[IncomingMessage]] = field(default_factory=dict)
    ready: deque[str] = field(default_factory=deque)
    in_hand: int = 0
    waiting: int = 0


class CameBefore:
    """Which of a phone's last ``REMEMBERED`` messages came already.

    Only hashes are kept, a tenth of the memory: Python's are keyed, 64 bits wide, and nobody's to guess.
    """

    def __init__(self) -> None:
        self._known: dict[int, dict[int, None]] = {}

    def came(self, phone_id: int, message: IncomingMessage) -> bool:
        """Whether it came before; from now on it did."""
        known = self._known.setdefault(phone_id, {})
        key = hash((message.chat, message.sender, message.id))
        if key in known:
            return True
        known[key] = None
        if len(known) > REMEMBERED:
            del known[next(iter(known))]
        return False

    def forget(self, phone_id: int) -> None:
        """Of this phone none came."""
        self._known.pop(phone_id, None)


class DeliveryQueue:
    """Messages that wait for the handler, in memory.

    At most one message of a chat is in hand. A phone whose chats wait gets its turn after every other phone has had
    one, and within a phone a chat after every other chat.
    """

    def __init__(self) -> None:
        self._phones: dict[int, _Phone] = {}
        self._turns: deque[int] = deque()
        self._known = CameBefore()
        self._waiting = 0
        self._in_hand = 0

    @property
    def waiting(self) -> int:
        """Messages that nobody has in hand yet."""
        return self._waiting

    @property
    def in_hand(self) -> int:
        """Messages that were taken and not finished."""
        return self._in_hand

    def waiting_by_phone(self) -> dict[int, int]:
        """Messages that nobody has in hand yet, of each phone that has any."""
        return {phone_id: phone.waiting for phone_id, phone in self._phones.items() if phone.waiting}

    def waiting_of(self, phone_id: int) -> int:
        """Messages of this phone that nobody has in hand yet."""
        phone = self._phones.get(phone_id)
        return phone.waiting if phone else 0

    def put(self, phone_id: int, message: IncomingMessage) -> bool:
        """Append a message; False if it is one of the last 1000 of this phone, come again."""
        if self._known.came(phone_id, message):
            return False
        phone = self._phones.setdefault(phone_id, _Phone())
        phone.waiting += 1
        self._waiting += 1
        if message.chat in phone.chats:
            phone.chats[message.chat].append(message)
        else:
            phone.chats[message.chat] = deque([message])
            self._make_ready(phone_id, phone, message.chat)
        return True

    def take(self) -> Queued | None:
        """The next message, which is in hand until ``finish``; None if there is none that may be taken now."""
        if not self._turns:
            return None
        phone_id = self._turns.popleft()
        phone = self._phones[phone_id]
        message = phone.chats[phone.ready.popleft()].popleft()
        if phone.ready:
            self._turns.append(phone_id)
        phone.waiting -= 1
        phone.in_hand += 1
        self._waiting -= 1
        self._in_hand += 1
        return Queued(phone_id, message)

    def finish(self, item: Queued) -> None:
        """A message that was taken is done with, whatever became of it; the next of its chat may be taken."""
        phone = self._phones[item.phone_id]
        phone.in_hand -= 1
        self._in_hand -= 1
        if phone.chats[item.chat]:
            self._make_ready(item.phone_id, phone, item.chat)
            return
        del phone.chats[item.chat]
        if not phone.chats:
            del self._phones[item.phone_id]

    def forget(self, phone_id: int) -> None:
        """Remember no longer which messages of this phone came; those that wait are handed over as before."""
        self._known.forget(phone_id)

    def clear(self) -> dict[int, int]:
        """Drop everything; how many messages of each phone waited or were in hand."""
        dropped = {phone_id: phone.waiting + phone.in_hand for phone_id, phone in self._phones.items()}
        self._phones.clear()
        self._turns.clear()
        self._waiting = self._in_hand = 0
        return dropped

    def _make_ready(self, phone_id: int, phone: _Phone, chat: str) -> None:
        if not phone.ready:
            self._turns.append(phone_id)
        phone.ready.append(chat)
