"""From the socket to the handler: whatever is killed, stopped or away, each message is handled, in order."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from support.client_process import ClientProcess
from support.installation import Installation, Worker
from support.pairing import Party, link
from support.waiting import PATIENCE

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.emulator import Emulator

ALICE = "77051234567"
HOUR = 3600
NOTING = """
import os, time
def note(message):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"begun {message.text}\\n")
    time.sleep(float(os.environ["NOTES_SLEEP"]))
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"done {message.text}\\n")
"""


class Noted:
    """A handler that takes a while and notes what it has handled, in a file that outlives every process."""

    def __init__(self, installation: Installation, folder: Path, sleep: float) -> None:
        (folder / "noting.py").write_text(NOTING)
        self.path = folder / "notes"
        self.path.touch()
        self.installation = installation
        self._environment = {"NOTES": str(self.path), "NOTES_SLEEP": str(sleep), "PYTHONPATH": ""}
        path = installation.environment()["PYTHONPATH"]
        self._environment["PYTHONPATH"] = f"{path}{os.pathsep}{folder}"
        self.begun = 0
        self.undeleted = 0  # handled as the worker was killed, and not deleted yet: they come again

    def run(self, *arguments: str) -> Worker:
        """A worker of the phone, with this handler."""
        self.begun += 1
        more = ("--on-message", "noting:note", "--handler-pause", "1s", *arguments)
        return self.installation.run(ALICE, *more, handler=False, **self._environment)

    def done(self) -> list[str]:
        return [line.split()[1] for line in self.path.read_text().splitlines() if line.startswith("done ")]

    def until(self, true: Callable[[list[str]], bool], timeout: float = PATIENCE) -> list[str]:
        deadline = time.monotonic() + timeout
        while not true(done := self.done()):
            assert time.monotonic() < deadline, f"{len(set(done))} handled, at last {done[-1:]}"
            time.sleep(0.05)
        return done


@pytest.fixture
def own_house(emu: Emulator, own_server_url: str) -> Iterator[Installation]:
    installation = Installation(emu, own_server_url)
    yield installation
    installation.close()


def settled(installation: Installation, sent: list[str], noted: Noted, twice: int) -> None:
    """Each handled at least once, few twice, in order, and the inbox empty."""
    done = noted.until(lambda done: set(sent) <= set(done))
    installation.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM wa_sessions.inbox)")
    counts = Counter(noted.done())
    assert sum(count > 1 for text, count in counts.items() if text in set(sent)) <= max(twice, noted.undeleted), counts
    first = [text for number, text in enumerate(done) if text not in done[:number] and text in set(sent)]
    assert all(int(one[1:]) < int(other[1:]) for one, other in pairwise(first)), first


def stood(installation: Installation, noted: Noted, count: int) -> None:
    """Until so many messages are in the inbox or handled."""
    deadline = time.monotonic() + PATIENCE
    while True:
        waiting = {row["text"] for row in installation.sql("SELECT text FROM wa_sessions.inbox")}
        if len(waiting | set(noted.done())) >= count:
            return
        assert time.monotonic() < deadline, f"{len(waiting)} wait, {len(set(noted.done()))} are handled"
        time.sleep(0.02)


def kill_hosts(worker: Worker) -> None:
    for pid in worker.hosts():
        os.kill(pid, signal.SIGKILL)


def kill_handlers(worker: Worker) -> None:
    for pid in worker.handlers():
        os.kill(pid, signal.SIGKILL)


def begun(installation: Installation, peers: ClientProcess, noted: Noted, *arguments: str) -> tuple[Worker, Party]:
    installation.add(ALICE)
    worker = noted.run(*arguments)
    installation.scan(worker, ALICE)
    worker.expect("connected", ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "m-1")
    noted.until(lambda done: done == ["m-1"])
    return worker, bob


FAULTS = ("host", "handler", "worker", "sigterm", "restart", "clean-app-state", "postgres")


def go_wrong(what: str, installation: Installation, noted: Noted, worker: Worker, server: EmbeddedServer) -> Worker:
    """Let it happen; the worker that goes on."""
    since = worker.mark()
    match what:
        case "host":
            kill_hosts(worker)
            worker.expect("connected", ALICE, since=since, timeout=PATIENCE)
        case "handler":
            kill_handlers(worker)
        case "worker":
            worker.kill()
            standing = {row["text"] for row in installation.sql("SELECT text FROM wa_sessions.inbox")}
            noted.undeleted += len(standing & set(noted.done()))
            worker = noted.run()
            worker.expect("connected", ALICE, timeout=PATIENCE)
        case "sigterm":
            assert worker.stop(PATIENCE) == 0
            worker = noted.run()
            worker.expect("connected", ALICE, timeout=PATIENCE)
        case "restart":
            installation.cli("restart", ALICE)
            worker.expect("connected", ALICE, since=since)
        case "clean-app-state":
            installation.cli("clean-app-state", ALICE, "--yes")
        case "postgres":
            server.stop()
            server.ensure_running()
            worker.expect("store_back", since=since, timeout=PATIENCE)
            worker.expect("connected", ALICE, since=since, timeout=PATIENCE)
        case _:
            raise ValueError(what)
    return worker


@pytest.mark.parametrize("sleep", [0.0, 0.2])
@pytest.mark.parametrize("what", FAULTS)
def test_what_stands_in_the_inbox_is_handled(
    what: str, sleep: float, own_house: Installation, own_server: EmbeddedServer, peers: ClientProcess, tmp_path: Path
) -> None:
    noted = Noted(own_house, tmp_path, sleep)
    worker, bob = begun(own_house, peers, noted)
    sent = [f"m{number}" for number in range(24)]
    for text in sent[:16]:
        bob.send_to(ALICE, text)
    stood(own_house, noted, 1 + 16)
    worker = go_wrong(what, own_house, noted, worker, own_server)
    for text in sent[16:]:
        bob.send_to(ALICE, text)
    settled(own_house, sent, noted, twice=2)
    assert not own_house.sql("SELECT 1 FROM wa_sessions.event WHERE kind = 'handler_unfinished'")


def test_a_shutdown_waits_for_no_slow_handler_and_loses_nothing(
    installation: Installation, peers: ClientProcess, tmp_path: Path
) -> None:
    """Nor does a close, a repair, or a restart: they are about the socket alone."""
    noted = Noted(installation, tmp_path, HOUR)
    installation.add(ALICE)
    worker = noted.run("--handlers", "1")
    installation.scan(worker, ALICE)
    worker.expect("connected", ALICE)
    bob = link(installation.emu, peers, "bob")
    sent = [f"m{number}" for number in range(4)]
    for text in sent:
        bob.send_to(ALICE, text)
    stood(installation, noted, len(sent))
    for command in (("clean-app-state", ALICE, "--yes"), ("force-close", ALICE, "--yes"), ("restart", ALICE)):
        installation.cli(*command)
    assert worker.stop(PATIENCE) == 0
    assert [row["text"] for row in installation.sql("SELECT text FROM wa_sessions.inbox ORDER BY id")] == sent
    assert installation.stats(ALICE)["inbox_waiting"] == 4


def test_with_the_inbox_in_memory_what_is_left_is_told(
    installation: Installation, peers: ClientProcess, tmp_path: Path
) -> None:
    noted = Noted(installation, tmp_path, 30)
    installation.add(ALICE)
    worker = noted.run("--handlers", "1", "--inbox", "memory")
    installation.scan(worker, ALICE)
    worker.expect("connected", ALICE)
    bob = link(installation.emu, peers, "bob")
    for text in ("m1", "m2"):
        bob.send_to(ALICE, text)
    installation.emu.wait_delivered(installation.devices[ALICE])
    noted.until(lambda _done: "begun m1" in noted.path.read_text())
    assert worker.stop(PATIENCE) == 0
    assert installation.sql("SELECT 1 FROM wa_sessions.inbox") == []
    [event] = installation.sql("SELECT detail FROM wa_sessions.event WHERE kind = 'handler_unfinished'")
    assert event["detail"]["waiting"] in (1, 2)  # the other may be on its way from its host still


FULL = """
    CREATE FUNCTION public.no_room() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON wa_sessions.inbox EXECUTE FUNCTION public.no_room()
