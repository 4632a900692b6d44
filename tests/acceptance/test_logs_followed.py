"""Logs read by the installed program: killed while it records, and followed while they are rotated."""

import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any, Self

from support import backend_logs, warm
from support.fleet import Fleet
from support.terminal import PROGRAM
from support.waiting import PATIENCE

from wa_sessions.logs.scanner import unfinished_from

STREAMS = ("error", "out")
KILLS = 3
DAWDLE = """
CREATE FUNCTION wa_sessions.dawdle() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END';
CREATE TRIGGER dawdle BEFORE INSERT ON wa_sessions.event FOR EACH ROW EXECUTE FUNCTION wa_sessions.dawdle();
"""


def _names(folder: Path) -> dict[str, str]:
    return {stream: str(folder / f"messenger-{stream}.log") for stream in STREAMS}


def _state(fleet: Fleet) -> tuple[object, ...]:
    counters = fleet.sql(
        "SELECT phone_id, bad_mac_errors, bad_decrypt_errors, last_error_at FROM wa_sessions.health ORDER BY phone_id"
    )
    events = fleet.sql(
        "SELECT phone_id, kind, detail, at FROM wa_sessions.event ORDER BY phone_id, at, kind, detail::text"
    )
    return counters, events


def test_recording_that_is_killed_counts_each_line_once(fleet: Fleet, tmp_path: Path) -> None:
    """Killed at random moments of a transaction that takes about a second; the logs grow between the kills."""
    names, content = _names(tmp_path), {stream: backend_logs.content(stream) for stream in STREAMS}
    for stream in STREAMS:
        Path(names[stream]).write_bytes(content[stream])
    fleet.json("logs", *names.values(), "--record")
    clean = _state(fleet)
    tables = ("health", "event", "log_file", "log_watch", "log_failure")
    fleet.sql(f"TRUNCATE {', '.join(f'wa_sessions.{table}' for table in tables)}")
    fleet.sql(DAWDLE)
    moments, died = random.Random(5), 0
    for _ in range(KILLS):
        process = _start(fleet, "logs", *names.values(), "--record")
        try:
            process.wait(moments.uniform(0.3, 1.6))
        except warm.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            died += 1
        process.communicate()
    assert died
    assert _start(fleet, "logs", *names.values(), "--record").wait() == 0
    assert _state(fleet) == clean


def _start(fleet: Fleet, *arguments: str) -> warm.Popen[bytes]:
    return warm.Popen(
        [PROGRAM, *arguments],
        env=os.environ | {"WA_SESSIONS_DATABASE_URL": fleet.url},
        stdin=warm.DEVNULL,
        stdout=warm.DEVNULL,
        stderr=warm.DEVNULL,
    )


class Follower:
    """``logs --follow --json`` as a process."""

    def __init__(self, fleet: Fleet, *names: str) -> None:
        self.process = warm.Popen(
            [PROGRAM, "logs", *names, "--follow", "--json"],
            env=os.environ | {"WA_SESSIONS_DATABASE_URL": fleet.url},
            stdin=warm.DEVNULL,
            stdout=warm.PIPE,
        )

    def until(self, wanted: dict[str, Any]) -> None:
        """Read on until the totals are those; the test's own time limit ends what never comes."""
        assert self.process.stdout
        for line in self.process.stdout:
            if json.loads(line) == wanted:
                return
        raise AssertionError("it ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=PATIENCE)


def test_followed_through_rotations_the_totals_are_the_same(fleet: Fleet, tmp_path: Path) -> None:
    content = {stream: backend_logs.content(stream)[:200_000] for stream in STREAMS}
    names, copies = _names(tmp_path), _names(tmp_path / "whole")
    (tmp_path / "whole").mkdir()

    def written(begin: int, end: int) -> dict[str, Any]:
        """The next part of each log, cut anywhere, and the totals of all up to it."""
        for stream in STREAMS:
            for name in (names[stream], copies[stream]):
                with Path(name).open("ab") as file:
                    file.write(content[stream][begin:end])
        cut = _names(tmp_path / "cut")
        (tmp_path / "cut").mkdir(exist_ok=True)
        for stream in STREAMS:
            text = Path(copies[stream]).read_bytes()
            Path(cut[stream]).write_bytes(text[: unfinished_from(text)])
        return fleet.json("logs", *cut.values())

    started = written(0, 50_003)
    with Follower(fleet, *names.values()) as follower:
        follower.until(started)
        for stream in STREAMS:
            shutil.copyfile(names[stream], f"{names[stream]}.1")
            os.truncate(names[stream], 0)
        follower.until(written(50_003, 110_007))
        lines = {stream: content[stream].index(b"\n", 110_007) + 1 for stream in STREAMS}
        for stream in STREAMS:
            for name in (names[stream], copies[stream]):
                with Path(name).open("ab") as file:
                    file.write(content[stream][110_007 : lines[stream]])
            content[stream] = content[stream][lines[stream] :]
            Path(names[stream]).rename(f"{names[stream]}.2")
        follower.until(written(0, 60_000))
    assert follower.process.returncode == 130
