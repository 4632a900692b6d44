"""How connections to the emulator end, begin again, are refused, and leave each other alone."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.client_process import ClientProcess
from support.pairing import Party, folder, link, new_number
from support.waiting import PATIENCE

from wa_sessions.emulator import Emulator, Login, LoginFailure, NotConnected, Silence, overlapping

pytestmark = pytest.mark.usefixtures("healed")

CROWD = 20


@pytest.mark.parametrize("end", ["drop", "close", "unavailable", "unknown_stream_error"])
def test_a_client_comes_back_by_itself(
    emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party, end: str
) -> None:
    since, logins = client_process.lines.mark(), alice.device.logins
    getattr(emu, end)(alice.device)
    emu.wait_connected(alice.device)
    assert alice.device.logins == logins + 1
    client_process.event("alice", "Connected", since=since)
    bob.send(alice, f"after {end}")
    alice.gets(f"after {end}")


def test_a_message_in_flight_comes_again_after_a_drop(emu: Emulator, alice: Party, tmp_path: Path) -> None:
    with ClientProcess(emu.client_env(), tmp_path) as elsewhere:
        frozen = link(emu, elsewhere, "frozen")
        alice.send(frozen, "before")
        frozen.gets("before")
        emu.wait_delivered(frozen.device)
        os.kill(elsewhere.pid, signal.SIGSTOP)
        for i in range(5):
            alice.send(frozen, f"in flight {i}")
        emu.wait_until(lambda: frozen.device.mailbox.waiting("message") == 0, 5)
        emu.drop(frozen.device)
        assert emu.queued(frozen.device) == 5
        os.kill(elsewhere.pid, signal.SIGCONT)
        frozen.gets("in flight 4")
        emu.wait_delivered(frozen.device)
        assert elsewhere.texts("frozen") == ["before", *(f"in flight {i}" for i in range(5))]


def test_a_replaced_client_stays_away(emu: Emulator, client_process: ClientProcess) -> None:
    party = link(emu, client_process, "replaced")
    emu.replace(party.device)
    client_process.event("replaced", "StreamReplaced")
    assert not emu.connected(party.device)
    with pytest.raises(NotConnected):
        emu.drop(party.device)
    assert emu.device(party.phone) is party.device


def test_a_second_login_replaces_the_first(
    emu: Emulator, client_process: ClientProcess, alice: Party, tmp_path: Path
) -> None:
    party = link(emu, client_process, "double")
    copy = folder(tmp_path, "copy")
    for file in client_process.folder.glob("double.db*"):
        (copy / file.name).write_bytes(file.read_bytes())
    with ClientProcess(emu.client_env(), copy) as elsewhere:
        second = party.restart(elsewhere)
        client_process.event("double", "StreamReplaced")
        assert emu.connected(party.device)
        alice.send(second, "to whoever is newest")
        second.gets("to whoever is newest")
    so_far = emu._network.logins.so_far
    emu.wait_until(lambda: all(one.ended for one in so_far() if one.device == str(party.device.jid)))
    logins = _logins(emu, party)
    assert all(one.began <= one.heard <= (one.ended or 0) for one in logins)
    assert overlapping(logins) == [(logins[-2], logins[-1])]


def test_one_login_after_another_is_no_overlap(emu: Emulator, alice: Party) -> None:
    emu.drop(alice.device)
    emu.wait_connected(alice.device)
    logins = _logins(emu, alice)
    assert logins[-1].ended is None
    assert len(logins) > 1
    assert overlapping(logins) == []


def _logins(emu: Emulator, party: Party) -> list[Login]:
    return [login for login in emu.logins if login.device == str(party.device.jid)]


def test_a_removed_device_is_told(emu: Emulator, client_process: ClientProcess) -> None:
    party = link(emu, client_process, "removed")
    emu.remove_device(party.device)
    client_process.event("removed", "LoggedOut")
    assert emu.device(party.phone) is None


def test_a_device_removed_while_offline_learns_of_it_at_its_login(emu: Emulator, tmp_path: Path) -> None:
    with ClientProcess(emu.client_env(), tmp_path) as first:
        party = link(emu, first, "absent")
    emu.wait_disconnected(party.device)
    emu.remove_device(party.device)
    with ClientProcess(emu.client_env(), tmp_path) as second:
        second.add("absent", number=party.number, device=1)
        second.event("absent", "LoggedOut")


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        (LoginFailure.BAD_REQUEST, "ConnectFailure"),
        (LoginFailure.LOGGED_OUT, "LoggedOut"),
        (LoginFailure.TEMPORARY_BAN, "TemporaryBan"),
        (LoginFailure.LOCKED, "LoggedOut"),
        (LoginFailure.OUTDATED, "ClientOutdated"),
    ],
)
def test_a_refused_login_ends_the_client(
    emu: Emulator, client_process: ClientProcess, failure: LoginFailure, event: str
) -> None:
    party = link(emu, client_process, failure.name)
    emu.refuse_login(party.phone, failure, expire_seconds=3600)
    emu.drop(party.device)
    line = client_process.event(failure.name, event)
    assert not emu.connected(party.device)
    if failure is LoginFailure.TEMPORARY_BAN:
        assert "Expire: 3600" in line["about"]


def test_an_unavailable_server_is_tried_again(emu: Emulator, client_process: ClientProcess) -> None:
    party = link(emu, client_process, "patient")
    since = client_process.lines.mark()
    emu.refuse_login(party.phone, LoginFailure.UNAVAILABLE)
    emu.drop(party.device)
    client_process.log("assuming automatic reconnect will handle it", since=since)
    emu.accept_login(party.phone)
    emu.wait_connected(party.device)


def test_withheld_messages_come_when_they_may(
    emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party
) -> None:
    since = client_process.lines.mark()
    emu.withhold(bob.phone)
    for i in range(3):
        alice.send(bob, f"withheld {i}")
    assert emu.queued(bob.device) == 3
    assert client_process.texts("bob", since=since) == []
    emu.hear(bob.phone)
    bob.gets("withheld 2", since=since)
    assert client_process.texts("bob", since=since) == [f"withheld {i}" for i in range(3)]


def test_withheld_messages_may_come_with_the_next_connection(emu: Emulator, alice: Party, bob: Party) -> None:
    emu.withhold(bob.phone, until_reconnect=True)
    alice.send(bob, "stuck on this connection")
    assert emu.queued(bob.device) == 1
    emu.drop(bob.device)
    bob.gets("stuck on this connection")


@pytest.mark.long
def test_a_deaf_server_leaves_pings_unanswered(emu: Emulator, client_process: ClientProcess, bob: Party) -> None:
    since = client_process.lines.mark()
    emu.deaf(bob.phone)
    client_process.event("bob", "KeepAliveTimeout", since=since, timeout=PATIENCE)
    emu.hear(bob.phone)
    client_process.event("bob", "KeepAliveRestored", since=since, timeout=PATIENCE)


@pytest.mark.parametrize("stage", list(Silence))
def test_a_silent_server_answers_nobody_until_it_speaks_again(emu: Emulator, tmp_path: Path, stage: Silence) -> None:
    phone = emu.add_phone(new_number(), "unheard")
    emu.silent(True, stage=stage)
    with ClientProcess(emu.client_env(), tmp_path) as elsewhere:
        elsewhere.add("unheard")
        with pytest.raises(TimeoutError):
            elsewhere.event("unheard", "QR", timeout=0.5)
        emu.silent(False)
        heard = link(emu, elsewhere, "heard", phone)
        assert emu.connected(heard.device)


def test_others_stay_connected_when_one_goes(
    emu: Emulator, client_process: ClientProcess, alice: Party, bob: Party
) -> None:
    since, logins = client_process.lines.mark(), (alice.device.logins, bob.device.logins)
    carol = link(emu, client_process, "carol")
    for i in range(20):
        client_process.begin("send", "carol", to=bob.number, text=f"from carol {i}")
    emu.drop(carol.device)
    alice.send(bob, "undisturbed")
    bob.gets("undisturbed", since=since)
    emu.wait_connected(carol.device)
    assert (alice.device.logins, bob.device.logins) == logins


def test_garbage_on_the_sockets_harms_nobody(emu: Emulator, alice: Party, bob: Party) -> None:
    proxy = emu.client_env()["HTTPS_PROXY"].removeprefix("http://")
    host, _, port = proxy.partition(":")
    trusted = ssl.create_default_context(cafile=emu.client_env()["SSL_CERT_FILE"])
    requests = [b"\0" * 50, b"GET / HTTP/1.1\r\n\r\n", b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", os.urandom(100_000)]
    for request in requests:
        with socket.create_connection((host, int(port)), timeout=5) as plain:
            plain.sendall(request)
    for garbage in (os.urandom(5000), b"GET /v/nothing HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /ws/chat HTTP/1.1\r\n\r\n"):
        with tunnel(host, int(port)) as plain, trusted.wrap_socket(plain, server_hostname="web.whatsapp.com") as tls:
            tls.sendall(garbage)
            tls.recv(1000)
    for frames in (
        b"\x82\x05hello",
        b"\x82\x07WA\x06\x03\0\0\0",
        b"\x81\x02hi",
        b"\x82\x0aWA\x06\x03\0\0\x03\x0a\x01\x05",
    ):
        with tunnel(host, int(port)) as plain, trusted.wrap_socket(plain, server_hostname="web.whatsapp.com") as tls:
            upgrade(tls)
            tls.sendall(mask(frames))
            tls.recv(1000)
    with tunnel(host, int(port)) as plain:
        plain.sendall(b"this is not TLS")
        plain.recv(1000)
    alice.send(bob, "unharmed")
    bob.gets("unharmed")


def tunnel(host: str, port: int) -> socket.socket:
    plain = socket.create_connection((host, port), timeout=5)
    plain.sendall(b"CONNECT web.whatsapp.com:443 HTTP/1.1\r\n\r\n")
    assert plain.recv(1000).startswith(b"HTTP/1.1 200")
    return plain


def upgrade(tls: ssl.SSLSocket) -> None:
    tls.sendall(
        b"GET /ws/chat HTTP/1.1\r\nHost: web.whatsapp.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert tls.recv(4000).startswith(b"HTTP/1.1 101")


def mask(frame: bytes) -> bytes:
    """A client's frame, as RFC 6455 wants it masked; a mask of zeroes changes nothing."""
    return frame[:1] + bytes([frame[1] | 0x80]) + b"\0\0\0\0" + frame[2:]


