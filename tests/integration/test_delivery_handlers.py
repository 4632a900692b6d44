"""The operator's handlers in real processes: whatever they do, the next message is handled and nothing waits."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from support.dispatching import MESSAGE, Bench, command, function, gone, handler_processes, running
from support.inboxes import InboxBench, inbox_running, until

from wa_sessions.db.gateway import Database
from wa_sessions.errors import UsageError
from wa_sessions.worker.delivery.checking import check_handler
from wa_sessions.worker.delivery.dispatcher import Dispatcher
from wa_sessions.worker.delivery.exec_handler import why_not
from wa_sessions.worker.delivery.handler_process import HandlerProcess
from wa_sessions.worker.delivery.inbox import RetryPolicy
from wa_sessions.worker.delivery.spec import HandlerSpec

TELL = """
def answer(message):
    print("handled", message.text)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(spec: HandlerSpec, do: Callable[[Bench], Awaitable[None]], *, drain: bool = True, **settings: float) -> Bench:
    """Do something with a dispatcher, which is drained afterwards if it is not cancelled; nothing of it may be left."""

    async def main() -> Bench:
        async with running(spec, **settings) as bench:
            await do(bench)
            processes = bench.processes()
            if drain:
                await bench.dispatcher.drain(20)
        assert [process for process in processes if process.is_running()] == []
        return bench

    return asyncio.run(main())


# ----------------------------------------------------------------------------------------------- what it gets


def test_a_function_gets_the_whole_message_and_its_output_is_told(folder: Path) -> None:
    spec = function(folder, "def answer(m):\n    print(m.text, m.raw, m.phone, m.chat, type(m).__name__)\n")

    async def do(bench: Bench) -> None:
        bench.put("héllo ☎")
        await bench.heard.line(f"héllo ☎ {MESSAGE.raw!r} 77050000001 {MESSAGE.chat} IncomingMessage")
        assert bench.heard.lines[0][0] == "77050000001"

    assert run(spec, do).heard.events == []


def test_a_coroutine_function_is_run(folder: Path) -> None:
    spec = function(
        folder,
        """
import asyncio
async def answer(message):
    await asyncio.sleep(0)
    print("handled", message.text)
    _ = 1 / 0
""",
    )

    async def do(bench: Bench) -> None:
        bench.put("a", "b")
        await bench.heard.line("handled a", "handled b")
        await bench.heard.until(lambda: bench.heard.kinds() == ["handler_failed"] * 2)

    run(spec, do)


