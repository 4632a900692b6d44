"""PURE: which messages of the inbox are in memory, and which is handed over next.

Of each chat at most ``CHAT`` messages are in memory, of all at most ``MOST``, and not too many bytes; the rest stands
in the table and is loaded in order. A chat of which one failed waits, and has none in memory meanwhile, so that those
that wait crowd out no other.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wa_sessions.worker.message import IncomingMessage

CHAT, CHAT_BYTES = 50, 1 << 20
"""Messages of a chat that are in memory, and their bytes; one at least, however big."""

MOST, MOST_BYTES = 2_000, 64 << 20
"""Messages in memory, and their bytes."""

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
    def key(self) -> Key:
        return self.phone_id, self.message.chat

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.message.raw)


@dataclass(slots=True, eq=False)
class _Chat:
    """``rows`` are the next ones; ``more``: others stand in the table behind them; ``until``: when its pause ends.

    ``queued``: it stands among those that are ready. A hundred thousand may wait, so it is small.
    """

    rows: list[Stored] = field(default_factory=list)
    more: bool = False
    loading: bool = False
    queued: bool = False
    until: float | None = None

    @property
    def size(self) -> int:
        return sum(row.size for row in self.rows)


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
        self._hungry: OrderedDict[int, OrderedDict[str, None]] = OrderedDict()
        self._hands: dict[Key, Stored] = {}
        self._pauses: list[tuple[float, Key]] = []
        self.in_memory = self.bytes = 0

    # --------------------------------------------------------------------------------------------- what there is

    @property
    def phones(self) -> set[int]:
        """The phones that are served."""
        return set(self._phones)

    @property
    def in_hand(self) -> int:
        """Messages that were taken and not given back."""
        return len(self._hands)

    @property
    def hungry(self) -> bool:
        """Whether there is a chat to be loaded, and room for it."""
        return bool(self._hungry) and self._room > 0

    @property
    def _room(self) -> int:
        """For how many chats there is room."""
        return max(0, min((self._most - self.in_memory) // self._chat_limit, (MOST_BYTES - self.bytes) // CHAT_BYTES))

    def waiting_of(self, phone_id: int) -> int:
        """Messages of this phone that nobody has in hand: those in memory, and one of each chat that has none there."""
        phone = self._phones.get(phone_id)
        return sum(len(chat.rows) or chat.more or chat.loading for chat in phone.chats.values()) if phone else 0

    def next_pause(self) -> float | None:
        """When the next chat's pause ends."""
        return self._pauses[0][0] if self._pauses else None

    # ------------------------------------------------------------------------------------------------- the table

    def serve(self, phone_id: int) -> None:
        """This worker runs the phone: ``look`` tells what of it stands in the table."""
        self._phones.setdefault(phone_id, _Phone())

    def forget(self, phone_id: int) -> None:
        """The worker runs it no more; what is in hand goes on, and its chat waits for it should the phone come back."""
        phone = self._phones.pop(phone_id, None)
        if phone is None:
            return
        for chat in phone.chats.values():
            self._empty(chat)
        self._hungry.pop(phone_id, None)
        if phone.ready:
            self._turns.remove(phone_id)

    def looked(self, phone_id: int) -> None:
        """All that stood in the table of a phone when it came here is known."""
        if phone_id in self._phones:
            self._phones[phone_id].looked = True

    def found(self, key: Key, *, due: bool = False) -> None:
        """Something of this chat stands in the table; ``due``: it may be handled now, whatever was known before."""
        chat = self._chat(key)
        if chat is None:
            return
        chat.more = True
        if due:
            chat.until = None
        self._settle(key, chat)

    def written(self, row: Stored) -> None:
        """A message was added to the table."""
        chat = self._chat(row.key)
        if chat is None:
            return
        looked = self._phones[row.phone_id].looked
        in_table = not looked or chat.more or chat.loading or chat.until is not None or self._hold
        full = self.in_memory >= self._most or self.bytes >= MOST_BYTES
        if in_table or full or len(chat.rows) >= self._chat_limit or chat.size >= CHAT_BYTES:
            chat.more = True
        else:
            self._append(row, chat)
        self._settle(row.key, chat)

    def wanted(self, now: float) -> list[Key]:
        """The chats to load now: each is to be ``loaded``, or ``not_loaded``."""
        while self._pauses and self._pauses[0][0] <= now:
            _, paused = heapq.heappop(self._pauses)
            chat = self._known(paused)
            if chat is not None and chat.until is not None and chat.until <= now:
                chat.until = None
                self._settle(paused, chat)
        keys: list[Key] = []
        for _ in range(self._room):
            key = self._hungriest()
            if key is None:
                break
            if (chat := self._known(key)) is not None:
                chat.loading, chat.more = True, False
                keys.append(key)
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
            chat.more = chat.more or len(its) >= self._chat_limit or sum(row.size for row in its) >= CHAT_BYTES
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
        row = chat.rows.pop(0)
        if phone.ready:
            self._turns.append(phone_id)
        self._hands[row.key] = row
        self.in_memory -= 1
        self.bytes -= row.size
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
        self.bytes += row.size

    def _give_back(self, row: Stored) -> _Chat | None:
        """Its chat; None if the phone was forgotten meanwhile."""
        del self._hands[row.key]
        return self._known(row.key)

    def _hungriest(self) -> Key | None:
        """The next chat to be loaded: phones in turn, and of each the one that has waited longest."""
        if not self._hungry:
            return None
        phone_id, names = self._hungry.popitem(last=False)
        name, _ = names.popitem(last=False)
        if names:
            self._hungry[phone_id] = names
        return phone_id, name

    def _pause(self, key: Key, chat: _Chat, until: float) -> None:
        self._empty(chat)
        chat.more, chat.until = True, until
        heapq.heappush(self._pauses, (until, key))

    def _empty(self, chat: _Chat) -> None:
        self.in_memory -= len(chat.rows)
        self.bytes -= chat.size
        chat.rows.clear()

    def _settle(self, key: Key, chat: _Chat) -> None:
        """Let it be taken from, have it loaded, or forget it, as it is now."""
        phone_id, name = key
        if key in self._hands or chat.until is not None or chat.loading:
            return
        if chat.rows:
            if not chat.queued:
                phone = self._phones[phone_id]
                if not phone.ready:
                    self._turns.append(phone_id)
                phone.ready.append(name)
                chat.queued = True
        elif chat.more:
            self._hungry.setdefault(phone_id, OrderedDict())[name] = None
        else:
            del self._phones[phone_id].chats[name]
