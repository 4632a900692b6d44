"""Messages to a URL: signed, known again when they come again, and kept while the receiver is down, slow or broken."""

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any

import pytest
from support.inboxes import inbox_running, until
from support.receivers import Receiver, Request, http

from wa_sessions.db.gateway import Database
from wa_sessions.errors import UsageError
from wa_sessions.worker.delivery.checking import check_handler
from wa_sessions.worker.delivery.inbox import RetryPolicy
from wa_sessions.worker.delivery.spec import HandlerSpec
from wa_sessions.worker.signing import signature

PATIENT = RetryPolicy(attempts=50, first_pause=0.05)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def texts(receiver: Receiver) -> list[str]:
    return [request.json["text"] for request in receiver.taken()]


def keys(receiver: Receiver, text: str) -> set[str]:
    return {request.key for request in receiver.requests.since() if request.json["text"] == text}


def test_a_message_is_posted_signed_and_without_what_is_not_for_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WA_SESSIONS_HANDLER_SECRET", "s3cret")
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", "postgresql://x:y@z/a")

    async def scenario(receiver: Receiver) -> None:
        async with inbox_running(database, HandlerSpec(url=f"{receiver.url}/wa?x=1")) as bench:
            bench.put("héllo ☎", "2")
            await bench.empty()
            assert processes()
            for process in processes():
                assert receiver.url not in " ".join(process.cmdline())
                assert "WA_SESSIONS_DATABASE_URL" not in process.environ()

    with http() as receiver:
        run(scenario(receiver))
        first, second = receiver.taken()
    assert (first.path, first.json["text"], first.json["phone"]) == ("/wa?x=1", "héllo ☎", "77051234567")
    assert "raw" not in first.json
    assert first.key != second.key
    assert first.headers["x-wa-sessions-signature"] == signed(first)


def signed(request: Request) -> str:
    return signature("s3cret", request.headers["x-wa-sessions-timestamp"], request.content)


def processes() -> list[Any]:
    import psutil
    from support.dispatching import is_handler

    return [child for child in psutil.Process().children(recursive=True) if is_handler(child)]


def test_a_receiver_that_answers_500_gets_it_again_under_the_same_key_and_in_order(database: Database) -> None:
    async def scenario(receiver: Receiver) -> None:
        receiver.answers = [(0.0, 500), (0.0, 500), (0.0, 404)]
        async with inbox_running(database, HandlerSpec(url=receiver.url), PATIENT, processes=1) as bench:
            bench.put("1", "2", "3")
            await bench.empty()
            assert bench.heard.kinds() == ["handler_failed"]
            assert bench.heard.events[0][1].error == "HTTP 500"

    with http() as receiver:
        run(scenario(receiver))
        assert texts(receiver) == ["1", "2", "3"]
        assert len(keys(receiver, "1")) == 1
        assert len(receiver.requests.since()) == 6


def test_a_receiver_that_is_away_sets_nothing_aside(database: Database) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]

    async def scenario() -> None:
        once = RetryPolicy(attempts=1, first_pause=0.05)
        async with inbox_running(database, HandlerSpec(url=f"http://127.0.0.1:{port}"), once) as bench:
            bench.put("1", "2")
            bench.put("3", chat="b@lid")
            await bench.until("SELECT error FROM wa_sessions.inbox ORDER BY id LIMIT 1", "ConnectError")
            with http(port) as receiver:
                receiver.answers = [(0.0, 503), (0.0, 429)]
                await bench.empty()
                assert sorted(texts(receiver)) == ["1", "2", "3"]
                assert bench.inbox.dead_total == 0

    run(scenario())


def test_a_receiver_that_is_too_slow_gets_it_again_and_holds_up_no_other_chat(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(receiver: Receiver) -> None:
        receiver.answers = [(3.0, 200)]
        async with inbox_running(database, HandlerSpec(url=receiver.url), PATIENT, processes=2, timeout=1.0) as bench:
            bench.put("a very private text", "2")
            await until(lambda: not receiver.answers)
            bench.put("3", chat="b@lid")
            await until(lambda: "3" in texts(receiver))
            await bench.empty()
            assert [event.error for _, event in bench.heard.events] == ["timeout"]

    with caplog.at_level(logging.DEBUG), http() as receiver:
        run(scenario(receiver))
        assert [text for text in texts(receiver) if text != "3"][-2:] == ["a very private text", "2"]
        assert len(keys(receiver, "a very private text")) == 1
    assert "private" not in caplog.text


@pytest.mark.parametrize("text", [b"", b"ok", b"x" * 20_000])
def test_messages_come_over_one_connection(database: Database, text: bytes) -> None:
    async def scenario(receiver: Receiver) -> None:
        async with inbox_running(database, HandlerSpec(url=receiver.url), PATIENT, processes=1) as bench:
            bench.put("1", "2", "3", "4")
            await bench.empty()

    with http() as receiver:
        receiver.text = text
        run(scenario(receiver))
        assert (texts(receiver), receiver.connections) == (["1", "2", "3", "4"], 1)


def test_an_answer_that_is_too_long_or_never_ends_is_taken_by_its_status(database: Database) -> None:
    async def scenario(receiver: Receiver) -> None:
        async with inbox_running(database, HandlerSpec(url=receiver.url), PATIENT, processes=1) as bench:
            bench.put("1", "2")
            await until(lambda: texts(receiver) == ["1", "2"])
            receiver.text, receiver.unended = b"x" * 1_000_000, False
            bench.put("3", "4")
            await bench.empty()
            assert bench.heard.events == []

    with http() as receiver:
        receiver.text, receiver.unended = b"x", True
        run(scenario(receiver))
        assert texts(receiver) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "https://x:0/", "nonsense"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--on-message-url"):
        check_handler(HandlerSpec(url=url))
