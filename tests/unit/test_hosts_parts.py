"""The parts of session hosts that need no process: log lines and their events, the gate, the pulse, environments."""

import os
import threading
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.client import LINE_SIZE, HostExit, _Lines, host_environment
from wa_sessions.worker.hosts.failed_copies import FailedCopies
from wa_sessions.worker.hosts.gate import PATIENCE, MapGate
from wa_sessions.worker.hosts.host import STARTS_LIMIT, Client, Host
from wa_sessions.worker.hosts.main import HostProgram
from wa_sessions.worker.hosts.pool import HostPool, _alone
from wa_sessions.worker.hosts.sockets import StoreAddress, _address, store_address
from wa_sessions.worker.hosts.watch import FIRST_LOOKS, SILENT_LOOKS, STOPPED_LOOKS, Pulse

# ----------------------------------------------------------------------------------------- log lines and events

BOB, CAROL = "111:5@lid in 111@lid", "222:7@lid in 222@lid"


def _line(message_id: str, source: str, why: str) -> str:
    return f"Error decrypting message {message_id} from {source}: {why}"


def test_a_reason_is_found_by_the_id_of_the_event() -> None:
    copies = FailedCopies()
    copies.line(_line("A", BOB, "no valid sessions"))
    assert copies.event("A", BOB) == "no valid sessions"
    assert copies.event("A", BOB) is None


@pytest.mark.parametrize(
    "crafted",
    [
        f"A from {CAROL}: failed to load session with x: connection refused",
        f"A from {BOB}: no valid sessions",
        "A from ",
        "A",
    ],
)
def test_a_crafted_id_gives_no_other_message_a_reason(crafted: str) -> None:
    copies = FailedCopies()
    copies.line(_line(crafted, BOB, "of bob"))
    copies.line(_line("A", CAROL, "of carol"))
    assert copies.event("A", CAROL) == "of carol"
    assert copies.event("A", CAROL) is None
    assert copies.event(crafted, BOB) == "of bob"


IDS = st.sampled_from(["A", "B", f"A from {BOB}: x", f"B from {CAROL}", "A from ", ""]) | st.text(max_size=5)


@given(st.lists(st.tuples(IDS, st.sampled_from([BOB, CAROL]), st.text(max_size=8)), max_size=20))
def test_each_event_gets_its_own_line_in_order(copies_: list[tuple[str, str, str]]) -> None:
    """Whatever ids strangers make: an event that has a line of its own gets a rest of a line, and its sender's."""
    copies = FailedCopies()
    for message_id, source, why in copies_:
        copies.line(_line(message_id, source, why))
        assert copies.event(message_id, source) == why


@given(st.lists(st.tuples(IDS, st.sampled_from([BOB, CAROL])), max_size=10), IDS)
def test_only_what_failed_is_asked_for_no_more(failed: list[tuple[str, str]], said: str) -> None:
    copies = FailedCopies()
    for message_id, source in failed:
        copies.line(_line(message_id, source, "x"))
        copies.event(message_id, source)
    told = copies.line(f"Not sending any more retry receipts for {said}")
    assert told == ([said] if said in {message_id for message_id, _ in failed} else [])


def test_the_last_words_about_a_message_come_after_its_copies() -> None:
    copies = FailedCopies()
    copies.line(_line("A", BOB, "x"))
    assert copies.line("Not sending any more retry receipts for A") == []
    assert copies.event("A", BOB) == "x"
    assert copies.after_event() == ["A"]
    assert copies.after_event() == []


@given(IDS, IDS)
def test_two_messages_keep_their_reasons_whichever_event_comes_first(one: str, other: str) -> None:
    copies = FailedCopies()
    copies.line(_line(one, BOB, "of bob"))
    copies.line(_line(other, CAROL, "of carol"))
    assert copies.event(other, CAROL) == "of carol"
    assert copies.event(one, BOB) == "of bob"


