"""PURE: which messages of the inbox are in memory, and which is handed over next.

Of each chat at most ``CHAT`` messages are in memory, of all at most ``MOST``; the rest stands in the table and is
loaded in order. A chat of which one failed waits, and has none in memory meanwhile, so that those that wait crowd out
no other.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wa_sessions.worker.message import IncomingMessage

CHAT = 50
"""Messages of a chat that are in memory."""

MOST = 2_000
"""Messages in memory."""

Key = tuple[int, str]
"""A phone's id and a chat."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that stands in the inbox as row ``id``; ``attempts`` failed, it waits ``pause`` seconds more."""

    id: int
    phone_id: int
    message: IncomingMessage
    attempts: int = 0
    pause: float = 0.0

    @property
    def chat(self) -> str:
        return self.message.chat

    @property
    def key(self) -> Key:
        return self.phone_id, self.message.chat


@dataclass(slots=True, eq=False)
class _Chat:
    """``rows`` are the next ones; ``more``: others stand in the table behind them; ``until``: when its pause ends.

    ``queued``: it stands among those that are ready.
    """

    rows: deque[Stored] = field(default_factory=deque)
    more: bool = False
    loading: bool = False
    queued: bool = False
    in_hand: Stored | None = None
    until: float | None = None


@dataclass(slots=True)
class _Phone:
    """``looked``: what stood in the table when it came here is known."""

    looked: bool = False
    chats: dict[str, _Chat] = field(default_factory=dict)
    ready: deque[str] = field(default_factory=deque)


