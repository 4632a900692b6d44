"""Session hosts with real clients: what one process carries, what it loses, and what it cannot be made to do."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from support.black_hole import black_hole
from support.client_process import ClientProcess
from support.hosts import Hosts, environment_of, paired, store_of, use_environment
from support.pairing import Party, link
from support.relay import Relay
from support.waiting import PATIENCE

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target
from wa_sessions.emulator import Device, Emulator, Node
from wa_sessions.emulator.network import Course
from wa_sessions.health.classify import Cause
from wa_sessions.worker.hosts import host, pool, protocol, watch
from wa_sessions.worker.hosts.deadline import now
from wa_sessions.worker.ports import ClientLost, MoveAsked, RequestAnswered

HELD = 60  # seconds
HOLD_THE_GIL = f"""
import ctypes, signal
signal.signal(signal.SIGUSR1, lambda *_: ctypes.PyDLL(None).sleep({HELD}))
"""
TURN = 60.0  # seconds
LONG_TURNS = f"""
import threading
wait = threading.Event.wait
threading.Event.wait = lambda event, timeout=None: wait(event, {TURN} if timeout == 5.0 else timeout)
"""
"""A start keeps others waiting for a minute, and not for ``START_TURN``: so a busy machine is not taken for that."""


@pytest.fixture
def store(database: Database, target: Target) -> str:
    return store_of(database, target)


@pytest.fixture
def hosts(emu: Emulator, store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    use_environment(monkeypatch, emu)
    with Hosts(store) as hosts:
        yield hosts


@pytest.fixture
def pairs_of_hosts(emu: Emulator, store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """Two sessions a host."""
    use_environment(monkeypatch, emu)
    with Hosts(store, 2) as hosts:
        yield hosts


@pytest.fixture
def holdable(emu: Emulator, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hosts]:
    """Hosts whose GIL SIGUSR1 holds for a minute."""
    use_environment(monkeypatch, emu)
    _customize(monkeypatch, tmp_path / "held", HOLD_THE_GIL)
    with Hosts(store, 2) as hosts:
        yield hosts


def _customize(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str) -> None:
    """Hosts run this before anything else."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{folder}")


def test_25_sessions_share_a_process_and_get_their_own_messages(
    emu: Emulator, store: str, hosts: Hosts, peers: ClientProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "EMPTY_TIMEOUT", 1.0)
    ours = paired(emu, store, 25, tmp_path)
    clients = hosts.start(*ours)
    assert len(hosts.pids()) == 1
    peer = link(emu, peers, "peer")
    for party in ours:
        peer.send(party, f"to {party.number}")
    for client, party in zip(clients, ours, strict=True):
        hosts.message(client, f"to {party.number}")
        assert hosts.texts(client) == [f"to {party.number}"]
    since = hosts.told.mark()
    hosts.close(*clients)
    for client in clients:
        assert isinstance(hosts.ended(client, since=since).event, protocol.Stopped)
    hosts.until(lambda: not hosts.pids())