"""


@pytest.mark.parametrize(
    ("wrong", "mended"),
    [
        ("ALTER TABLE wa_sessions.inbox RENAME TO away", "ALTER TABLE wa_sessions.away RENAME TO inbox"),
        (FULL, "DROP FUNCTION public.no_room CASCADE"),
    ],
    ids=["gone", "disk full"],
)
def test_where_the_inbox_alone_cannot_be_written_the_socket_closes_until_it_can(
    wrong: str, mended: str, installation: Installation, peers: ClientProcess, tmp_path: Path
) -> None:
    noted = Noted(installation, tmp_path, 0)
    worker, bob = begun(installation, peers, noted)
    since = worker.mark()
    installation.sql(wrong)
    try:
        bob.send_to(ALICE, "m0")
        worker.expect("inbox_not_written", since=since)
        worker.expect("inbox_stuck", since=since)
        installation.emu.wait_disconnected(installation.devices[ALICE])
        bob.send_to(ALICE, "m1")
    finally:
        installation.sql(mended)
    worker.expect("connected", ALICE, since=since)
    settled(installation, ["m0", "m1"], noted, twice=0)


# --------------------------------------------------------------------------------------------- 300 messages

RUNS = 300


def chaos(
    installation: Installation, server: EmbeddedServer, peers: ClientProcess, noted: Noted, seed: int, *, careful: bool
) -> tuple[list[str], int]:
    """Send while things go wrong; what was sent, and how many processes with messages in them were killed.

    ``careful``: no process is killed while messages are between WhatsApp's acknowledgement and the inbox.
    """
    worker, bob = begun(installation, peers, noted)
    random, sent, kills = Random(seed), [], 0
    due = {random.randrange(20, RUNS - 20): what for what in (*FAULTS, "host", "worker")}
    for number in range(RUNS):
        sent.append(f"m{number}")
        bob.send_to(ALICE, sent[-1])
        what = due.get(number)
        if what is None:
            continue
        if what in ("host", "worker"):
            kills += 1
            if careful:
                stood(installation, noted, 1 + len(sent))
        worker = go_wrong(what, installation, noted, worker, server)
    return sent, kills


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sleep", [0.0, 0.05, 0.2])
def test_300_of_300(
    sleep: float, own_house: Installation, own_server: EmbeddedServer, peers: ClientProcess, tmp_path: Path
) -> None:
    noted = Noted(own_house, tmp_path, sleep)
    sent, _ = chaos(own_house, own_server, peers, noted, 7, careful=True)
    noted.until(lambda done: set(sent) <= set(done), 180)
    settled(own_house, sent, noted, twice=2 * len(FAULTS) + 4)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_lost_between_the_acknowledgement_and_the_inbox(
    seed: int, own_house: Installation, own_server: EmbeddedServer, peers: ClientProcess, tmp_path: Path
) -> None:
    """Killed at any moment: docs/explanation/delivery.md says how much."""
    noted = Noted(own_house, tmp_path, 0.05)
    sent, kills = chaos(own_house, own_server, peers, noted, seed, careful=False)
    own_house.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM wa_sessions.inbox)", timeout=120)
    lost = set(sent) - set(noted.done())
    print(f"seed {seed}: {kills} kills, {len(lost)} of {RUNS} lost: {sorted(lost)}")
    assert len(lost) <= 2 * kills
