"""The Node backend's process: what is refused while it runs a phone, and what is told of stopping and starting it."""

import os
import re
import signal
from pathlib import Path

import pytest
from support.corpus import BUFFERS, LOGGED_OUT, PAIRED
from support.fleet import Fleet
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions import OwnedByAnother, force_close_session, process_identity

CLOSE = ("force-close", BUFFERS, "--yes")
CLEAN = ("clean-app-state", BUFFERS, "--yes")


def _commands(stop: str, start: str) -> tuple[str, ...]:
    return "--stop-command", stop, "--start-command", start


def _counted(fleet: Fleet) -> None:
    """Two errors stand in the phone's counters, and an alert waits to be told."""
    fleet.sql(
        """INSERT INTO wa_sessions.health (phone_id, organization_id, bad_mac_errors, bad_decrypt_errors,
               counted_senders, messages_recovered, messages_lost, state, state_since, max_bad_mac, max_bad_decrypt,
               version, updated_at)
           VALUES (1, 1, 2, 0, '{}', 0, 0, 'idle', now(), 3, 5, 0, now())"""
    )


def _state(fleet: Fleet) -> tuple[object, ...]:
    return (
        fleet.everything(),
        fleet.sql("SELECT * FROM wa_sessions.health"),
        fleet.sql("SELECT * FROM wa_sessions.alert"),
    )


def test_a_session_that_node_runs_is_not_said_to_be_closed(fleet: Fleet) -> None:
    _counted(fleet)
    before = _state(fleet)
    for arguments in (CLOSE, ("force-close", "all", "--yes"), ("force-close", "all", "--org", "1", "--yes")):
        refused = fleet(*arguments)
        assert (refused.code, refused.out) == (5, ""), arguments
        assert "--stop-command" in refused.err
    with pytest.raises(OwnedByAnother):
        force_close_session(1, database_url=fleet.url)
    planned = fleet("force-close", BUFFERS, "--dry-run")
    assert "nothing was changed" in planned.out
    assert "while its Node process runs this is refused" in planned.err
    assert _state(fleet) == before


def test_a_session_is_closed_where_node_is_stopped(fleet: Fleet, tmp_path: Path) -> None:
    _counted(fleet)
    log = tmp_path / "log"
    done = fleet.json(*CLOSE, *_commands(f"echo stop >> {log}", f"echo start >> {log}"))
    assert (done["status"], log.read_text().split()) == ("disconnected", ["stop", "start"])
    assert fleet.json("stats", BUFFERS)["bad_mac_errors"] == 0
    assert fleet.json("force-close", PAIRED, "--yes", "--process-stopped")["status"] == "disconnected"
    assert fleet.json("force-close", LOGGED_OUT, "--yes")["status"] == "disconnected"


@pytest.mark.parametrize("status", ["reconnecting", "loading", "CONNECTED", "open", "syncing", "", "ждёт"])
def test_a_status_that_is_not_known_to_mean_stopped_refuses(fleet: Fleet, tmp_path: Path, status: str) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = %s WHERE id = 1""", status)
    before = fleet.everything()
    file = str(tmp_path / "x.age")
    for arguments in (
        CLOSE,
        CLEAN,
        ("clean-sessions", BUFFERS, "--yes"),
        ("force-close", BUFFERS, "--logout", "--yes"),
        ("adopt", BUFFERS, "--yes"),
        ("assign", BUFFERS, "neonize"),
        ("export", BUFFERS, file, "--no-encryption", "--yes"),
    ):
        refused = fleet(*arguments)
        assert (refused.code, refused.out) == (5, ""), arguments
    assert fleet.everything() == before
    with pytest.raises(OwnedByAnother):
        force_close_session(1, logout=True, database_url=fleet.url)


@pytest.mark.parametrize("status", ["disconnected", "logged_out", "pending", "DISCONNECTED"])
def test_a_status_that_means_stopped_does_not_refuse(fleet: Fleet, status: str) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = %s WHERE id = 1""", status)
    assert fleet.json(*CLEAN)["quarantined"] == 5


