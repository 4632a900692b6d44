"""What the message handler gets."""

import queue
import threading
from dataclasses import replace

from wa_sessions.worker.handlers import REMEMBERED, HandlerThread
from wa_sessions.worker.message import IncomingMessage

MESSAGE = IncomingMessage(
    "ID1", "77050000001@s.whatsapp.net", "1@lid", None, False, False, 0, "conversation", "hi", b""
)


def handled(messages: list[IncomingMessage]) -> list[str]:
    taken: queue.SimpleQueue[str] = queue.SimpleQueue()
    handler = HandlerThread(lambda message: taken.put(message.text), "77051234567", lambda *_, **__: None)
    threads = [threading.Thread(target=handler.put, args=(message,)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.finish(10)
    return sorted(taken.get() for _ in range(taken.qsize()))


def test_a_message_that_comes_twice_is_handled_once() -> None:
    assert handled([MESSAGE] * 20) == ["hi"]


def test_the_same_id_of_another_sender_or_chat_is_another_message() -> None:
    others = [replace(MESSAGE, sender="2@lid", text="b"), replace(MESSAGE, chat="1@g.us", text="c")]
    assert handled([MESSAGE, *others]) == ["b", "c", "hi"]


def test_only_the_newest_messages_are_remembered() -> None:
    many = [replace(MESSAGE, id=f"ID{n}") for n in range(REMEMBERED * 3)]
    handler = HandlerThread(lambda _message: None, "77051234567", lambda *_, **__: None)
    for message in many:
        handler.put(message)
    handler.finish(10)
    assert len(handler._known) == REMEMBERED