def test_a_command_gets_one_json_object_for_each_message(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        bench.put("to a command", "to another")
        await bench.heard.until(lambda: bench.heard.texts() == ["done", "done"])

    run(command("cat >> heard; echo dropped; echo done >&2"), do)
    first, second = map(json.loads, (folder / "heard").read_text().splitlines())
    assert (first["text"], first["phone"], first["is_group"]) == ("to a command", "77050000001", False)
    assert second["text"] == "to another"
    assert "raw" not in first


def test_chats_go_side_by_side_and_each_in_order(folder: Path) -> None:
    spec = function(
        folder,
        """
import pathlib, time
def answer(message):
    if message.text == "wait":
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
    print(message.text)
""",
    )

    async def do(bench: Bench) -> None:
        bench.put("wait", "after", chat="a@lid")
        bench.put("1", "2", "3", chat="b@lid")
        await bench.heard.line("1", "2", "3")
        assert "wait" not in bench.heard.texts()
        assert bench.dispatcher.waiting_by_phone() == {1: 1}
        (folder / "go").touch()
        await bench.heard.line("after")
        assert bench.heard.texts() == ["1", "2", "3", "wait", "after"]

    run(spec, do)


def test_a_message_that_comes_twice_is_handled_once(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        for _ in range(20):
            bench.dispatcher.put(1, MESSAGE, 0)
        bench.put("last")
        await bench.heard.line("handled last")
        assert bench.heard.texts() == ["handled", "handled last"]

    run(function(folder, TELL), do, processes=1)


# ------------------------------------------------------------------------------------------ failures and ends

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
    program = _program(folder, "cat >/dev/null; echo done >&2")

    async def do(bench: Bench) -> None:
        bench.put("one")
        await bench.heard.line("done")
        program.unlink()
        bench.put("two", "three", "four")
        ended = await bench.heard.event("handler_ended")
        assert (ended.message_id, ended.waiting) == (None, 2)
        _program(folder, "cat >/dev/null; echo done again >&2")
        await bench.heard.until(lambda: bench.heard.texts().count("done again") == 2)

    heard = run(HandlerSpec(command=str(program)), do, processes=1).heard
    assert heard.kinds() == ["handler_failed", "handler_ended"]
    assert heard.events[0][1].error == "FileNotFoundError"


def test_a_command_that_is_gone_costs_no_message_an_attempt(folder: Path, database: Database) -> None:
    program = _program(folder, "cat >/dev/null; echo done >&2")

    async def scenario() -> None:
        once = RetryPolicy(attempts=1, first_pause=0.02)
        async with inbox_running(database, HandlerSpec(command=str(program)), once, processes=2) as bench:
            bench.put("one")
            await bench.empty()
            program.unlink()
            for chat in ("a@lid", "b@lid", "c@lid"):
                bench.put("1", "2", chat=chat)
            await bench.heard.event("handler_ended")
            _program(folder, "cat >/dev/null; echo done >&2")
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
    program = _program(folder, "cat >/dev/null") if option == "command" else folder / "shop.py"
    spec = HandlerSpec(command=str(program)) if option == "command" else function(folder, TELL)
    away = folder / "away"

    async def breaks_and_is_mended(bench: InboxBench) -> None:
        first, second = (phone.id for phone in bench.phones)
        bench.put("before")
        await bench.empty()
        program.rename(away)
        if option == "function":
            for process in handler_processes():
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
    program = _program(folder, "cat >/dev/null; echo done >&2")
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
        _program(folder, good.partition("\n")[2])
        await bench.heard.line("done")

    assert run(HandlerSpec(command=str(program)), do, processes=1).heard.kinds() == ["handler_ended"]


def _program(folder: Path, script: str) -> Path:
    """A handler that is a file, put there whole."""
    made = folder / "new"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o700)
    return made.rename(folder / "handler")


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


# ------------------------------------------------------------------------------------------------------ output


def test_megabytes_on_one_line_neither_block_nor_flood(folder: Path) -> None:
    spec = function(folder, "def answer(m):\n    print(m.text * 3_000_000)\n")

    async def do(bench: Bench) -> None:
        bench.put(*"abcde")
        await bench.heard.until(lambda: len(bench.heard.lines) == 5)

    bench = run(spec, do)
    assert bench.heard.texts() == [f"{letter * 4096} … (2995904 bytes more)" for letter in "abcde"]


def test_a_flood_of_lines_is_counted_and_leaves_the_loop_time(folder: Path) -> None:
    spec = function(folder, "def answer(m):\n    for n in range(1_000_000): print('x' * 80)\n    print('end')\n")

    async def do(bench: Bench) -> None:
        bench.put("flood")
        turns = 0
        while bench.dispatcher.waiting or bench.dispatcher.in_hand:
            await asyncio.sleep(0.01)
            turns += 1
        assert turns > 3

    bench = run(spec, do, processes=1)
    dropped = sum(int(line.split()[1]) for line in bench.heard.texts() if line.startswith("(and"))
    passed = sum(not line.startswith("(and") for line in bench.heard.texts())
    assert dropped + passed == 1_000_001
    assert passed < 500_000


def test_output_belongs_to_the_phone_whose_message_was_in_hand(folder: Path) -> None:
    spec = function(folder, "print('import')\ndef answer(m):\n    print(m.phone, end='')\n")

    async def do(bench: Bench) -> None:
        for phone in range(1, 10):
            bench.put("hi", phone=phone)
        await bench.heard.until(lambda: len(bench.heard.lines) == 10)

    lines = run(spec, do, processes=1).heard.lines
    assert lines == [("", "import"), *((f"7705000000{n}", f"7705000000{n}") for n in range(1, 10))]


def test_control_characters_do_not_reach_the_log(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        bench.put("one")
        await bench.heard.line("�[31mred�")

    run(command(r"printf '\033[31mred\007\n' >&2"), do)


# -------------------------------------------------------------------------------------- the end of the worker


def test_a_drain_hands_over_what_is_queued(folder: Path) -> None:
    spec = function(folder, "import time\ndef answer(m):\n    time.sleep(0.01)\n    print(m.text)\n")

    async def do(bench: Bench) -> None:
        bench.put(*map(str, range(60)))
        await bench.dispatcher.drain(20)

    bench = run(spec, do)
    assert bench.heard.texts() == [str(n) for n in range(60)]
    assert bench.heard.events == []


def test_what_is_not_handled_at_the_deadline_is_counted_and_its_handler_killed(folder: Path) -> None:
    spec = function(folder, "import time\ndef answer(m):\n    print('begun', flush=True)\n    time.sleep(1000)\n")

    async def do(bench: Bench) -> None:
        bench.put("a", "b", "c", phone=1)
        bench.put("d", "e", phone=2)
        await bench.heard.until(lambda: bench.heard.texts() == ["begun", "begun"])
        pids = [process.pid for process in bench.processes()]
        started = time.monotonic()
        await bench.dispatcher.drain(0.2)
        assert time.monotonic() - started < 60
        assert not any(map(psutil.pid_exists, pids))
        bench.put("late", phone=3)

    bench = run(spec, do)
    unfinished = [(phone, event.kind, event.waiting) for phone, event in bench.heard.events]
    assert unfinished == [(1, "handler_unfinished", 3), (2, "handler_unfinished", 2), (3, "handler_unfinished", 1)]


def test_a_cancelled_dispatcher_counts_too(folder: Path) -> None:
    async def do(bench: Bench) -> None:
        bench.put("one")

    assert run(function(folder, "import time\ntime.sleep(1000)\n"), do, drain=False).heard.kinds() == [
        "handler_unfinished"
    ]


def test_a_handler_ends_by_itself_where_it_can(folder: Path) -> None:
    spec = function(folder, f"import atexit\natexit.register(print, 'flushed')\n{TELL}")

    async def do(bench: Bench) -> None:
        bench.put("one")
        await bench.dispatcher.drain(10)

    assert run(spec, do, processes=1).heard.texts() == ["handled one", "flushed"]


def test_without_a_handler_nothing_is_kept() -> None:
    async def main() -> None:
        dispatcher = Dispatcher(None, tell=lambda *_: None, output=lambda *_: None)
        dispatcher.put(1, MESSAGE, 0)
        assert dispatcher.waiting == 0
        await dispatcher.run()
        await dispatcher.drain(1)

    asyncio.run(main())


WORKER = """
import asyncio, sys
from wa_sessions.worker.delivery.dispatcher import Dispatcher
from wa_sessions.worker.delivery.spec import HandlerSpec
from support.dispatching import MESSAGE

async def main():
    spec = HandlerSpec(**{sys.argv[1]: sys.argv[2]})
    dispatcher = Dispatcher(spec, processes=1, tell=print, output=lambda _, line: print(line, flush=True))
    dispatcher.put(1, MESSAGE, 0)
    await dispatcher.run()

asyncio.run(main())
"""

HANG = "import os, time\ndef answer(m):\n    print(os.getpid(), flush=True)\n    time.sleep(1000)\n"


@pytest.mark.parametrize(
    ("option", "what"),
    [("function", "shop:answer"), ("command", "sh -c 'echo $$ >&2; sleep 1000 & echo $! >&2; wait'")],
)
def test_handlers_die_with_a_worker_that_is_killed(folder: Path, option: str, what: str) -> None:
    (folder / "shop.py").write_text(HANG)
    tests = Path(__file__).parents[1]
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, option, what],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tests)},
    )
    assert worker.stdout
    with worker.stdout as lines:
        pids = [int(lines.readline()) for _ in range(1 if option == "function" else 2)]
        pids += [child.pid for child in psutil.Process(worker.pid).children(recursive=True)]
        worker.kill()
        worker.wait()

        async def all_gone() -> None:
            for pid in pids:
                await gone(pid)

        asyncio.run(all_gone())


