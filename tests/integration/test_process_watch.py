"""Another worker of this machine, known to be gone as it goes."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from wa_sessions import process_identity
from wa_sessions.process_identity import ProcessIdentity
from wa_sessions.worker.process_watch import ProcessWatch

OF = "from wa_sessions.process_identity import ProcessIdentity as I; print(I.own().started, flush=True); input()"


@pytest.fixture
def other() -> Iterator[tuple["subprocess.Popen[str]", ProcessIdentity]]:
    process = subprocess.Popen([sys.executable, "-c", OF], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout
        started = int(process.stdout.readline())
        yield process, replace(ProcessIdentity.own(), pid=process.pid, started=started)
        process.kill()


def test_a_process_that_proc_hides_lives(
    other: tuple["subprocess.Popen[str]", ProcessIdentity], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ``hidepid=2``, to whoever is another user."""
    process, identity = other
    monkeypatch.setattr(process_identity, "_stat", lambda _pid: (None, None))
    assert not identity.is_gone()
    process.kill()
    process.wait()
    assert identity.is_gone()


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_the_end_of_a_process_is_told_once(other: tuple["subprocess.Popen[str]", ProcessIdentity]) -> None:
    process, identity = other

    async def scenario() -> None:
        ended, times = asyncio.Event(), 0

        def heard() -> None:
            nonlocal times
            times += 1
            ended.set()

        watch = ProcessWatch(heard)
        elsewhere = replace(identity, boot_id="another machine's")
        later = replace(identity, started=(identity.started or 0) + 1)
        before = _descriptors()
        watch.follow([identity, elsewhere, later])
        watch.follow([identity])
        assert _descriptors() == before + 1
        assert not ended.is_set()
        process.kill()
        await asyncio.wait_for(ended.wait(), 10)
        assert identity.is_gone()
        watch.follow([identity])  # its row is there still
        await asyncio.sleep(0.05)
        assert times == 1
        watch.close()
        assert _descriptors() == before

    asyncio.run(scenario())


def test_what_is_not_followed_any_more_is_let_go(other: tuple["subprocess.Popen[str]", ProcessIdentity]) -> None:
    _, identity = other

    async def scenario() -> None:
        watch = ProcessWatch(lambda: None)
        before = _descriptors()
        watch.follow([identity])
        watch.follow([])
        assert _descriptors() == before

    asyncio.run(scenario())
