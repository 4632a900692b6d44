"""Many sessions in few processes, all of which talk: what a process that crashes, hangs or is killed takes with it."""

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import host_hook
import pytest
from stage import Peer, Peers, Process, Role, Stage, Worker, look_at_children

NUMBERS = tuple(str(77_053_000_001 + n) for n in range(50))
CROWD = 25  # sessions of the host that something happens to
PATIENCE = 30.0

PANIC = """
import signal

def panic(*_):
    from wa_sessions.worker.hosts import gate, neonize
    client = neonize.Client(0, gate.MapGate(), lambda *_: None, deliver=False)
    store = os.path.join(os.path.dirname(__file__), "empty.db")
    client.start(store, "77000000000:1@s.whatsapp.net")  # its row is not there

if "wa_sessions.worker.hosts.main" in sys.orig_argv:
    signal.signal(signal.SIGUSR1, panic)
"""

CRASH = """
if "wa_sessions.worker.hosts.main" in sys.orig_argv:
    import threading

    def write_and_crash(descriptor, data, write=os.write):
        if b'"Connected"' in bytes(data) and descriptor == int(sys.argv[-1]):
            import json
            if json.loads(bytes(data))["client"] in doomed:
                threading.Timer({after}, os.abort).start()
        return write(descriptor, data)

    class Reader:
        ...
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Phones whose keys are in the store; each test has a worker of its own."""
    with Stage(max_connections="300", fsync="off") as stage:
        stage.pair(*NUMBERS[: CROWD + 5])
        yield stage


@pytest.fixture(scope="module")
def talkers(stage: Stage) -> "Talkers":
    return Talkers(stage.peers(), 3)


class Talkers:
    """Peers that write to all phones in turn, without end."""

    def __init__(self, peers: Peers, count: int) -> None:
        self._peers = peers
        self._everyone = [peers.link(f"talker{n}", str(77_054_000_001 + n)) for n in range(count)]
        self._runs = itertools.count(1)

    @contextmanager
    def talking(self, numbers: tuple[str, ...]) -> Iterator[dict[str, str]]:
        """What they have sent by the end of the block: texts, and to whom."""
        sent: dict[str, str] = {}
        over, run = threading.Event(), next(self._runs)

        def talk(peer: Peer) -> None:
            for n, number in enumerate(itertools.cycle(numbers)):
                if over.wait(0.03):
                    return
                text = f"{run} {peer.name} {n}"
                self._peers.send(peer, number, text)
                sent[text] = number

        threads = [threading.Thread(target=talk, args=(peer,)) for peer in self._everyone]
        for thread in threads:
            thread.start()
        try:
            yield sent
        finally:
            over.set()
            for thread in threads:
                thread.join(20)


def _until(is_so: Callable[[], bool], what: str, timeout: float = PATIENCE) -> float:
    """Seconds until it was so."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < timeout, f"not {what} after {timeout:g} s"
        time.sleep(0.02)
    return time.monotonic() - began


def _hosts(worker: Worker) -> list[Process]:
    return [child for child in look_at_children(worker.process.pid) if child.role is Role.HOST]


def _kill(process: Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def _stop(process: Process) -> None:
    os.kill(process.pid, signal.SIGSTOP)


def _panic(process: Process) -> None:
    os.kill(process.pid, signal.SIGUSR1)


@pytest.mark.parametrize("happens", [_kill, _stop, _panic])
def test_what_happens_to_one_host_is_no_matter_of_the_others(
    happens: Callable[[Process], None], stage: Stage, talkers: Talkers, tmp_path: Path
) -> None:
    numbers = NUMBERS[: CROWD + 5]
    told = host_hook.install(tmp_path / "told", PANIC)
    worker = stage.run(*numbers, "--sessions-per-host", str(CROWD), python_path=(told,))
    with stage.all_connected(worker, numbers) as until_connected:
        until_connected()
    crowded, _ = sorted(_hosts(worker), key=lambda process: -process.threads)
    events: list[tuple[str, str]] = []
    with worker.lines.listening(lambda line: events.append((str(line.get("phone")), str(line.get("event"))))):
        with talkers.talking(numbers) as sent:
            _until(lambda: len(worker.handled) > 150, "talking")
            happens(crowded)
            gone = _until(lambda: worker.counts["crashed"] >= CROWD, "crashed")
            hit = {phone for phone, event in events if event == "crashed"}
            _until(lambda: {phone for phone, event in events if event == "connected"} >= hit, "back")
            back = gone + _until(lambda: worker.counts["connected"] >= len(numbers) + CROWD, "back")
        for device in (stage.devices[number] for number in numbers):
            stage.emulator.wait_delivered(device)
        handled = lambda: {text.partition(": ")[2] for text in worker.handled}  # noqa: E731
        _until(lambda: set(host_hook.told(told)) <= handled(), "handled, what had been told")
        kept = {text for text, number in sent.items() if number not in hit}
        _until(lambda: kept <= handled(), "handled, what was for the others")
    assert len(hit) == CROWD
    assert not [event for phone, event in events if phone not in hit and event in ("disconnected", "connected")]
    assert max(worker.handled.values()) == 1
    lost = set(sent) - handled()
    print(f"{happens.__name__}: seen after {gone:.1f} s, back after {back:.1f} s, lost {len(lost)} of {len(sent)}")
    assert len(lost) <= CROWD
    assert worker.stop() == 0