# ----------------------------------------------------------------------------------- what it has and is, before


def test_a_handler_has_no_database_password(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "WA_SESSIONS_DATABASE_URL", "PGPASSWORD", "WA_SESSIONS_ALERT_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "s3cret")
    spec = function(
        folder, "import os\ndef answer(m):\n    print([n for n, v in os.environ.items() if v == 's3cret'])\n"
    )

    async def do(bench: Bench) -> None:
        bench.put("one")
        await bench.heard.until(lambda: bench.heard.lines)

    assert run(spec, do).heard.texts() == ["[]"]
    asked = HandlerSpec(function="shop:answer", environment=("PGPASSWORD",))
    assert run(asked, do).heard.texts() == ["['PGPASSWORD']"]


def test_nothing_in_the_current_folder_hides_what_is_ours(folder: Path) -> None:
    for name in ("json", "base64", "ctypes", "dataclasses", "signal", "shlex", "runpy", "site"):
        (folder / f"{name}.py").write_text("raise SystemExit('hidden')\n")
    (folder / "wa_sessions").mkdir()
    (folder / "wa_sessions/__init__.py").write_text("raise SystemExit('hidden')\n")

    async def do(bench: Bench) -> None:
        bench.put("one")
        await bench.heard.line("handled one")

    run(function(folder, TELL), do)


@pytest.mark.bare
def test_a_handler_process_is_light(folder: Path) -> None:
    big = ("asyncio", "neonize", "psycopg", "rich", "typer", "google", "cryptography", "logging")
    spec = function(folder, f"import sys\ndef answer(m):\n    print([n for n in {big} if n in sys.modules])\n")

    async def do(bench: Bench) -> None:
        bench.put("one")
        await bench.heard.until(lambda: bench.heard.lines)
        [process] = bench.processes()
        assert process.memory_info().rss < 20 << 20

    assert run(spec, do, processes=1).heard.texts() == ["[]"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", "--on-message takes module:function, not 'nonsense'"),
        ("no.such.module:f", "--on-message no.such.module:f: No module named 'no'"),
        ("json:nothing", "--on-message json:nothing: module 'json' has no attribute 'nothing'"),
        ("json:__doc__", "--on-message json:__doc__: not a function"),
        ("broken:f", "--on-message broken:f: ZeroDivisionError: division by zero"),
        ("exits:f", "--on-message exits:f: SystemExit: 3"),
        ("dies:f", "--on-message dies:f: the process that imports it ended: exit status 7"),
    ],
)
def test_a_handler_that_is_not_there_is_a_usage_error(folder: Path, name: str, words: str) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "exits.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "dies.py").write_text("import os\nos._exit(7)\n")
    with pytest.raises(UsageError) as raised:
        check_handler(HandlerSpec(function=name))
    assert str(raised.value) == words


