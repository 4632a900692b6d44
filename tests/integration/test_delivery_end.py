"""The operator's handlers in real processes: the end of the worker."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.dispatching import MESSAGE, TELL, Bench, function, gone, run

from wa_sessions.worker.delivery.dispatcher import Dispatcher


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
