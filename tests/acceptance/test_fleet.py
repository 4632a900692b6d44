"""Many sessions in few processes, all of which talk: what a process that crashes, hangs or is killed takes with it."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import host_hook
import pytest
from bench_support import Line, Peer, Peers, Process, Role, Stage, Worker, look_at_children
from support import warm

from wa_sessions.db.leases import announce
from wa_sessions.emulator import overlapping

NUMBERS = tuple(str(77_053_000_001 + n) for n in range(50))
CROWD = 25  # sessions of the host that something happens to
PATIENCE = 120.0
PAUSE = 0.1  # seconds between two messages of a talker

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
    from wa_sessions.worker.hosts import protocol

    encode, decode, doomed = protocol.encode, protocol.decode, set()

    def decode_and_note(line):
        frame = decode(line)
        if isinstance(frame, protocol.StartClient) and frame.device == {device!r}:
            doomed.add(frame.client)
        return frame

    def encode_and_crash(frame):
        if isinstance(frame, protocol.{when}) and frame.client in doomed:
            threading.Timer({after}, os.abort).start()
        return encode(frame)

    protocol.encode, protocol.decode = encode_and_crash, decode_and_note
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Phones whose keys are in the store; each test has a worker of its own."""
    with (
        pytest.MonkeyPatch.context() as patch,
        Stage(max_connections="300", fsync="off", synchronous_commit="off", full_page_writes="off") as stage,
    ):
        patch.setattr("bench_support.subprocess", warm)
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
                if over.wait(PAUSE):
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
                thread.join(PATIENCE)


def _until(is_so: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < timeout, f"not {what} after {timeout:g} s"
        time.sleep(0.02)


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
    worker = _connected(stage, numbers, told, CROWD)
    crowded = max(_hosts(worker), key=lambda process: process.threads)
    events: list[tuple[str, str]] = []
    with worker.lines.listening(lambda line: events.append((str(line.get("phone")), str(line.get("event"))))):
        with talkers.talking(numbers) as sent:
            _until(lambda: len(worker.handled) > 60, "talking")
            began = time.monotonic()
            happens(crowded)
            _until(lambda: len(_with(events, "crashed")) >= CROWD, "crashed")
            seen = time.monotonic() - began
            hit = _with(events, "crashed")
            _until(lambda: _with(events, "connected") >= hit, "back")
            back = time.monotonic() - began
        for number in numbers:
            stage.emulator.wait_delivered(stage.devices[number])
        _until(lambda: set(host_hook.told(told)) <= _handled(worker), "all handled that had been told")
        for_others = {text for text, number in sent.items() if number not in hit}
        _until(lambda: for_others <= _handled(worker), "all handled that was for the others")
    lost = sent.keys() - _handled(worker)
    print(f"{happens.__name__}: seen after {seen:.1f} s, back after {back:.1f} s, lost {len(lost)} of {len(sent)}")
    assert len(hit) == CROWD
    assert not [event for phone, event in events if phone not in hit and event in ("disconnected", "connected")]
    assert max(worker.handled.values()) == 1
    assert len(lost) < CROWD  # what WhatsApp was told of and Go had still in hand
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("sessions", "when", "after"),
    [(CROWD + 5, "Starting", 0.01), pytest.param(50, "Connected", 3.0, marks=pytest.mark.long)],
)
def test_a_session_that_brings_every_host_down_is_found_and_set_aside(
    sessions: int, when: str, after: float, stage: Stage, talkers: Talkers, tmp_path: Path
) -> None:
    """Suspected as it was being started just then; where nobody was, by smaller and smaller hosts."""
    numbers = NUMBERS[:sessions]
    stage.pair(*(number for number in numbers if number not in stage.devices))
    doomed, *others = numbers
    hook = CRASH.format(device=str(stage.devices[doomed].jid), when=when, after=after)
    told = host_hook.install(tmp_path / "told", hook)
    worker = stage.run(*numbers, "--sessions-per-host", str(CROWD), python_path=(told,))
    crashes: list[Line] = []
    with worker.lines.listening(lambda line: crashes.append(line) if line.get("event") == "host_crashed" else None):
        with worker.expecting("set_aside", doomed) as found:
            found.wait(120)
        assert crashes[-1]["set_aside"] == crashes[-1]["phone_ids"]
        assert len(crashes[-1]["phone_ids"]) == 1
        assert any(crashes[-1]["set_aside"][0] in line["suspects"] for line in crashes)
        assert worker.counts["set_aside"] == 1
    for number in others:
        stage.emulator.wait_connected(stage.devices[number], PATIENCE)
    with talkers.talking(tuple(others)) as sent:
        _until(lambda: len(set(sent.values())) == len(others), "written to all")
    _until(lambda: sent.keys() <= _handled(worker), "handled by all")
    assert not stage.emulator.connected(stage.devices[doomed])
    print(f"{len(crashes)} crashes, of hosts with {[len(line['phone_ids']) for line in crashes]} sessions")
    assert worker.stop() == 0