class Window:
    """The part of the inbox that is in memory. Times are seconds of any clock that does not go back.

    At most one message of a chat is in hand. A phone whose chats wait gets its turn after every other phone has had
    one, and within a phone a chat after every other chat. ``hold``: a chat of which a message is set aside waits until
    somebody decides.
    """

    def __init__(self, *, hold: bool = False, chat: int = CHAT, most: int = MOST) -> None:
        self._hold, self._chat_limit, self._most = hold, chat, most
        self._phones: dict[int, _Phone] = {}
        self._turns: deque[int] = deque()
        self._hungry: dict[Key, None] = {}
        self._pauses: list[tuple[float, Key]] = []
        self.in_memory = 0
        self.in_hand = 0

    # --------------------------------------------------------------------------------------------- what there is

    @property
    def phones(self) -> set[int]:
        """The phones that are served."""
        return set(self._phones)

    @property
    def ready(self) -> bool:
        """Whether a message may be taken."""
        return bool(self._turns)

    @property
    def hungry(self) -> bool:
        """Whether there is a chat to be loaded, and room for it."""
        return bool(self._hungry) and self._most - self.in_memory >= self._chat_limit

    def waiting_of(self, phone_id: int) -> int:
        """Messages of this phone in memory that nobody has in hand."""
        phone = self._phones.get(phone_id)
        return sum(len(chat.rows) for chat in phone.chats.values()) if phone else 0

    def next_pause(self) -> float | None:
        """When the next chat's pause ends."""
        return self._pauses[0][0] if self._pauses else None

    # ------------------------------------------------------------------------------------------------- the table

    def serve(self, phone_id: int) -> None:
        """This worker runs the phone: ``look`` tells what of it stands in the table."""
        self._phones.setdefault(phone_id, _Phone())

    def forget(self, phone_id: int) -> None:
        """The worker runs it no more; what is in hand goes on."""
        phone = self._phones.pop(phone_id, None)
        if phone is None:
            return
        for name, chat in phone.chats.items():
            self.in_memory -= len(chat.rows)
            self._hungry.pop((phone_id, name), None)
        if phone.ready:
            self._turns.remove(phone_id)

    def look(self, phone_ids: Iterable[int], keys: Iterable[Key]) -> None:
        """The table was looked at for these phones: of these chats something stands there that may be handled now."""
        for phone_id in phone_ids:
            if phone_id in self._phones:
                self._phones[phone_id].looked = True
        for key in keys:
            if (chat := self._chat(key)) is not None:
                chat.more, chat.until = True, None
                self._settle(key, chat)

    def written(self, row: Stored) -> None:
        """A message was added to the table."""
        chat = self._chat(row.key)
        if chat is None:
            return
        looked = self._phones[row.phone_id].looked
        in_table = not looked or chat.more or chat.loading or chat.until is not None or self._hold
        if in_table or len(chat.rows) >= self._chat_limit or self.in_memory >= self._most:
            chat.more = True
        else:
            self._append(row, chat)
        self._settle(row.key, chat)

    def wanted(self, now: float) -> list[Key]:
        """The chats to load now: each is to be ``loaded``, or ``not_loaded``."""
        while self._pauses and self._pauses[0][0] <= now:
            _, key = heapq.heappop(self._pauses)
            chat = self._known(key)
            if chat is not None and chat.until is not None and chat.until <= now:
                chat.until = None
                self._settle(key, chat)
        room = max(0, self._most - self.in_memory) // self._chat_limit
        keys = list(self._hungry)[:room]
        for key in keys:
            del self._hungry[key]
            if (chat := self._known(key)) is not None:
                chat.loading, chat.more = True, False
        return keys

    def loaded(self, keys: Sequence[Key], rows: Sequence[Stored], now: float) -> None:
        """What stands first in the table of chats that were wanted, in order."""
        found: dict[Key, list[Stored]] = {key: [] for key in keys}
        for row in rows:
            found[row.key].append(row)
        for key, its in found.items():
            chat = self._known(key)
            if chat is None or not chat.loading:
                continue
            chat.loading = False
            chat.more = chat.more or len(its) >= self._chat_limit
            if its and its[0].pause > 0:
                self._pause(key, chat, now + its[0].pause)
            else:
                for row in its:
                    self._append(row, chat)
            self._settle(key, chat)

    def not_loaded(self, keys: Iterable[Key]) -> None:
        """The table could not be read; they are wanted again."""
        for key in keys:
            chat = self._known(key)
            if chat is not None and chat.loading:
                chat.loading, chat.more = False, True
                self._settle(key, chat)

    # ----------------------------------------------------------------------------------------------- the handler

    def take(self) -> Stored | None:
        """The next message, which is in hand until ``finish``; None if there is none that may be taken now."""
        if not self._turns:
            return None
        phone_id = self._turns.popleft()
        phone = self._phones[phone_id]
        chat = phone.chats[phone.ready.popleft()]
        chat.queued = False
        row = chat.rows.popleft()
        if phone.ready:
            self._turns.append(phone_id)
        chat.in_hand = row
        self.in_memory -= 1
        self.in_hand += 1
        return row

    def finish(self, row: Stored) -> None:
        """A message is handled, or set aside and the next of its chat may be taken."""
        if (chat := self._give_back(row)) is not None:
            self._settle(row.key, chat)

    def fail(self, row: Stored, until: float) -> None:
        """A message failed; its chat waits."""
        if (chat := self._give_back(row)) is not None:
            self._pause(row.key, chat, until)
            self._settle(row.key, chat)

    def set_aside(self, row: Stored) -> None:
        """A message is dead: its chat goes on, or waits until somebody decides."""
        if (chat := self._give_back(row)) is None:
            return
        if self._hold:
            self._empty(chat)
            chat.more = False
        self._settle(row.key, chat)

    # ---------------------------------------------------------------------------------------------- small steps

    def _chat(self, key: Key) -> _Chat | None:
        phone = self._phones.get(key[0])
        return phone.chats.setdefault(key[1], _Chat()) if phone else None

    def _known(self, key: Key) -> _Chat | None:
        phone = self._phones.get(key[0])
        return phone.chats.get(key[1]) if phone else None

    def _append(self, row: Stored, chat: _Chat) -> None:
        chat.rows.append(row)
        self.in_memory += 1

    def _give_back(self, row: Stored) -> _Chat | None:
        self.in_hand -= 1
        chat = self._known(row.key)
        if chat is None or chat.in_hand is not row:  # the phone was forgotten meanwhile
            return None
        chat.in_hand = None
        return chat

    def _pause(self, key: Key, chat: _Chat, until: float) -> None:
        self._empty(chat)
        chat.more, chat.until = True, until
        heapq.heappush(self._pauses, (until, key))

    def _empty(self, chat: _Chat) -> None:
        self.in_memory -= len(chat.rows)
        chat.rows.clear()

    def _settle(self, key: Key, chat: _Chat) -> None:
        """Let it be taken from, have it loaded, or forget it, as it is now."""
        phone = self._phones[key[0]]
        if chat.in_hand is not None or chat.until is not None or chat.loading:
            return
        if chat.rows:
            if not chat.queued:
                if not phone.ready:
                    self._turns.append(key[0])
                phone.ready.append(key[1])
                chat.queued = True
        elif chat.more:
            self._hungry[key] = None
        else:
            del phone.chats[key[1]]
            self._hungry.pop(key, None)