@pytest.mark.parametrize("status", ["reconnecting", "loading", "CONNECTED", "open", "syncing", "", "ждёт"])
def test_files_too_are_brought_in_only_where_node_is_known_to_be_stopped(
    fleet: Fleet, tmp_path: Path, status: str
) -> None:
    """A phone that lost its keys, and whose row says that something may run it."""
    moved, saved = str(tmp_path / "moved.age"), str(tmp_path / "saved.age")
    assert fleet("backup", BUFFERS, saved, "--no-encryption").code == 0
    assert fleet("export", BUFFERS, moved, "--no-encryption", "--yes", "--process-stopped").code == 0
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = %s WHERE id = 1""", status)
    before = fleet.everything()
    guarded = (
        ("import", moved, "--yes"),
        ("import", moved, "--yes", "--as", "neonize"),
        ("restore", "--file", saved, "--phone", BUFFERS, "--yes"),
        ("assign", BUFFERS, "neonize"),
    )
    for arguments in guarded:
        refused = fleet(*arguments)
        assert (refused.code, refused.out) == (5, ""), (arguments, refused.err)
        assert "--process-stopped" in refused.err
    assert fleet.everything() == before


@pytest.mark.parametrize("kind", ["neonize", "baileys"])
def test_a_phone_of_node_is_brought_in_while_that_is_stopped(fleet: Fleet, tmp_path: Path, kind: str) -> None:
    file, log = str(tmp_path / "phone.age"), tmp_path / "log"
    assert fleet("export", BUFFERS, file, "--no-encryption", "--yes", "--process-stopped").code == 0
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'connected' WHERE id = 1""")
    node = _commands(f"echo stop >> {log}", f"echo start >> {log}")
    assert fleet("import", file, "--yes", "--as", kind, *node).code == 0
    assert log.read_text().split() == ["stop", "start"]


def test_an_undo_is_refused_as_the_deed_was(fleet: Fleet) -> None:
    operation = fleet.json(*CLEAN, "--process-stopped")["operation"]
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'reconnecting' WHERE id = 1""")
    assert fleet("restore", operation).code == 5


@pytest.mark.parametrize("arguments", [CLEAN, CLOSE, (*CLOSE, "--logout")], ids=str)
def test_a_stop_command_that_is_not_there_is_told_so_and_nothing_is_begun(
    fleet: Fleet, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    before = fleet.everything()
    refused = fleet(*arguments, *_commands("no-such-pm2 stop backend", f"echo start >> {tmp_path}/log"))
    assert (refused.code, refused.out) == (1, "")
    for words in ("nothing was changed", "PATH", "no-such-pm2"):
        assert words in refused.err
    assert not (tmp_path / "log").exists(), "it was never stopped"
    assert fleet.everything() == before


def test_a_stop_command_that_fails_is_told_and_the_process_is_started_again(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.everything()
    refused = fleet(*CLEAN, *_commands("exit 3", f"echo start >> {tmp_path}/log"))
    assert (refused.code, refused.out) == (1, "")
    assert "nothing was changed" in refused.err
    assert "exit 3" in refused.err
    assert "the Node process was started again" in refused.err
    both = fleet(*CLEAN, *_commands("exit 3", "exit 4"))
    assert (both.code, both.out) == (1, "")
    assert "nothing was changed" in both.err
    assert "THE NODE PROCESS MAY BE DOWN" in both.err, "it may as well run: nobody stopped it"
    assert fleet.everything() == before


def test_a_command_named_with_its_whole_path_is_not_looked_for_in_path(fleet: Fleet, tmp_path: Path) -> None:
    missing = fleet(*CLEAN, *_commands("/no/pm2 stop backend", "true"))
    assert (missing.code, "/no/pm2 does not exist" in missing.err, "PATH" in missing.err) == (1, True, False)
    program = tmp_path / "pm2"
    program.write_text("#!/usr/bin/env no-such-node\n")
    closed = fleet(*CLEAN, *_commands(f"{program} stop backend", "true"))
    assert (closed.code, f"{program} cannot be executed" in closed.err) == (1, True)
    program.chmod(0o700)
    lost = fleet(*CLEAN, *_commands(f"{program} stop backend", f"{program} start backend"))
    assert lost.code == 1
    for words in ("nothing was changed", "a program that it needs is not in PATH", "THE NODE PROCESS MAY BE DOWN"):
        assert words in lost.err


@pytest.mark.parametrize(("start", "words"), [("exit 4", "exit 4"), ("no-such-pm2 start x", "PATH")])
def test_what_was_done_is_told_though_the_process_does_not_start(fleet: Fleet, start: str, words: str) -> None:
    node = _commands("true", start)
    cleaned = fleet(*CLEAN, *node)
    undo = re.search(r"^undo: (wa-sessions restore (op-\S+))$", cleaned.out, re.MULTILINE)
    assert undo, cleaned.out
    assert cleaned.code == 1
    assert "5 went to quarantine" in cleaned.out
    assert "THE NODE PROCESS IS DOWN" in cleaned.err
    assert words in cleaned.err
    back = fleet("restore", undo[2], *node)
    assert (back.code, "5 keys" in back.out) == (1, True)
    closed = fleet("force-close", BUFFERS, "--logout", "--yes", "--json", *node)
    assert (closed.code, '"undo": "wa-sessions restore op-' in closed.out) == (1, True)
    everybody = fleet("force-close", "all", "--org", "2", "--logout", "--yes", *node)
    assert (everybody.code, "undo: wa-sessions restore op-" in everybody.out) == (1, True)
    assert "THE NODE PROCESS IS DOWN" in everybody.err


def test_what_failed_is_told_with_what_became_of_the_process(fleet: Fleet, tmp_path: Path) -> None:
    """Keys of another row of the number are ours already, so it cannot be moved."""
    log = tmp_path / "log"
    operation = fleet.json(*CLEAN, "--process-stopped")["operation"]
    fleet.sql(
        "INSERT INTO public.baileys_auth VALUES (1, %s, 'app-state-sync-version-regular', 'bmV3', 'base64_json')",
        BUFFERS,
    )
    failed = fleet("restore", operation, *_commands(f"echo stop >> {log}", f"echo start >> {log}"))
    assert (failed.code, log.read_text().split()) == (1, ["stop", "start"])
    assert "newer rows" in failed.err
    assert "the Node process was started again" in failed.err
    both = fleet("restore", operation, *_commands("true", "exit 4"))
    assert "newer rows" in both.err
    assert "THE NODE PROCESS IS DOWN" in both.err


def test_statuses_in_capitals_are_the_same_words_and_are_written_so(fleet: Fleet) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = upper(status)""")
    for word in ("connected", "CONNECTED"):
        listed = fleet.json("sessions", "--status", word)["sessions"]
        assert {one["phone"] for one in listed} >= {BUFFERS, PAIRED}
    for arguments in (CLEAN, CLOSE):
        assert fleet(*arguments).code == 5
    done = fleet.json("force-close", BUFFERS, "--logout", "--yes", "--process-stopped")
    status = """SELECT status FROM public."OrganizationPhone" WHERE id = 1"""
    assert (done["status"], fleet.sql(status)) == ("logged_out", [{"status": "LOGGED_OUT"}])
    fleet.json("restore", done["operation"])
    assert fleet.sql(status) == [{"status": "CONNECTED"}]


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        ("cd / && no-such-pm2 stop app", "PATH"),
        ("kill -9 $$", "ended by SIGKILL"),
        ("exit 3", "exit 3"),
    ],
)
def test_how_a_stop_command_ended_is_told(fleet: Fleet, stop: str, words: str) -> None:
    before = fleet.everything()
    failed = fleet(*CLOSE, *_commands(stop, "true"))
    assert (failed.code, failed.out) == (1, "")
    assert "nothing was changed" in failed.err
    assert words in failed.err
    assert fleet.everything() == before