def test_a_long_id_costs_no_time() -> None:
    copies, began = FailedCopies(), time.monotonic()
    for filler in (" from @", "@", " from x@y in ", ": "):
        message_id = "A from " + filler * (900_000 // len(filler))
        copies.line(_line(message_id, BOB, "x"))
        assert copies.event(message_id, BOB) == "x"
        copies.line(_line(message_id, BOB, "x"))
        assert copies.event("A", CAROL) is None
    assert time.monotonic() - began < 60


def test_lines_without_an_event_do_not_pile_up() -> None:
    copies = FailedCopies()
    for number in range(3_000):
        copies.line(_line(f"{number}" * 5_000, BOB, "x"))
    assert copies._size <= 4 << 20
    assert len(copies._lines) <= 200


# ------------------------------------------------------------------------------------------------------ the gate


def test_starts_and_stops_are_never_inside_together_nor_with_looks() -> None:
    gate, counting, inside, worst = MapGate(), threading.Lock(), Counter[str](), []

    def enter(kind: str) -> None:
        with getattr(gate, kind)():
            with counting:
                inside[kind] += 1
                worst.append(dict(inside))
            time.sleep(0.001)
            with counting:
                inside[kind] -= 1

    def work(kind: str) -> None:
        for _ in range(30):
            enter(kind)

    threads = [threading.Thread(target=work, args=(kind,)) for kind in ("starting", "stopping", "looking", "looking")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writers = [seen.get("starting", 0) + seen.get("stopping", 0) for seen in worst]
    assert max(writers) == 1
    assert not [seen for seen, count in zip(worst, writers, strict=True) if count and seen.get("looking")]


def test_a_start_that_hangs_does_not_keep_out_those_who_end_something() -> None:
    gate, entered, done = MapGate(), threading.Event(), threading.Event()

    def hang() -> None:
        with gate.starting():
            entered.set()
            done.wait(120)

    thread = threading.Thread(target=hang)
    thread.start()
    entered.wait()
    began = time.monotonic()
    with gate.looking(), gate.stopping():
        assert PATIENCE * 0.8 < time.monotonic() - began < 100
    assert not done.is_set()
    done.set()
    thread.join()


# ------------------------------------------------------------------------------------------------- signs of life


class Life(RuleBasedStateMachine):
    """A host is ended when it was silent or stopped for long enough, and never before."""

    def __init__(self) -> None:
        super().__init__()
        self.pulse, self.silent, self.stopped, self.beaten = Pulse(), 0, 0, False

    @rule()
    def beat(self) -> None:
        self.pulse.beat()
        self.silent, self.beaten = 0, True

    @rule(state=st.sampled_from(["S", "R", "D", "T", "t", None]), times=st.integers(1, 30))
    def look(self, state: str | None, times: int) -> None:
        for _ in range(times):
            self.silent += 1
            self.stopped = self.stopped + 1 if state == "T" else 0
            limit = SILENT_LOOKS if self.beaten else FIRST_LOOKS
            assert bool(self.pulse.look(state)) is (self.stopped >= STOPPED_LOOKS or self.silent >= limit)


TestLife = Life.TestCase


# ------------------------------------------------------------------------------------------------- environments


@given(st.dictionaries(st.text(min_size=1, max_size=12), st.text(max_size=20), max_size=8))
def test_of_an_environment_only_known_names_are_kept(environment: dict[str, str]) -> None:
    kept = host_environment(environment | {"PATH": "/bin", "PGPASSWORD": "x", "DATABASE_URL": "x", "MY_TOKEN": "x"})
    assert kept["PATH"] == "/bin"
    assert not {"PGPASSWORD", "DATABASE_URL", "MY_TOKEN"} & kept.keys()


def test_what_leads_into_the_network_is_kept() -> None:
    environment = dict.fromkeys(
        ("HTTPS_PROXY", "http_proxy", "no_proxy", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "LC_ALL", "GOGC", "TZ"),
        "x",
    )
    assert host_environment(environment) == environment


@pytest.mark.parametrize(
    ("path", "kept"),
    [("", None), (":", None), (".:lib:../x", None), ("/a::/b:.", "/a:/b"), ("/a", "/a")],
)
def test_of_pythonpath_nothing_relative_is_kept(path: str, kept: str | None) -> None:
    assert host_environment({"PYTHONPATH": path}).get("PYTHONPATH") == kept


# ------------------------------------------------------------------------------------------------- lines of a pipe


@given(st.binary(max_size=200), st.lists(st.integers(1, 30), max_size=30))
def test_lines_are_found_however_they_are_cut(data: bytes, sizes: list[int]) -> None:
    lines: list[bytes] = []
    reader = _Lines(1 << 20, lines.append, lambda: None)
    at = 0
    for size in sizes:
        reader.data_received(data[at : at + size])
        at += size
    reader.data_received(data[at:])
    assert lines == data.split(b"\n")[:-1]


def test_a_line_that_is_too_long_is_dropped_and_the_next_is_read() -> None:
    lines: list[bytes] = []
    dropped: list[int] = []
    reader = _Lines(10, lines.append, lambda: dropped.append(1))
    reader.data_received(b"x" * 1_000_000)
    reader.data_received(b"y\nnext\n")
    assert (lines, dropped) == ([b"next"], [1])


def test_a_line_of_stderr_is_cut() -> None:
    lines: list[bytes] = []
    reader = _Lines(LINE_SIZE, lines.append, lambda: None, cut=True)
    for _ in range(3_000):
        reader.data_received(b"z" * 1_000)
    reader.eof_received()
    assert [len(line) for line in lines] == [LINE_SIZE]


@pytest.mark.parametrize(
    ("ended", "reason", "lease"),
    [
        (HostExit(75), "its lease ran out", True),
        (HostExit(-14), "its lease ran out", True),
        (HostExit(-9, None, "some warning"), "its process was killed by SIGKILL", False),
        (HostExit(-6, "panic: x", "goroutine 1"), "its process crashed: panic: x", False),
        (HostExit(1, None, "ImportError: y"), "its process ended: ImportError: y", False),
        (HostExit(3), "its process ended: exit status 3", False),
    ],
)
def test_how_a_host_ended_is_said(ended: HostExit, reason: str, lease: bool) -> None:
    assert (ended.reason, ended.lease_ran_out) == (reason, lease)


def test_who_was_in_too_many_crashed_hosts_is_named() -> None:
    assert _alone(frozenset()) == ""
    assert _alone({7, 3}) == "; in 3 such hosts, and in one of its own from now on: #3, #7"


# ------------------------------------------------------------------------------------------------------- sockets


@pytest.mark.parametrize(
    ("url", "address", "port", "is_store"),
    [
        ("postgres://u@/d?host=/run/pg&port=5432", "127.0.0.1", 5432, False),
        ("postgres://u:p@127.0.0.1:6432/d", "127.0.0.1", 6432, True),
        ("postgres://u:p@127.0.0.1:6432/d", "10.0.0.1", 6432, False),
        ("postgres://u:p@127.0.0.1:6432/d", "127.0.0.1", 443, False),
        ("postgres://u:p@db.example:5433/d?sslmode=require", "10.1.2.3", 5433, True),
        ("postgres://u:p@db.example/d", "10.1.2.3", 5432, True),
        ("postgres://u:p@[::1]:5433/d", "::1", 5433, True),
        ("postgres://u@/d?host=10.0.0.9&port=7000", "10.0.0.9", 7000, True),
    ],
)
def test_the_stores_own_connections_are_known(url: str, address: str, port: int, is_store: bool) -> None:
    assert store_address(url).is_at(address, port) is is_store


@pytest.mark.parametrize(
    ("address", "port", "is_store"),
    [("10.0.0.1", 6000, True), ("10.0.0.2", 5432, True), ("10.0.0.3", 6000, False), ("10.0.0.1", 443, False)],
)
def test_a_store_may_have_several_servers(address: str, port: int, is_store: bool) -> None:
    store = store_address("postgres://u:p@10.0.0.1:6000,10.0.0.2/d?sslmode=disable")
    assert store.is_at(address, port) is is_store


def test_no_store_no_address() -> None:
    assert not StoreAddress(frozenset(), frozenset()).is_at("127.0.0.1", 5432)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000000000000000000001000000", "::1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_the_kernels_addresses_are_read(written: str, address: str) -> None:
    assert _address(written) == address


def test_a_host_whose_store_is_on_another_server_by_now_is_replaced() -> None:
    """A switchover so quick that no socket was closed for it: its clients have the address of the old primary."""
    pool = HostPool("first", 25, deliver=False)
    host = Host(1, pool, pairs=False, lease=None)
    host.clients[1] = Client(1, 7, lambda _: None, "first")
    assert host.worn_out("first") is None
    assert host.worn_out("second") == "the key store is on another server by now"


def test_a_host_of_many_sessions_is_not_worn_out_by_their_first_starts() -> None:
    """One of 150 was replaced as soon as all had begun, and so was the next one, for ever."""
    host = Host(1, HostPool("store", 150, deliver=False), pairs=False, lease=None)
    for number in range(150):
        host.clients[number] = Client(number, number, lambda _: None, "store")
        host.on_frame(protocol.Starting(number))
    assert host.worn_out("store") is None
    for number in range(STARTS_LIMIT + 1):
        host.on_frame(protocol.Starting(number))
    assert host.worn_out("store") == "it has started 251 clients"


# ----------------------------------------------------------------------------------------------------- requests


class Confused:
    """A client with a fault of its own, of a kind that looks like a client that is not there."""

    def send_text(self, _to: str, _text: str) -> str:
        raise KeyError("x")


def test_a_request_to_a_session_that_has_ended_is_told_from_one_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wa_sessions.worker.hosts.main.Deadline", object)  # it would end this process in a minute
    read_end, write_end = os.pipe()
    host = HostProgram(write_end)
    host._clients[1] = Confused()  # type: ignore[assignment]
    with os.fdopen(read_end, "rb") as frames:
        for client, error in ((1, "KeyError: 'x'"), (2, "the session has ended")):
            host._answer(protocol.SendText(client, 7, "1", "hello"))
            assert protocol.decode(frames.readline()) == protocol.Answer(7, error=error)
    os.close(write_end)
