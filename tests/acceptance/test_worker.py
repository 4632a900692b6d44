"""`wa-sessions run` and the orders that reach it through the database."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from support.client_process import ClientProcess
from support.installation import PROGRAM, Installation, Worker
from support.pairing import Party, link
from support.waiting import PATIENCE

ALICE, BOB = "77051234567", "77057654321"


def test_from_nothing_to_connected_and_a_graceful_end(installation: Installation) -> None:
    installation.add(ALICE)
    worker = installation.run(ALICE)
    worker.expect("qr", ALICE)
    row = installation.row(ALICE)
    assert row["status"] == "pending"
    installation.scan(worker, ALICE)
    worker.expect("connected", ALICE)
    row = installation.row(ALICE)
    assert (row["status"], row["qrCode"], row["phoneJid"]) == ("connected", None, f"{ALICE}:1@s.whatsapp.net")
    assert row["lastConnectedAt"] is not None
    stats = installation.stats(ALICE)
    assert stats["worker"]["pid"] == worker.process.pid
    assert (stats["phone"], stats["organization_id"], stats["is_healthy"]) == (ALICE, 1, True)
    assert worker.stop() == 0
    assert not installation.emu.connected(installation.devices[ALICE])
    assert installation.row(ALICE)["status"] == "disconnected"
    stats = installation.stats(ALICE)
    assert (stats["worker"], stats["severity"], stats["is_healthy"]) == (None, "unknown", None)
    again = installation.run(ALICE)
    again.expect("connected", ALICE)
    assert "qr" not in again.events(ALICE)


def test_sigterm_while_a_qr_is_shown(installation: Installation) -> None:
    installation.add(ALICE)
    worker = installation.run(ALICE)
    worker.expect("qr", ALICE)
    assert worker.stop() == 0
    row = installation.row(ALICE)
    assert (row["status"], row["qrCode"]) == ("disconnected", None)


def test_stdout_stays_clean_and_no_secret_is_logged(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE)
    installation.emu.share_app_state_key(installation.devices[ALICE])
    bob = link(installation.emu, peers, "bob")
    fault = installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    bob.send_to(ALICE, "a very private text")
    worker.expect("message_lost", ALICE)
    fault.heal()
    worker.process.terminate()
    assert worker.process.stdout
    assert worker.process.stdout.read() == ""
    worker.wait()
    log = json.dumps(worker.lines.since(0))
    events = json.dumps(installation.sql("SELECT detail FROM wa_sessions.event"))
    for secret in _secrets(installation):
        assert secret not in log
        assert secret not in events
    assert "a very private text" not in log


def _secrets(installation: Installation) -> list[str]:
    device = installation.sql(
        "SELECT encode(noise_key, 'base64') AS a, encode(adv_key, 'hex') AS b FROM whatsmeow.whatsmeow_device"
    )
    keys = installation.sql("SELECT encode(key_data, 'base64') AS a FROM whatsmeow.whatsmeow_app_state_sync_keys")
    assert device
    assert keys
    return [str(value) for row in device + keys for value in row.values()]


def test_a_second_worker_is_refused(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    second = installation.run(ALICE, "--no-wait")
    assert second.wait() == 5
    assert str(worker.process.pid) in second.lines.since(0)[-1]["message"]
    assert installation.emu.connected(installation.devices[ALICE])


def test_phones_of_the_node_backend_are_refused(installation: Installation) -> None:
    installation.add(ALICE)
    installation.cli("assign", ALICE, "baileys")
    assert installation.run(ALICE).wait() == 5
    installation.cli("assign", ALICE, "neonize")
    worker = installation.run(ALICE)
    worker.expect("qr", ALICE)


def test_send_and_its_failures(installation: Installation, peers: ClientProcess) -> None:
    installation.add(ALICE, BOB)
    assert "run" in installation.cli("send", ALICE, BOB, "hi", code=1).stderr
    worker = installation.run(ALICE)
    installation.scan(worker, ALICE)
    worker.expect("connected", ALICE)
    bob = link(installation.emu, peers, "bob")
    sent = installation.json("send", ALICE, bob.number, "héllo ☎")
    bob.gets("héllo ☎")
    assert sent["message_id"]


def test_force_close_keeps_the_keys_and_stays_down(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    closed = installation.json("force-close", ALICE, "--reason", "maintenance", "--yes")
    assert closed["operation"] is None
    assert worker.expect("force_closed", ALICE)["reason"] == "maintenance"
    assert not installation.emu.connected(installation.devices[ALICE])
    stats = installation.stats(ALICE)
    assert (stats["status"], stats["state"], stats["state_detail"]) == ("disconnected", "force_closed", "maintenance")
    worker.until_hosts(0)
    assert worker.process.poll() is None
    since = worker.mark()
    installation.cli("restart", ALICE)
    worker.expect("connected", ALICE, since=since)


def test_force_close_with_logout_and_back(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    planned = installation.json("force-close", ALICE, "--logout", "--dry-run")
    assert installation.emu.connected(installation.devices[ALICE])
    assert not installation.sql("SELECT id FROM wa_sessions.operation")
    closed = installation.json("force-close", ALICE, "--logout", "--yes")
    assert (planned["dry_run"], planned["operation"], planned["keys"]) == (True, None, closed["keys"])
    assert installation.row(ALICE)["status"] == "logged_out"
    assert installation.sql("SELECT count(*) AS n FROM whatsmeow.whatsmeow_device") == [{"n": 0}]
    assert not installation.devices[ALICE].removed
    since = worker.mark()
    installation.cli("restore", closed["operation"])
    worker.expect("connected", ALICE, since=since)
    logins = installation.devices[ALICE].logins
    assert installation.json("restore", closed["operation"])["already"]
    assert installation.emu.connected(installation.devices[ALICE])
    assert installation.devices[ALICE].logins == logins


def test_relink_is_refused_while_there_are_keys(installation: Installation) -> None:
    installation.paired(ALICE)
    assert "restart" in installation.cli("relink", ALICE, code=2).stderr


def test_a_handler_that_fails_or_is_slow_harms_no_session(installation: Installation, peers: ClientProcess) -> None:
    installation.add(ALICE)
    once = ("--handler-attempts", "1")
    worker = installation.run(ALICE, "--on-message", "support.handlers:difficult", *once, handler=False)
    installation.scan(worker, ALICE)
    worker.expect("connected", ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "fail")
    assert worker.expect("handler_failed", ALICE)["error"] == "ZeroDivisionError"
    bob.send_to(ALICE, "slow")
    worker.expect("handler_slow", ALICE)
    bob.send_to(ALICE, "fine")
    worker.received(ALICE, "fine")
    assert installation.stats(ALICE)["severity"] == "ok"
    kinds = {row["kind"] for row in installation.sql("SELECT kind FROM wa_sessions.event")}
    assert {"handler_failed", "handler_slow"} <= kinds


def test_a_command_gets_one_json_object_for_each_message(
    installation: Installation, peers: ClientProcess, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    installation.add(ALICE)
    worker = installation.run(ALICE, "--on-message-exec", f"sh -c 'cat >> {heard}; echo done >&2'", handler=False)
    installation.scan(worker, ALICE)
    worker.expect("connected", ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "to a command")
    worker.expect("output", ALICE, containing="done")
    message = json.loads(heard.read_text())
    assert (message["text"], message["phone"], message["is_group"]) == ("to a command", ALICE, False)
    assert abs(message["timestamp"] - time.time()) < 60


def _with_slow_handler(installation: Installation, peers: ClientProcess, *handler: str) -> tuple[Worker, Party]:
    installation.add(ALICE)
    worker = installation.run(ALICE, *handler, handler=False)
    installation.scan(worker, ALICE)
    worker.expect("connected", ALICE)
    return worker, link(installation.emu, peers, "bob")


def _arrived(installation: Installation, bob: Party, texts: list[str]) -> None:
    for text in texts:
        bob.send_to(ALICE, text)
    installation.emu.wait_delivered(installation.devices[ALICE])


def test_a_command_that_hangs_delays_neither_a_force_close_nor_the_end(
    installation: Installation, peers: ClientProcess
) -> None:
    """Nor does an orphan of it that keeps its standard error open."""
    worker, bob = _with_slow_handler(installation, peers, "--on-message-exec", "sh -c '(sleep 50 &) ; sleep 50'")
    _arrived(installation, bob, ["one", "two"])
    installation.cli("force-close", ALICE, "--yes")
    assert installation.stats(ALICE)["state"] == "force_closed"
    installation.cli("restart", ALICE)
    assert worker.stop(PATIENCE) == 0
    assert installation.row(ALICE)["status"] == "disconnected"
    assert [row["text"] for row in installation.sql("SELECT text FROM wa_sessions.inbox ORDER BY id")] == ["one", "two"]


def test_a_restart_loses_nothing_that_waits_for_the_handler(installation: Installation, peers: ClientProcess) -> None:
    worker, bob = _with_slow_handler(installation, peers, "--on-message", "support.handlers:slow")
    texts = [f"text {number}" for number in range(12)]
    _arrived(installation, bob, texts)
    since = worker.mark()
    installation.cli("restart", ALICE)
    worker.expect("connected", ALICE, since=since)
    worker.received(ALICE, texts[-1])
    assert worker.texts(ALICE) == texts


def test_what_the_handler_has_not_taken_at_the_end_waits_for_the_next_worker(
    installation: Installation, peers: ClientProcess
) -> None:
    worker, bob = _with_slow_handler(installation, peers, "--on-message", "support.handlers:slow")
    texts = [f"text {number}" for number in range(60)]
    _arrived(installation, bob, texts)
    assert worker.stop(PATIENCE) == 0
    handled = worker.texts(ALICE)
    assert handled == texts[: len(handled)]
    left = [row["text"] for row in installation.sql("SELECT text FROM wa_sessions.inbox ORDER BY id")]
    assert left == texts[len(handled) :]
    assert not installation.sql("SELECT 1 FROM wa_sessions.event WHERE kind = 'handler_unfinished'")


def test_a_handler_that_ends_is_started_again(installation: Installation, peers: ClientProcess) -> None:
    once = ("--handler-attempts", "1")
    worker, bob = _with_slow_handler(installation, peers, "--on-message", "support.handlers:difficult", *once)
    bob.send_to(ALICE, "exit")
    assert worker.expect("handler_failed", ALICE)["error"] == "SystemExit"
    bob.send_to(ALICE, "crash")
    worker.expect("handler_ended", ALICE)
    bob.send_to(ALICE, "fine")
    worker.received(ALICE, "fine")


def test_a_command_that_may_not_be_run_any_more_is_an_alert_of_the_phone_that_waits(
    installation: Installation, peers: ClientProcess, tmp_path: Path
) -> None:
    program = tmp_path / "take.sh"
    program.write_text("#!/bin/sh\ncat >/dev/null; echo received: it >&2\n")
    program.chmod(0o700)
    worker, bob = _with_slow_handler(installation, peers, "--on-message-exec", str(program))
    program.chmod(0o600)
    bob.send_to(ALICE, "waits")
    worker.expect("handler_ended", ALICE)
    assert [row["kind"] for row in installation.sql("SELECT kind FROM wa_sessions.alert")] == ["handler"]
    program.chmod(0o700)
    worker.received(ALICE, "it")


def test_without_a_handler_it_says_so(installation: Installation) -> None:
    installation.add(ALICE)
    worker = installation.run(ALICE, handler=False)
    line = worker.lines.wait(lambda line: "only observed" in line["message"])
    assert line


@pytest.mark.parametrize("handler", ["nonsense", "no.such.module:f", "json:nothing", "json:__doc__"])
def test_a_handler_that_is_not_there_is_a_usage_error(installation: Installation, handler: str) -> None:
    installation.add(ALICE)
    assert installation.run(ALICE, "--on-message", handler, handler=False).wait() == 2


def test_a_crash_in_the_session_process_is_survived(installation: Installation, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE, BOB)
    by_phone = worker.hosts()
    assert len(by_phone) == 2
    since = worker.mark()
    os.kill(by_phone[0], 11)
    crashed = worker.lines.wait(lambda line: line.get("event") == "crashed")["phone"]
    worker.expect("connected", crashed, since=since)
    other = BOB if crashed == ALICE else ALICE
    assert "connected" not in worker.events(other, since=since)


def test_a_reader_of_the_log_that_has_stopped_keeps_no_session_and_no_end(installation: Installation) -> None:
    installation.add(ALICE)
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writes, b"x" * 4096)
    os.set_blocking(writes, True)
    command = [str(PROGRAM), "run", ALICE, "--log-format", "json"]
    with subprocess.Popen(command, env=installation.environment(), stdin=subprocess.DEVNULL, stderr=writes) as worker:
        try:
            installation.until("""SELECT 1 FROM "OrganizationPhone" WHERE "qrCode" IS NOT NULL""")
            worker.terminate()
            assert worker.wait(PATIENCE) == 0
        finally:
            worker.kill()
            os.close(reads)
            os.close(writes)
    assert installation.row(ALICE)["status"] == "disconnected"