def test_a_stop_command_that_hangs_is_ended_and_nothing_was_changed(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WA_SESSIONS_NODE_TIMEOUT", "1")
    before, hung = fleet.everything(), f"echo $$ >{tmp_path}/pid; sleep 20; true"
    refused = fleet(*CLEAN, *_commands(hung, f"echo start >>{tmp_path}/log"))
    assert (refused.code, refused.out) == (1, "")
    for words in ("nothing was changed", "did not end within 1 s", "WA_SESSIONS_NODE_TIMEOUT", "was started again"):
        assert words in refused.err
    assert (tmp_path / "log").read_text() == "start\n"
    hanging = int((tmp_path / "pid").read_text())
    for attempt in Retrying(stop=stop_after_delay(30), wait=wait_fixed(0.05), reraise=True):
        with attempt:
            assert not process_identity.runs(hanging)
    assert "THE NODE PROCESS MAY BE DOWN" in fleet(*CLEAN, *_commands(hung, "exit 4")).err
    assert fleet.everything() == before


def test_a_start_command_that_does_not_end_is_left_running_and_told(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the backend itself, which stays where somebody starts it without pm2."""
    monkeypatch.setenv("WA_SESSIONS_NODE_TIMEOUT", "1")
    done = fleet(*CLEAN, *_commands("true", f"echo $$ >{tmp_path}/pid; sleep 20; true"))
    assert (done.code, "undo: wa-sessions restore op-" in done.out) == (1, True)
    for words in ("THE NODE PROCESS MAY BE DOWN", "has not ended after 1 s", "left running", "in the background"):
        assert words in done.err
    os.killpg(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("limit", ["0", "-1", "soon", "1e3", "90000"])
def test_a_time_limit_that_is_none_is_refused(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("WA_SESSIONS_NODE_TIMEOUT", limit)
    refused = fleet(*CLEAN, *_commands("true", "true"))
    assert (refused.code, "WA_SESSIONS_NODE_TIMEOUT" in refused.err) == (2, True)
    assert fleet(*CLEAN, "--process-stopped").code == 0, "without the commands it means nothing"
