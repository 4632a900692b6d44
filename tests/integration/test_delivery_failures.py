"""The operator's handlers in real processes: whatever they do, the next message is handled and nothing waits."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from support.dispatching import MESSAGE, TELL, Bench, command, function, gone, handler_processes, program_file, run
from support.inboxes import InboxBench, inbox_running, until

from wa_sessions.db.gateway import Database
from wa_sessions.worker.delivery.inbox import RetryPolicy
from wa_sessions.worker.delivery.spec import HandlerSpec


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


FAULTS = """
import ctypes, os, signal, sys
def answer(message):
    match message.text:
        case "raise": raise ValueError(message.chat)
        case "exit": sys.exit(3)
        case "interrupt": raise KeyboardInterrupt
        case "generator": raise GeneratorExit
        case "os._exit": os._exit(3)
        case "segfault": ctypes.string_at(0)
        case "oom": os.kill(os.getpid(), signal.SIGKILL)
        case "killed": os.kill(os.getpid(), signal.SIGTERM)
    print("handled", message.text)
"""


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("raise", "ValueError"),
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("generator", "GeneratorExit"),
    ],
)
def test_what_a_handler_raises_fails_its_message_alone(folder: Path, fault: str, error: str) -> None:
    async def do(bench: Bench) -> None:
        bench.put("before", fault, "after")
        await bench.heard.line("handled before", "handled after")

    bench = run(function(folder, FAULTS), do, processes=1)
    [(phone, event)] = bench.heard.events
    assert (phone, event.kind, event.message_id, event.error) == (1, "handler_failed", "ID2", error)
    assert event.seconds is not None
    assert not any(MESSAGE.chat in line for line in bench.heard.texts()), "an error's text may be a message's"
    assert any("shop.py" in line for line in bench.heard.texts()), "where it failed"


@pytest.mark.parametrize(
    ("fault", "error"),
    [("os._exit", "exit status 3"), ("segfault", "SIGSEGV"), ("oom", "SIGKILL"), ("killed", "SIGTERM")],
)
def test_a_handler_that_dies_is_started_again(folder: Path, fault: str, error: str) -> None:
    async def do(bench: Bench) -> None:
        bench.put("before", fault, "after")
        await bench.heard.line("handled before", "handled after")

    bench = run(function(folder, FAULTS), do, processes=1)
    [(phone, event)] = bench.heard.events
    assert (phone, event.kind, event.message_id, event.error) == (1, "handler_ended", "ID2", error)


def test_a_handler_that_hangs_is_killed_with_its_children(folder: Path) -> None:
    spec = function(
        folder,
        """
import subprocess, threading
def answer(message):
    if message.text == "hang":
        print("child", subprocess.Popen(["sleep", "1000"]).pid)
        threading.Event().wait()
    print("handled", message.text)
""",
    )

    async def do(bench: Bench) -> None:
        bench.put("hang", "after")
        bench.put("other", chat="2@lid")
        await bench.heard.line("handled after", "handled other")
        child = next(int(line.split()[1]) for line in bench.heard.texts() if line.startswith("child"))
        await gone(child)

    bench = run(spec, do, timeout=1)
    [(_, event)] = bench.heard.events
    assert (event.kind, event.message_id, event.error) == ("handler_failed", "ID1", "timeout")


def test_a_hang_that_ignores_sigterm_is_killed(folder: Path) -> None:
    spec = function(
        folder,
        """
import signal, time
def answer(message):
    if message.text == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    print("handled", message.text)