def test_a_crowd_logs_in_at_once(emu: Emulator, tmp_path: Path) -> None:
    places = folder(tmp_path, "first"), folder(tmp_path, "second")
    with ClientProcess(emu.client_env(), places[0]) as first, ClientProcess(emu.client_env(), places[1]) as second:
        crowds = [[link(emu, place, f"c{i}") for i in range(CROWD)] for place in (first, second)]
        everyone = [party for crowd in crowds for party in crowd]
        for party in everyone:
            emu.drop(party.device)
        emu.wait_until(lambda: all(party.device.connected for party in everyone), 30)
        for sender, receiver in zip(*crowds, strict=True):
            sender.send(receiver, f"to {receiver.number}")
        for receiver in crowds[1]:
            receiver.gets(f"to {receiver.number}")


def test_without_the_hook_a_client_refuses_the_emulator(emu: Emulator, tmp_path: Path) -> None:
    environment = emu.client_env()
    environment.pop("WA_SESSIONS_EMULATOR_NOISE_ROOT")
    with ClientProcess(environment, tmp_path) as elsewhere:
        elsewhere.begin("add", "distrustful", store=str(tmp_path / "store.db"))
        line = elsewhere.event("distrustful", "connect-raised")
        assert "failed to verify intermediate cert signature" in line["error"]


def test_a_hidden_sitecustomize_runs_too(emu: Emulator, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.ran = True")
    environment = emu.client_env()
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
    program = "import builtins, ctypes; print(builtins.ran, ctypes.CDLL.__init__.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True load_and_swap\n"
    assert done.stderr == ""


def test_an_emulator_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = threading.active_count()
    with Emulator() as emulator:
        (made,) = tmp_path.iterdir()
        assert made.stat().st_mode & 0o777 == 0o700
        assert emulator.client_env()["HTTPS_PROXY"].startswith("http://127.0.0.1:")
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before
