"""Laws of the queue before the handler: order in each chat, nothing lost or twice, no chat starves."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.worker.delivery.queue import REMEMBERED, DeliveryQueue, Queued
from wa_sessions.worker.message import IncomingMessage

MESSAGE = IncomingMessage(
    "ID1", "77050000001@s.whatsapp.net", "1@lid", None, False, False, 0, "conversation", "hi", b""
)

PHONES = st.integers(1, 4)
CHATS = st.sampled_from(["a", "b", "c"])


@dataclass(frozen=True)
class Put:
    phone: int
    chat: str


@dataclass(frozen=True)
class Finish:
    which: int


STEPS = st.lists(
    st.one_of(st.builds(Put, PHONES, CHATS), st.just("take"), st.builds(Finish, st.integers(0, 50))), max_size=120
)


class History:
    """What became of each message of a generated history, in one order for all."""

    def __init__(self, steps: list[object]) -> None:
        self.queue = DeliveryQueue()
        self.came: list[tuple[int, str, str]] = []
        self.taken: list[tuple[int, str, str]] = []
        self.hands: list[Queued] = []
        for step in steps:
            self._do(step)

    def _do(self, step: object) -> None:
        match step:
            case Put(phone, chat):
                message = replace(MESSAGE, id=f"ID{len(self.came)}", chat=chat)
                assert self.queue.put(phone, message)
                self.came.append((phone, chat, message.id))
            case Finish(which) if self.hands:
                self.queue.finish(self.hands.pop(which % len(self.hands)))
            case _:
                self.take()

    def take(self) -> Queued | None:
        item = self.queue.take()
        if item:
            assert (item.phone_id, item.chat) not in {(other.phone_id, other.chat) for other in self.hands}
            self.hands.append(item)
            self.taken.append((item.phone_id, item.chat, item.message.id))
        return item

    def finish_all(self) -> None:
        while self.hands or self.queue.waiting:
            if not self.take():
                self.queue.finish(self.hands.pop(0))


@given(STEPS)
def test_everything_is_taken_once_and_in_the_order_of_its_chat(steps: list[object]) -> None:
    history = History(steps)
    history.finish_all()
    assert sorted(history.taken) == sorted(history.came)
    for chat in {(phone, chat) for phone, chat, _ in history.came}:
        assert [one for one in history.taken if one[:2] == chat] == [one for one in history.came if one[:2] == chat]


@given(STEPS)
def test_its_counts_are_true(steps: list[object]) -> None:
    history = History(steps)
    queue = history.queue
    left = Counter(phone for phone, _, _ in history.came) - Counter(phone for phone, _, _ in history.taken)
    assert queue.waiting_by_phone() == dict(left)
    assert (queue.waiting, queue.in_hand) == (left.total(), len(history.hands))
    assert queue.clear() == dict(left + Counter(item.phone_id for item in history.hands))
    assert (queue.waiting, queue.in_hand, queue.take()) == (0, 0, None)


@given(STEPS)
def test_nothing_is_kept_of_a_phone_whose_messages_are_all_handled(steps: list[object]) -> None:
    history = History(steps)
    history.finish_all()
    assert history.queue._phones == {}
    assert not history.queue._turns


@given(STEPS, st.data())
def test_no_chat_starves(steps: list[object], data: st.DataObject) -> None:
    """However fast others write: a chat's next message is taken after one turn of each chat and phone at most."""
    history = History(steps)
    while history.hands:
        history.queue.finish(history.hands.pop())
    for phone in range(1, 5):
        for chat in "abc":
            history._do(Put(phone, chat))
    phone, chat = data.draw(PHONES), data.draw(CHATS)
    turns = 0
    while (item := history.take()) and (item.phone_id, item.chat) != (phone, chat):
        history._do(Put(item.phone_id, item.chat))
        history.queue.finish(history.hands.pop())
        turns += 1
        assert turns < 4 * 3


def test_phones_take_turns_whatever_waits() -> None:
    queue = DeliveryQueue()
    for n in range(100):
        queue.put(1, replace(MESSAGE, id=f"ID{n}", chat=f"chat{n}"))
    queue.put(2, MESSAGE)
    assert [item.phone_id for item in (queue.take(), queue.take(), queue.take()) if item] == [1, 2, 1]


@pytest.mark.parametrize("other", [{"sender": "2@lid"}, {"chat": "1@g.us"}, {"id": "ID2"}])
def test_a_message_that_comes_twice_is_known_by_chat_sender_and_id(other: dict[str, Any]) -> None:
    queue = DeliveryQueue()
    assert queue.put(1, MESSAGE)
    assert not queue.put(1, replace(MESSAGE, text="again"))
    assert queue.put(1, replace(MESSAGE, **other))
    assert queue.put(2, MESSAGE)
    assert queue.waiting_by_phone() == {1: 2, 2: 1}


def test_only_the_newest_messages_are_remembered() -> None:
    queue = DeliveryQueue()
    for n in range(REMEMBERED * 3):
        queue.put(1, replace(MESSAGE, id=f"ID{n}"))
    assert len(queue._known._known[1]) == REMEMBERED
    assert not queue.put(1, replace(MESSAGE, id=f"ID{REMEMBERED * 2}"))
    assert queue.put(1, replace(MESSAGE, id=f"ID{REMEMBERED * 2 - 1}"))


def test_a_phone_that_left_is_forgotten_but_for_what_waits() -> None:
    queue = DeliveryQueue()
    queue.put(1, MESSAGE)
    queue.forget(1)
    assert queue._known._known == {}
    assert queue.waiting == 1
