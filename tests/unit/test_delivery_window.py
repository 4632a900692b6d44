"""Laws of the window over the inbox, with a table that is a plain list: order, all handled, little in memory."""

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.worker.delivery.window import CHAT_BYTES, Stored, Window
from wa_sessions.worker.message import IncomingMessage

MESSAGE = IncomingMessage("ID", "chat", "1@lid", None, False, False, 0, "conversation", "hi", b"")
PHONES = st.integers(1, 3)
CHATS = st.sampled_from(["a", "b", "c"])
CHAT, MOST = 2, 7


@dataclass(frozen=True)
class Arrive:
    phone: int
    chat: str


@dataclass(frozen=True)
class Outcome:
    """What becomes of a message in hand; ``which`` of them."""

    how: str
    which: int


@dataclass(frozen=True)
class Owner:
    what: str
    phone: int


STEPS = st.lists(
    st.one_of(
        st.builds(Arrive, PHONES, CHATS),
        st.builds(Arrive, PHONES, CHATS),
        st.sampled_from(["take", "take", "load", "load fails", "look", "wait", "restart"]),
        st.builds(Outcome, st.sampled_from(["done", "done", "fail", "dead"]), st.integers(0, 20)),
        st.builds(Owner, st.sampled_from(["serve", "forget"]), PHONES),
    ),
    max_size=150,
)


@dataclass
class Row:
    stored: Stored
    dead: bool = False
    due: float = 0.0


class World:
    """A table, the window over it, and handlers."""

    def __init__(self, *, hold: bool) -> None:
        self.hold = hold
        self.window = Window(hold=hold, chat=CHAT, most=MOST)
        self.table: dict[int, Row] = {}
        self.hands: list[Stored] = []
        self.now = 0.0
        self.count = 0
        self.handled: list[Stored] = []
        self.dead: list[Stored] = []
        for phone in (1, 2, 3):
            self.window.serve(phone)

    def do(self, step: object) -> None:  # one case a step
        match step:
            case Arrive(phone, chat):
                self.arrive(phone, chat)
            case "take":
                self.take()
            case "load":
                self.load()
            case "load fails":
                self.window.not_loaded(self.window.wanted(self.now))
            case "look":
                self.look()
            case "wait":
                self.now += 1
            case "restart":
                self.window, self.hands = Window(hold=self.hold, chat=CHAT, most=MOST), []
            case Outcome(how, which) if self.hands:
                self.end(self.hands.pop(which % len(self.hands)), how)
            case Owner(what, phone):
                {"forget": self.window.forget, "serve": self.window.serve}[what](phone)
            case _:
                pass
        assert self.window.in_memory <= MOST + CHAT
        assert self.window.in_hand == len(self.hands)

    def arrive(self, phone: int, chat: str) -> None:
        self.count += 1
        message = replace(MESSAGE, id=f"ID{self.count}", chat=chat)
        stored = Stored(self.count, phone, message)
        self.table[self.count] = Row(stored)
        self.window.written(stored)

    def take(self) -> bool:
        row = self.window.take()
        if row is None:
            return False
        assert row.key not in {other.key for other in self.hands}
        assert self.table[row.id].due <= self.now
        before = [
            other
            for other in self.table.values()
            if other.stored.key == row.key and other.stored.id < row.id and not other.dead
        ]
        assert not before, "an earlier message of the chat is not handled yet"
        if self.hold:
            assert not any(other.dead for other in self.table.values() if other.stored.key == row.key)
        self.hands.append(row)
        return True

    def end(self, row: Stored, how: str) -> None:
        match how:
            case "done":
                del self.table[row.id]
                self.handled.append(row)
                self.window.finish(row)
            case "fail":
                self.table[row.id].due = self.now + 2
                self.window.fail(row, self.now + 2)
            case "dead":
                self.table[row.id].dead = True
                self.dead.append(row)
                self.window.set_aside(row)
            case _:
                raise ValueError(how)

    def look(self) -> None:
        heads: dict[tuple[int, str], Row] = {}
        for row in self.table.values():
            if not row.dead:
                heads.setdefault(row.stored.key, row)
        for key, head in heads.items():
            self.window.found(key, due=head.due <= self.now)
        for phone_id in self.window.phones:
            self.window.looked(phone_id)

    def load(self) -> None:
        keys = self.window.wanted(self.now)
        found = []
        for key in keys:
            rows = [row for row in self.table.values() if row.stored.key == key]
            if self.hold and any(row.dead for row in rows):
                continue
            live = [row for row in rows if not row.dead][:CHAT]
            found += [replace(row.stored, pause=max(0.0, row.due - self.now)) for row in live]
        self.window.loaded(keys, found, self.now)

    def live(self) -> list[Row]:
        held = {row.stored.key for row in self.table.values() if row.dead} if self.hold else set()
        return [row for row in self.table.values() if not row.dead and row.stored.key not in held]


@given(STEPS, st.booleans())
def test_everything_is_handled_in_the_order_of_its_chat_whatever_happens(steps: list[object], hold: bool) -> None:
    world = World(hold=hold)
    for step in steps:
        world.do(step)
    for phone in (1, 2, 3):
        world.window.serve(phone)
    for _ in range(10 * len(steps) + 20):
        while world.hands:
            world.end(world.hands.pop(), "done")
        world.look()
        world.load()
        if not world.take():
            world.now += 1
    assert not world.live()
    ids = [row.id for row in world.handled]
    assert len(ids) == len(set(ids))
    assert world.window.in_memory == world.window.in_hand == 0


@given(st.integers(1, 40))
def test_a_chat_that_fails_crowds_out_no_other(broken: int) -> None:
    world = World(hold=False)
    for number in range(broken):
        for _ in range(3):
            world.arrive(1, f"broken {number}")
    for _ in range(3 * broken):
        world.load()
        while world.take():
            world.end(world.hands.pop(), "fail")
    assert world.window.in_memory == 0
    world.arrive(1, "fine")
    world.load()
    assert world.take()
    assert world.hands[0].key == (1, "fine")


def test_a_phone_with_many_chats_lets_another_have_its_turn() -> None:
    world = World(hold=False)
    world.look()
    for number in range(100):
        world.arrive(1, f"many {number}")
    for _ in range(3):
        world.arrive(2, "few")
    order = []
    while not all(row.stored.key[0] == 1 for row in world.live()):
        world.load()
        assert world.take()
        order.append(world.hands[0].key[0])
        world.end(world.hands.pop(), "done")
    assert len(order) <= 3 * MOST


@given(st.lists(st.integers(0, 3 << 20), min_size=1, max_size=30))
def test_big_messages_are_few_in_memory(sizes: list[int]) -> None:
    window = Window()
    window.serve(1)
    window.looked(1)
    for number, size in enumerate(sizes):
        message = replace(MESSAGE, id=str(number), chat=f"chat {number % 3}", raw=bytes(size))
        window.written(Stored(number, 1, message))
    assert window.bytes <= 3 * (CHAT_BYTES + max(sizes))
    while row := window.take():
        window.finish(row)
    assert window.in_memory == window.bytes == 0


def test_a_chat_that_is_held_goes_on_once_its_dead_message_is_gone() -> None:
    world = World(hold=True)
    for _ in range(3):
        world.arrive(1, "a")
    world.load()
    assert world.take()
    world.end(world.hands.pop(), "dead")
    world.arrive(1, "a")
    world.load()
    assert not world.take()
    world.table.pop(1)
    world.do("look")
    world.load()
    assert world.take()
    assert world.hands[0].id == 2