""",
    )

    async def do(bench: Bench) -> None:
        bench.put("hang", "after")
        await bench.heard.line("handled after")

    assert run(spec, do, timeout=0.5, processes=1).heard.kinds() == ["handler_failed"]


def test_a_slow_message_is_told_once(folder: Path) -> None:
    spec = function(folder, "import time\ndef answer(m):\n    time.sleep(0.5)\n    print('handled', m.text)\n")

    async def do(bench: Bench) -> None:
        bench.put("slow", "next", "last")
        await bench.heard.line("handled last")

    bench = run(spec, do, slow_after=0.1)
    assert [(event.kind, event.message_id, event.seconds, event.waiting) for _, event in bench.heard.events] == [
        ("handler_slow", "ID1", 0.1, 2),
        ("handler_slow", "ID2", 0.1, 1),
        ("handler_slow", "ID3", 0.1, 0),
    ]


def test_a_process_that_ends_between_messages_is_started_again(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        bench.put("before")
        await bench.heard.line("handled before")
        [process] = bench.processes()
        process.kill()
        await bench.heard.until(lambda: bench.heard.texts().count("imported") == 2)
        bench.put("after")
        await bench.heard.line("handled after")

    bench = run(function(folder, f"print('imported')\n{TELL}"), do, processes=1)
    assert "handler_failed" not in bench.heard.kinds()


def test_a_module_that_breaks_later_is_told_to_who_waits_and_tried_again(folder: Path) -> None:
    spec = function(folder, "import os\nos._exit(7)\n")

    async def do(bench: Bench) -> None:
        bench.put("waits", phone=3)
        event = await bench.heard.event("handler_ended")
        assert (event.message_id, event.error, event.waiting) == (None, "exit status 7", 1)
        (folder / "shop.py").write_text(TELL)
        await bench.heard.line("handled waits")

    assert run(spec, do, processes=1).heard.kinds() == ["handler_ended"]


def test_a_command_that_fails(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        bench.put("status", "signal", "helper")
        await bench.heard.until(lambda: len(bench.heard.events) == 3)

    script = 'read -r line; case "$line" in *status*) exit 3;; *signal*) kill -SEGV $$;; esac; kill -9 $PPID'
    bench = run(command(script), do, processes=1)
    assert [(event.kind, event.error) for _, event in bench.heard.events] == [
        ("handler_failed", "exit status 3"),
        ("handler_failed", "SIGSEGV"),
        ("handler_ended", "SIGKILL"),
    ]


def test_a_command_that_is_gone_is_a_broken_handler_which_the_next_messages_wait_for(folder: Path) -> None:
    program = program_file(folder, "cat >/dev/null; echo done >&2")

    async def do(bench: Bench) -> None:
        bench.put("one")
        await bench.heard.line("done")
        program.unlink()
        bench.put("two", "three", "four")
        ended = await bench.heard.event("handler_ended")
        assert (ended.message_id, ended.waiting) == (None, 2)
        program_file(folder, "cat >/dev/null; echo done again >&2")
        await bench.heard.until(lambda: bench.heard.texts().count("done again") == 2)

    heard = run(HandlerSpec(command=str(program)), do, processes=1).heard
    assert heard.kinds() == ["handler_failed", "handler_ended"]
    assert heard.events[0][1].error == "FileNotFoundError"


def test_a_command_that_is_gone_costs_no_message_an_attempt(folder: Path, database: Database) -> None:
    program = program_file(folder, "cat >/dev/null; echo done >&2")

    async def scenario() -> None:
        once = RetryPolicy(attempts=1, first_pause=0.02)
        async with inbox_running(database, HandlerSpec(command=str(program)), once, processes=2) as bench:
            bench.put("one")
            await bench.empty()
            program.unlink()
            for chat in ("a@lid", "b@lid", "c@lid"):
                bench.put("1", "2", chat=chat)
            await bench.heard.event("handler_ended")
            program_file(folder, "cat >/dev/null; echo done >&2")
            await bench.empty()
            assert bench.inbox.dead_total == 0
            assert bench.heard.texts() == ["done"] * 7
            assert {event.error for _, event in bench.heard.events if event.kind == "handler_failed"} <= {
                "FileNotFoundError"
            }

    asyncio.run(scenario())


@pytest.mark.parametrize("option", ["command", "function"])
def test_a_broken_handler_is_told_once_to_each_phone_of_which_anything_waits(
    folder: Path, database: Database, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    program = program_file(folder, "cat >/dev/null") if option == "command" else folder / "shop.py"
    spec = HandlerSpec(command=str(program)) if option == "command" else function(folder, TELL)
    away = folder / "away"

    async def breaks_and_is_mended(bench: InboxBench) -> None:
        first, second = (phone.id for phone in bench.phones)
        bench.put("before")
        await bench.empty()
        program.rename(away)
        if option == "function":
            for process in handler_processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        begun = len(bench.heard.events)

        async def told(*phone_ids: int) -> None:
            def ended() -> list[int]:
                events = bench.heard.events[begun:]
                return [id_ for id_, event in events if (event.kind, event.message_id) == ("handler_ended", None)]

            await bench.heard.until(lambda: len(ended()) >= len(phone_ids))
            assert ended() == list(phone_ids)

        bench.put("fails")
        await told(first)
        bench.put("comes later", phone=1)
        await told(first, second)
        bench.put("waits too", phone=1, chat="b@lid")
        attempts = len(caplog.records)
        await until(lambda: len(caplog.records) > attempts + 2)
        await told(first, second)
        away.rename(program)
        await bench.empty()

    async def scenario() -> None:
        async with inbox_running(database, spec, RetryPolicy(first_pause=0.02), processes=2) as bench:
            await breaks_and_is_mended(bench)
            await breaks_and_is_mended(bench)

    asyncio.run(scenario())


@pytest.mark.parametrize("wrong", ["gone", "interpreter", "rights"])
def test_a_command_that_cannot_be_started_is_found_before_it_gets_a_message(folder: Path, wrong: str) -> None:
    program = program_file(folder, "cat >/dev/null; echo done >&2")
    good = program.read_text()
    match wrong:
        case "gone":
            program.unlink()
        case "interpreter":
            program.write_text("#!/no/such/interpreter -x\n")
        case _:
            program.chmod(0o600)

    async def do(bench: Bench) -> None:
        bench.put("waits")
        ended = await bench.heard.event("handler_ended")
        assert "--on-message-exec cannot be started" in (ended.error or "")
        program_file(folder, good.partition("\n")[2])
        await bench.heard.line("done")

    assert run(HandlerSpec(command=str(program)), do, processes=1).heard.kinds() == ["handler_ended"]


def test_a_command_that_hangs_is_killed_as_a_group(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        bench.put("hang")
        await bench.heard.event("handler_failed")
        await gone(int((folder / "grandchild").read_text()))
        bench.put("after")
        await bench.heard.line("done")

    script = 'read -r line; case "$line" in *hang*) sleep 1000 & echo $! > grandchild; wait;; esac; echo done >&2'
    assert [event.error for _, event in run(command(script), do, timeout=1).heard.events] == ["timeout"]


def test_an_orphan_that_holds_stderr_delays_neither_messages_nor_the_end(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        bench.put("one", "two")
        await bench.heard.until(lambda: bench.heard.texts() == ["done", "done"])
        started = time.monotonic()
        await bench.dispatcher.drain(60)
        assert time.monotonic() - started < 30

    run(command("setsid sleep 1000 & echo $! >> orphans; echo done >&2"), do)
    for orphan in (folder / "orphans").read_text().split():
        os.kill(int(orphan), signal.SIGKILL)


def test_a_message_is_as_big_as_whatsapp_lets_it_be(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        bench.put("x" * (8 << 20))
        await bench.heard.line(str(8 << 20))

    run(function(folder, "def answer(m):\n    print(len(m.text))\n"), do)
