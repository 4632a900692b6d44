"""The operator's handlers in real processes: what they get, what they print, what they are."""

import asyncio
import json
import os
import sys
import textwrap
from pathlib import Path

import pytest
from support.dispatching import MESSAGE, TELL, Bench, command, function, program_file, run

from wa_sessions.errors import UsageError
from wa_sessions.worker.delivery.checking import check_handler
from wa_sessions.worker.delivery.exec_handler import why_not
from wa_sessions.worker.delivery.handler_process import HandlerProcess
from wa_sessions.worker.delivery.spec import HandlerSpec


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------------------------------- what it gets


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


# ------------------------------------------------------------------------------------------------------------- output


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


# ----------------------------------------------------------------------------------------- what it has and is, before


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
    program_file(folder, "cat").chmod(0o600)
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