@pytest.mark.parametrize("text", ["", "'", "no-such-program-at-all"])
def test_a_command_that_is_not_there_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--on-message-exec"):
        check_handler(HandlerSpec(command=text))


def test_a_file_that_may_not_be_run_is_not_said_to_be_missing(folder: Path) -> None:
    _program(folder, "cat").chmod(0o600)
    for name in ("./handler", str(folder / "handler")):
        with pytest.raises(UsageError, match=f"--on-message-exec: '{name}' may not be run: chmod \\+x"):
            check_handler(HandlerSpec(command=name))
        assert "may not be run" in str(why_not(name))
    for name in ("handler", "./other", "."):
        with pytest.raises(UsageError, match=f"there is no program '{name}'"):
            check_handler(HandlerSpec(command=name))


def test_a_handler_that_is_there_is_imported_elsewhere(folder: Path) -> None:
    spec = function(folder, f"import pathlib, os\npathlib.Path('pid').write_text(str(os.getpid()))\n{TELL}")
    check_handler(spec)
    check_handler(command("cat"))
    check_handler(None)
    assert int((folder / "pid").read_text()) != os.getpid()
    assert "shop" not in sys.modules


def test_two_handlers_exclude_each_other() -> None:
    assert HandlerSpec.named(None, None) is None
    assert HandlerSpec.named("a:b", None) == HandlerSpec(function="a:b")
    with pytest.raises(UsageError, match="exclude"):
        HandlerSpec.named("a:b", "cat")


def test_what_goes_on_between_two_messages_is_read(folder: Path) -> None:
    """A socket and a pipe that an orphan holds open are no sign of life: only the process itself is."""
    spec = function(
        folder,
        textwrap.dedent("""
        import os, time
        def answer(message):
            if os.fork() == 0:
                time.sleep(1000)
            print("handled", message.text)
            os._exit(9)
        """),
    )

    async def main() -> None:
        lines: list[str] = []
        ended = asyncio.Event()
        async with HandlerProcess.running(spec, lambda _, line: lines.append(line), ended.set) as process:
            with pytest.raises(Exception, match="exit status 9"):
                await asyncio.wait_for(process.hand_over(MESSAGE), 10)
            assert ended.is_set()
        assert lines == ["handled"]

    asyncio.run(main())
