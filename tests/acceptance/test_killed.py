"""A command that is killed at any moment leaves the database as it was, or as it was to be."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from support import warm
from support.backup_fixtures import new_key
from support.corpus import BUFFERS, PAIRED, SEVENTH
from support.fleet import Fleet
from support.terminal import PROGRAM
from tenacity import Retrying, stop_after_delay, wait_fixed

KILLS = 3
SLOW = """
CREATE FUNCTION wa_sessions.dawdle() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.001); RETURN COALESCE(NEW, OLD); END';
CREATE TRIGGER dawdle BEFORE INSERT ON wa_sessions.quarantine FOR EACH ROW EXECUTE FUNCTION wa_sessions.dawdle();
CREATE TRIGGER dawdle BEFORE INSERT ON public.baileys_auth FOR EACH ROW EXECUTE FUNCTION wa_sessions.dawdle();
"""


def _state(fleet: Fleet) -> tuple[object, ...]:
    kept = fleet.sql("SELECT count(*) AS n FROM wa_sessions.quarantine")
    parts = fleet.sql("SELECT keys, restored_at IS NULL AS open FROM wa_sessions.operation_phone ORDER BY operation_id")
    events = fleet.sql("SELECT count(*) AS n FROM wa_sessions.event")
    return fleet.keys(), fleet.phones(), kept, parts, events


def _start(fleet: Fleet, *arguments: str) -> warm.Popen[bytes]:
    environment = os.environ | {"WA_SESSIONS_DATABASE_URL": fleet.url}
    return warm.Popen(
        [PROGRAM, *arguments],
        env=environment,
        stdin=warm.DEVNULL,
        stdout=warm.PIPE,
        stderr=warm.STDOUT,
    )


def _settled(fleet: Fleet) -> None:
    """Wait until the server has noticed that its client is gone."""
    others = """SELECT pid FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"""
    for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.02), reraise=True):
        with attempt:
            assert fleet.sql(others) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("clean-sessions", BUFFERS),
        ("force-close", SEVENTH, "--logout"),
        ("clean-sessions", "all", "--org", "2"),
        ("restore",),
    ],
    ids=" ".join,
)
def test_a_killed_command_is_done_wholly_or_not_at_all(fleet: Fleet, arguments: tuple[str, ...]) -> None:
    expected = _there_and_back(fleet, arguments)
    if arguments == ("restore",):
        closed = fleet.json("force-close", BUFFERS, "--logout", "--yes", "--process-stopped")
        arguments = ("restore", closed["operation"])
    fleet.sql(SLOW)
    before, began = _state(fleet), time.monotonic()
    ended = _start(fleet, *arguments, "--process-stopped", "--dry-run").communicate()[0].decode()
    took = time.monotonic() - began
    assert "nothing was changed" in ended
    assert _state(fleet) == before
    after = _killed(fleet, before, [*arguments, "--process-stopped", "--yes"], took, (0.3, 1.1))
    assert after[:2] == expected
    assert _all(after) == _all(before)
    assert not fleet.sql(
        """SELECT id FROM wa_sessions.operation
           WHERE NOT EXISTS (SELECT FROM wa_sessions.operation_phone WHERE operation_id = id)"""
    )


def test_a_killed_export_leaves_the_phone_whole_or_its_file(fleet: Fleet, tmp_path: Path) -> None:
    key = new_key(tmp_path)
    fleet.sql(SLOW)
    before, began = _state(fleet), time.monotonic()
    words = ("export", PAIRED, str(tmp_path / "phone.age"), "--process-stopped", "--recipient", key.recipient)
    assert b"nothing was changed" in _start(fleet, *words, "--dry-run").communicate()[0]
    took = time.monotonic() - began
    after = _killed(fleet, before, [*words, "--yes", "--force"], took, (0.5, 2.2))
    assert _all(after) == _all(before)
    fleet.json("import", str(tmp_path / "phone.age"), "--identity", str(key.file), "--yes")
    assert fleet.keys() == before[0]


def _killed(
    fleet: Fleet, before: tuple[object, ...], words: list[str], took: float, between: tuple[float, float]
) -> tuple[object, ...]:
    """What the database holds when a command was killed after it had done something, or has ended unharmed."""
    moments = random.Random(took)
    for _ in range(KILLS):
        process = _start(fleet, *words)
        try:
            process.wait(moments.uniform(*between) * took)
        except warm.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        _settled(fleet)
        if (after := _state(fleet)) != before:
            return after
    last = _start(fleet, *words)
    last.communicate()
    assert last.returncode == 0
    return _state(fleet)


def _there_and_back(fleet: Fleet, arguments: tuple[str, ...]) -> tuple[object, ...]:
    """Keys and phones as the whole command leaves them; the database is as before in the end."""
    if arguments == ("restore",):
        return _state(fleet)[:2]
    done = fleet.json(*arguments, "--process-stopped", "--yes")
    expected = _state(fleet)[:2]
    fleet.json("restore", done["operation"], "--process-stopped")
    return expected


def _all(state: tuple[object, ...]) -> int:
    """All keys, wherever they are."""
    keys, parts = state[0], state[3]
    assert isinstance(keys, list)
    assert isinstance(parts, list)
    return len(keys) + sum(int(part["keys"]) for part in parts if part["open"])


def test_the_node_process_is_started_again_when_the_command_is_ended(fleet: Fleet, tmp_path: Path) -> None:
    fleet.sql(SLOW.replace("0.001", "0.5"))
    before, log = _state(fleet), tmp_path / "log"
    commands = (
        "--stop-command",
        f"echo stop >> {log}",
        "--start-command",
        f"echo starting >> {log}; sleep 0.3; echo started >> {log}",
    )
    process = _start(fleet, "clean-app-state", BUFFERS, "--yes", *commands)
    for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.02), reraise=True):
        with attempt:
            assert log.read_text() == "stop\n"
    process.terminate()
    for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.02), reraise=True):
        with attempt:
            assert log.read_text() == "stop\nstarting\n"
    process.terminate()
    out = process.communicate()[0]
    assert process.returncode == 130, out
    assert log.read_text().split() == ["stop", "starting", "started"]
    _settled(fleet)
    assert _state(fleet) == before