def test_a_failed_message_is_told_by_the_session_that_it_was_for(
    emu: Emulator, store: str, hosts: Hosts, peers: ClientProcess, tmp_path: Path
) -> None:
    ours = paired(emu, store, 6, tmp_path)
    clients = hosts.start(*ours)
    peer = link(emu, peers, "peer")
    for client, party in zip(clients, ours, strict=True):
        peer.send(party, "hello")
        hosts.message(client, "hello")
    damaged = ours[::2]
    for party in damaged:
        emu.damage_messages(party.phone, count=3, first_copies=True)
    for number in range(3):  # without a pause, a sender's retry and its next message take one index
        for party in ours:
            peer.send(party, f"{number} to {party.number}")
        for client, party in zip(clients, ours, strict=True):
            hosts.message(client, f"{number} to {party.number}")
    for client, party in zip(clients, ours, strict=True):
        failed = [event for event in hosts.events(client) if isinstance(event, protocol.Undecrypted)]
        assert bool(failed) is (party in damaged)
        assert all(event.cause is Cause.BAD_MAC and event.sender.startswith(peer.phone.lid) for event in failed)
        decrypted = {event.message_id for event in hosts.events(client) if isinstance(event, protocol.Decrypted)}
        assert {event.message_id for event in failed} <= decrypted


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_host_that_ends_or_hangs_loses_its_own_clients_alone(
    how: signal.Signals, emu: Emulator, store: str, pairs_of_hosts: Hosts, peers: ClientProcess, tmp_path: Path
) -> None:
    hosts, ours = pairs_of_hosts, paired(emu, store, 4, tmp_path)
    clients = hosts.start(*ours)
    peer = link(emu, peers, "peer")
    pid, since = hosts.pid_of(ours[0]), hosts.told.mark()
    os.kill(pid, how)
    for client in clients[:2]:
        lost = hosts.ended(client, since=since)
        assert isinstance(lost.event, ClientLost)
        assert not lost.event.lease_ran_out
        assert not lost.event.set_aside
    for party, client in zip(ours[2:], clients[2:], strict=True):
        peer.send(party, "still here")
        hosts.message(client, "still here")
        assert protocol.Disconnected not in {type(event) for event in hosts.events(client)}
    assert hosts.call(hosts.pool.counts).crashes == 1
    again = hosts.start(*ours[:2])
    peer.send(ours[0], "back")
    hosts.message(again[0], "back")


def test_a_panic_of_go_suspects_who_was_being_started(
    emu: Emulator, store: str, hosts: Hosts, database: Database, tmp_path: Path
) -> None:
    ours = paired(emu, store, 3, tmp_path)
    clients = hosts.start(*ours[:2])
    with database.transaction() as conn:
        conn.execute("DELETE FROM whatsmeow.whatsmeow_device WHERE jid = %s", (str(ours[2].device.jid),))
    since = hosts.told.mark()
    bad = hosts.open(int(ours[2].number), str(ours[2].device.jid))
    for client in (*clients, bad):
        lost = hosts.ended(client, since=since).event
        assert isinstance(lost, ClientLost)
        assert "panic" in lost.reason or "SIG" in lost.reason
    hosts.start(*ours[:2])
    for attempt in range(3):
        since = hosts.told.mark()
        last = hosts.ended(hosts.open(int(ours[2].number), str(ours[2].device.jid)), since=since).event
        assert isinstance(last, ClientLost)
        assert last.set_aside is (attempt == 2)
    assert [phones for phones in hosts.pids().values() if phones] == [tuple(sorted(int(o.number) for o in ours[:2]))]


def _held(hosts: Hosts, party: Party) -> float:
    os.kill(hosts.pid_of(party), signal.SIGUSR1)
    return time.monotonic()