def test_a_host_a_session_is_isolation(stage: Stage, tmp_path: Path) -> None:
    numbers = NUMBERS[:2]
    worker = _connected(stage, numbers, tmp_path, 1)
    first, second = _hosts(worker)
    with worker.lines.expecting(lambda line: line.get("event") == "crashed", "a crash") as crashed:
        _kill(first)
        hit = crashed.wait()["phone"]
    since = worker.counts["connected"]
    _until(lambda: worker.counts["connected"] > since, "back")
    assert second.pid in {process.pid for process in _hosts(worker)}
    assert worker.counts["disconnected"] == 0
    assert worker.counts["connected"] == 3
    assert hit in numbers
    assert worker.stop() == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_another_worker_goes_on_with_the_sessions_of_one_that_ends(
    how: signal.Signals, stage: Stage, talkers: Talkers
) -> None:
    numbers = tuple(stage.devices)
    first = stage.run()
    for number in numbers:
        stage.emulator.wait_connected(stage.devices[number], PATIENCE)
    second = stage.run()
    with second.lines.expecting(lambda line: line.get("event") == "standing_by", "standing by") as stands_by:
        stands_by.wait()
    with talkers.talking(numbers) as sent:
        _until(lambda: len(first.handled) > 60, "talking")
        with stage.all_connected(second, numbers) as until_connected:
            began = time.monotonic()
            first.process.send_signal(how)
            until_connected()
            taken_over = time.monotonic() - began
        _until(lambda: len(second.handled) > 60, "talking")
    for number in numbers:
        stage.emulator.wait_delivered(stage.devices[number])
    _until(lambda: len(sent.keys() - _handled(first) - _handled(second)) < CROWD, "all handled")
    if how is signal.SIGTERM:
        _until(lambda: sent.keys() <= _handled(first) | _handled(second), "every one handled")
    lost = sent.keys() - _handled(first) - _handled(second)
    twice = [text for text, times in (first.handled + second.handled).items() if times > 1]
    print(f"{how.name}: {len(numbers)} sessions taken over after {taken_over:.1f} s, lost {len(lost)} of {len(sent)}")
    assert len(lost) < CROWD  # after SIGKILL: what WhatsApp was told of and did not stand in the inbox yet
    assert len(twice) <= CROWD
    assert first.process.wait(PATIENCE) == (0 if how is signal.SIGTERM else -how)
    assert second.stop() == 0


def test_a_number_whose_row_is_made_anew_has_one_open_session(stage: Stage) -> None:
    """Another worker sees the new row, while the one that runs the old row is stopped and its socket is open."""
    number = NUMBERS[0]
    device = stage.devices[number]
    numbers = tuple(stage.devices)
    lease = ("--lease", "20s")
    first = stage.run(*lease)
    for each in numbers:
        stage.emulator.wait_connected(stage.devices[each], PATIENCE)
    second = stage.run(*lease)
    with second.lines.expecting(lambda line: line.get("event") == "standing_by", "standing by") as stands_by:
        stands_by.wait()
    since, answers = len(stage.emulator.logins), ("taken", "owned_by_another")
    with second.lines.expecting(lambda line: line.get("event") in answers, "an answer") as answered:
        first.process.send_signal(signal.SIGSTOP)
        _make_anew(stage, number)
        _until(lambda: _tell_all(stage) or answered.line is not None, "answered")
        assert answered.wait()["event"] == "owned_by_another", "its socket is open"
        assert stage.emulator.connected(device)
        first.process.send_signal(signal.SIGCONT)
    _until(lambda: len(stage.emulator.logins) > since, "begun anew")
    stage.emulator.wait_connected(device, PATIENCE)
    assert overlapping(stage.emulator.logins[since - len(numbers) :]) == []
    assert [worker.counts["replaced"] for worker in (first, second)] == [0, 0]
    assert [worker.stop() for worker in (second, first)] == [0, 0]


def _make_anew(stage: Stage, number: str) -> None:
    """As a backend does that knows nothing of wa-sessions."""
    columns = '"organizationId", "phoneJid", "displayName", "status", "connectionType", "updatedAt"'
    statement = f"""WITH gone AS (
                        DELETE FROM public."OrganizationPhone" WHERE "phoneJid" LIKE %s RETURNING {columns}
                    )
                    INSERT INTO public."OrganizationPhone" ({columns}) SELECT * FROM gone"""
    with stage.opened.database.transaction() as conn:
        conn.execute(statement.encode(), (f"{number}%",))


def _tell_all(stage: Stage) -> bool:
    with stage.opened.database.transaction() as conn:
        announce(conn)
    return False


def _connected(stage: Stage, numbers: tuple[str, ...], hook: Path, per_host: int) -> Worker:
    worker = stage.run(*numbers, "--sessions-per-host", str(per_host), python_path=(hook,))
    with stage.all_connected(worker, numbers) as until_connected:
        until_connected()
    return worker


def _with(events: list[tuple[str, str]], wanted: str) -> set[str]:
    """The phones that had this event."""
    return {phone for phone, event in tuple(events) if event == wanted}


def _handled(worker: Worker) -> set[str]:
    return {text.partition(": ")[2] for text in tuple(worker.handled)}