def test_a_host_whose_threads_do_not_run_is_ended(
    emu: Emulator, store: str, holdable: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENT_LOOKS", 8)
    ours = paired(emu, store, 3, tmp_path)
    clients = holdable.start(*ours)
    began, since = _held(holdable, ours[0]), holdable.told.mark()
    for client in clients[:2]:
        lost = holdable.ended(client, since=since, timeout=PATIENCE)
        assert isinstance(lost.event, ClientLost)
        assert "no sign of life" in lost.event.reason
        assert 3 < lost.at - began < HELD
    assert not holdable.events(clients[2], since=since)


def test_whatever_a_host_does_a_session_is_ended_before_it_is_done(
    emu: Emulator, store: str, holdable: Hosts, tmp_path: Path
) -> None:
    ours = paired(emu, store, 2, tmp_path)
    clients = holdable.start(*ours)
    _held(holdable, ours[0])
    holdable.call(holdable.pool.send_text, clients[0], 5, ours[1].number, "no answer comes")
    began = time.monotonic()
    holdable.close(clients[0])
    assert holdable.ended(clients[0]).at - began < HELD
    last = [event for event in holdable.events(clients[0]) if isinstance(event, RequestAnswered | ClientLost)]
    assert [type(event) for event in last] == [RequestAnswered, ClientLost]
    assert isinstance(holdable.ended(clients[1]).event, ClientLost)
    emu.wait_disconnected(ours[0].device)
    assert holdable.call(holdable.pool.counts).crashes == 0


@pytest.mark.parametrize("held", [False, True])
def test_a_host_ends_by_itself_when_its_lease_runs_out(
    held: bool, emu: Emulator, store: str, holdable: Hosts, tmp_path: Path
) -> None:
    (party,) = paired(emu, store, 1, tmp_path)
    (client,) = holdable.start(party)
    began = time.monotonic()
    holdable.call(holdable.pool.extend_lease, now() + 2)
    holdable.send(client, "1:x@s.whatsapp.net", "by the answer it knows of its lease")
    if held:
        _held(holdable, party)
    lost = holdable.ended(client)
    assert isinstance(lost.event, ClientLost)
    assert lost.event.lease_ran_out
    assert lost.at - began >= 2
    assert holdable.call(holdable.pool.counts).crashes == 0
    emu.wait_disconnected(party.device)


def _stopped_amid(hosts: Hosts, emu: Emulator, peer: Party, party: Party, rounds: int) -> list[str]:
    """Texts sent while the session ends, each after a rest and some milliseconds."""
    texts, (client,) = [], hosts.start(party)
    for number in range(rounds):
        emu.wait_delivered(party.device)
        time.sleep(0.3)
        texts.append(f"last words {number}")
        sender = threading.Thread(target=peer.send, args=(party, texts[-1]))
        sender.start()
        time.sleep(0.002 + 0.003 * (number % 10))
        hosts.close(client)
        hosts.ended(client)
        sender.join()
        emu.wait_disconnected(party.device)
        (client,) = hosts.start(party)
    emu.wait_delivered(party.device)
    return texts


def _all_texts(hosts: Hosts) -> list[str]:
    events = [told.event for told in hosts.told.since()]
    return [event.message.text for event in events if isinstance(event, protocol.MessageArrived)]


@pytest.mark.parametrize("rounds", [10, pytest.param(40, marks=pytest.mark.long)])
def test_a_stop_after_silence_loses_no_message_that_is_being_decrypted(
    rounds: int, emu: Emulator, store: str, hosts: Hosts, peers: ClientProcess, tmp_path: Path
) -> None:
    (party,) = paired(emu, store, 1, tmp_path)
    peer = link(emu, peers, "peer")
    texts = _stopped_amid(hosts, emu, peer, party, rounds)
    hosts.until(lambda: set(texts) <= set(_all_texts(hosts)))
    assert sorted(texts) == sorted(_all_texts(hosts))


def test_a_connect_that_hangs_is_ended_and_its_neighbour_stays(
    emu: Emulator, store: str, hosts: Hosts, peers: ClientProcess, tmp_path: Path
) -> None:
    ours = paired(emu, store, 2, tmp_path)
    (client,) = hosts.start(ours[0])
    peer = link(emu, peers, "peer")
    emu.silent(True)
    hung = hosts.open(int(ours[1].number), str(ours[1].device.jid))
    hosts.expect(hung, protocol.Starting)
    peer_says(hosts, peer, ours[0], client, "while it hangs")
    began = time.monotonic()
    hosts.close(hung)
    assert isinstance(hosts.ended(hung).event, protocol.Stopped)
    assert time.monotonic() - began < 15
    emu.silent(False)
    assert len(hosts.pids()) == 1
    hosts.start(ours[1])
    peer_says(hosts, peer, ours[0], client, "after it hung")
    assert protocol.Disconnected not in {type(event) for event in hosts.events(client)}


def peer_says(hosts: Hosts, peer: Party, party: Party, client: int, text: str) -> None:
    peer.send(party, text)
    hosts.message(client, text)


def test_a_hung_connect_is_cut_and_the_stores_connections_are_not(
    emu: Emulator, database: Database, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_environment(monkeypatch, emu)
    name = conninfo_to_dict(database.target.conninfo)["dbname"]
    with Relay(server.socket_dir) as relay:
        over_tcp = Target(f"postgresql://postgres@127.0.0.1:{relay.port}/{name}", None, "test")
        with Database.open(over_tcp) as opened:
            store = store_of(opened, over_tcp)
        ours = paired(emu, store, 2, tmp_path)
        with Hosts(store) as hosts:
            emu.silent(True)
            hung = hosts.open(int(ours[1].number), str(ours[1].device.jid))
            hosts.expect(hung, protocol.Starting)
            (pid,) = hosts.pids()
            hosts.until(lambda: len(_connections(pid, relay.port)) >= 1)
            before = _connections(pid, relay.port)
            hosts.close(hung)
            assert isinstance(hosts.ended(hung).event, protocol.Stopped)
            assert before <= _connections(pid, relay.port)


def _connections(pid: int, port: int) -> set[str]:
    """The inodes of a process's connections to a port of this machine that stand."""
    open_ = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            open_.add(descriptor.readlink().name)
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {
        row[9] for row in rows if row[2] == f"0100007F:{port:04X}" and row[3] == "01" and f"socket:[{row[9]}]" in open_
    }


@pytest.mark.parametrize("end", ["close", "drop"])
def test_a_session_in_a_black_hole_ends_within_seven_seconds(
    end: str, emu: Emulator, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_environment(monkeypatch, emu)
    ours = paired(emu, store, 3, tmp_path)
    with black_hole(int(os.environ["HTTPS_PROXY"].rpartition(":")[2])) as hole:
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{hole.port}")
        with Hosts(store) as hosts:
            clients = hosts.start(*ours)
            with hole.open():
                began = time.monotonic()
                for client in clients[:2]:
                    hosts.call(getattr(hosts.pool, end), client)
                for client in clients[:2]:
                    assert hosts.ended(client).at - began < 15
            hosts.expect(hosts.start(ours[0])[0], protocol.Connected)


def test_a_drop_in_the_midst_of_a_hung_start_does_not_wait_for_it(
    emu: Emulator, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_environment(monkeypatch, emu)
    _customize(monkeypatch, tmp_path / "long", LONG_TURNS)
    ours = paired(emu, store, 2, tmp_path)
    with Hosts(store) as hosts:
        (client,) = hosts.start(ours[0])
        emu.silent(True)
        hung = hosts.open(int(ours[1].number), str(ours[1].device.jid))
        hosts.expect(hung, protocol.Starting)
        began = time.monotonic()
        hosts.call(hosts.pool.drop, client)
        emu.wait_disconnected(ours[0].device)
        assert time.monotonic() - began < TURN
        assert isinstance(hosts.ended(client).event, protocol.Stopped)


def test_the_end_of_all_hosts_tells_everything(
    emu: Emulator, store: str, pairs_of_hosts: Hosts, peers: ClientProcess, tmp_path: Path
) -> None:
    hosts, ours = pairs_of_hosts, paired(emu, store, 3, tmp_path)
    clients = hosts.start(*ours)
    peer = link(emu, peers, "peer")
    for number in range(20):
        for party in ours:
            peer.send(party, f"{number}")
    hosts.run(hosts.pool.end(5))
    for client, party in zip(clients, ours, strict=True):
        assert isinstance(hosts.ended(client).event, ClientLost)
        assert len(hosts.texts(client)) + emu.queued(party.device) >= 20  # one that was told may be queued still
    late = hosts.open(1, str(ours[0].device.jid))
    assert isinstance(hosts.ended(late).event, ClientLost)


def test_a_pairing_stays_where_it_was_until_it_has_settled(
    emu: Emulator, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "SETTLE_TIME", 3.0)
    phone = emu.add_phone("77050009901", "new")
    client = hosts.open(1, None)
    code = hosts.expect(client, protocol.QrCode).code
    device = emu.scan(code, phone)
    assert hosts.expect(client, protocol.Paired).jid == str(device.jid)
    hosts.expect(client, protocol.Connected)
    began, (pid,) = time.monotonic(), hosts.pids()
    hosts.expect(client, MoveAsked, timeout=PATIENCE)
    assert time.monotonic() - began > 2.9
    hosts.close(client)
    assert isinstance(hosts.ended(client).event, protocol.Stopped)
    again = hosts.open(1, str(device.jid))
    hosts.expect(again, protocol.Connected)
    hosts.until(lambda: pid not in hosts.pids())
    assert len(hosts.pids()) == 1


def test_a_pairing_that_nobody_scans_is_ended_with_its_host(hosts: Hosts) -> None:
    clients = [hosts.open(phone, None) for phone in (1, 2)]
    for client in clients:
        hosts.expect(client, protocol.QrCode)
    assert len(hosts.pids()) == 2
    began = time.monotonic()
    hosts.close(*clients)
    for client in clients:
        assert isinstance(hosts.ended(client).event, protocol.Stopped)
    assert time.monotonic() - began < 30
    hosts.until(lambda: not hosts.pids())


def test_requests_are_answered_before_the_end(
    emu: Emulator, store: str, hosts: Hosts, peers: ClientProcess, tmp_path: Path
) -> None:
    (party,) = paired(emu, store, 1, tmp_path)
    (client,) = hosts.start(party)
    peer = link(emu, peers, "peer")
    sent = hosts.send(client, peer.number, "from a host")
    assert sent.error is None
    assert sent.result
    peer.gets("from a host")
    assert "ValueError" in str(hosts.send(client, "1:x@s.whatsapp.net", "nowhere").error)
    hosts.call(hosts.pool.unlink, client, 1)
    hosts.expect(client, RequestAnswered, request=1)
    hosts.close(client)
    assert isinstance(hosts.ended(client).event, protocol.Stopped)


def test_a_worn_out_host_is_emptied_one_session_at_a_time(
    emu: Emulator, store: str, hosts: Hosts, peers: ClientProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "REVIEW_INTERVAL", 0.5)
    ours = paired(emu, store, 2, tmp_path)
    clients = hosts.start(*ours)
    old = hosts.pid_of(ours[0])
    monkeypatch.setattr(host, "STARTS_LIMIT", -1)
    hosts.until(lambda: any(one.retiring for one in hosts.call(lambda: list(hosts.pool._hosts.values()))))
    monkeypatch.undo()
    use_environment(monkeypatch, emu)
    monkeypatch.setattr(host, "MOVE_INTERVAL", 1.0)
    moved = []
    for _ in ours:
        asked = hosts.told.wait(lambda told: isinstance(told.event, MoveAsked) and told.client not in moved)
        moved.append(asked.client)
        hosts.close(asked.client)
        assert isinstance(hosts.ended(asked.client).event, protocol.Stopped)
        hosts.start(ours[clients.index(asked.client)])
    assert sorted(moved) == sorted(clients)
    hosts.until(lambda: old not in hosts.pids())
    assert len(hosts.pids()) == 1


@pytest.mark.long
def test_starts_stops_and_sends_at_once_do_not_end_a_host(
    emu: Emulator, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the gate such a host was dead within 9 s, three times of three."""
    use_environment(monkeypatch, emu)
    ours = paired(emu, store, 8, tmp_path)
    with Hosts(store.replace("timeout=60000", "timeout=2000")) as hosts:  # each restart leaves two connections behind
        _churn(hosts, ours)


def _churn(hosts: Hosts, ours: list[Party]) -> None:
    clients = hosts.start(*ours)
    end, sent = time.monotonic() + 40, Counter[str]()

    def send(number: int) -> None:
        while time.monotonic() < end:
            since = hosts.told.mark()
            hosts.call(hosts.pool.send_text, clients[number], since, ours[(number + 1) % 5].number, "hi")
            answer = hosts.expect(clients[number], RequestAnswered, request=since)
            sent["failed" if answer.error else "sent"] += 1

    def restart(number: int) -> None:
        while time.monotonic() < end:
            hosts.close(clients[number])
            assert isinstance(hosts.ended(clients[number]).event, protocol.Stopped)
            (clients[number],) = hosts.start(ours[number])
            sent["restarted"] += 1

    work = [*(partial(send, number) for number in range(5)), *(partial(restart, number) for number in range(5, 8))]
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(one) for one in work]:
            done.result()
    assert hosts.call(hosts.pool.counts).crashes == 0
    assert sent["failed"] == 0
    assert sent["restarted"] > 20
    assert sent["sent"] > 100


# ------------------------------------------------------------------------------------------------------ security


def test_nothing_in_the_current_folder_runs_in_a_host(
    emu: Emulator, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties = paired(emu, store, 1, tmp_path)
    use_environment(monkeypatch, emu, cold=True)
    marker = tmp_path / "ran"
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "neonize", "ctypes", "sitecustomize", "wa_sessions", "usercustomize"):
        (here / f"{name}.py").write_text(
            f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nraise SystemExit(9)\n"
        )
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", "../here", os.environ["PYTHONPATH"]]))
    with Hosts(store) as hosts:
        hosts.start(*parties)
    assert not marker.exists()


def test_a_host_knows_no_secret_of_the_workers_environment(
    emu: Emulator, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties = paired(emu, store, 1, tmp_path)
    use_environment(monkeypatch, emu, cold=True)
    for name in ("PGPASSWORD", "DATABASE_URL", "WA_SESSIONS_DATABASE_URL", "WEBHOOK_SECRET", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("LC_TIME", "C.UTF-8")
    with Hosts(store) as hosts:
        hosts.start(*parties)
        environment = environment_of(hosts.pid_of(parties[0]))
        limits = Path(f"/proc/{hosts.pid_of(parties[0])}/limits").read_text()
        command = Path(f"/proc/{hosts.pid_of(parties[0])}/cmdline").read_text()
    assert "hunter2" not in environment.values()
    assert environment["HTTPS_PROXY"] == emu.client_env()["HTTPS_PROXY"]
    assert environment["LC_TIME"] == "C.UTF-8"
    assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]
    assert "postgres" not in command


def _injected(emu: Emulator, device: Device, sender: Party, template: Node, message_id: str) -> None:
    """A message of ``sender`` that does not decrypt, under an id of its own making."""
    parts = [
        Node("enc", {"v": "2", "type": "msg"}, os.urandom(90)) if part.tag == "enc" else part
        for part in template.children
    ]
    node = Node("message", {**template.attrs, "id": message_id, "t": int(time.time())}, parts)
    emu._thread.call(lambda: emu._network.deliver(device, node, sender.phone))


def _template(emu: Emulator, party: Party, sender: Party) -> Node:
    sent = [stanza.node for stanza in emu.history if stanza.course is Course.TO_CLIENT and stanza.node.tag == "message"]
    return next(
        node
        for node in reversed(sent)
        if str(node.attrs["from"]).split(":")[0].split("@")[0] in (sender.phone.lid, sender.number)
    )


def test_a_message_id_steers_nothing(
    emu: Emulator, store: str, hosts: Hosts, peers: ClientProcess, tmp_path: Path
) -> None:
    (party,) = paired(emu, store, 1, tmp_path)
    (client,) = hosts.start(party)
    bob, carol = link(emu, peers, "bob"), link(emu, peers, "carol")
    for one in (bob, carol):
        peer_says(hosts, one, party, client, f"hello {one.name}")
    victim = str(_template(emu, party, carol).attrs["from"])
    template = _template(emu, party, bob)
    ids = [
        f"E1 from {victim} in {victim}: failed to decrypt normal message: no valid sessions",
        "E2 from 7@s.whatsapp.net: failed to load session with x: connection refused",
        "E3\x1b[2J\nError decrypting message E4 from x: pq: y",
        "\0NUL",
        "L" * 100_000,
        "",
    ]
    since = hosts.told.mark()
    for message_id in ids:
        _injected(emu, party.device, bob, template, message_id)
    peer_says(hosts, bob, party, client, "afterwards")
    failed = [event for event in hosts.events(client, since=since) if isinstance(event, protocol.Undecrypted)]
    assert {event.sender for event in failed} == {str(template.attrs["from"])}
    assert {event.cause for event in failed} <= {Cause.BAD_MAC, Cause.OTHER, Cause.MISSING_KEY}
    assert protocol.StoreFailed not in {type(event) for event in hosts.events(client)}
    assert all(event.message_id.isprintable() and len(event.message_id) <= 200 for event in failed)
    assert len({event.message_id for event in failed}) >= 5
