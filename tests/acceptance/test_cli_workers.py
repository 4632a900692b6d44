"""The installed command and workers that are real rows and locks: output, JSON, exit codes, Ctrl-C."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support import warm
from support.installation import Installation
from support.stand_in_workers import FleetWorker, obeying
from support.terminal import PROGRAM, Terminal
from support.waiting import PATIENCE
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.db import backend, phones, workers
from wa_sessions.db.gateway import Database

ALICE, BOB = "77051234567", "77057654321"


@pytest.fixture
def terminal(database_url: str, tmp_path: Path) -> Terminal:
    return Terminal({"WA_SESSIONS_DATABASE_URL": database_url, "WA_SESSIONS_DATA_DIR": str(tmp_path / "none")})


@pytest.fixture
def ids(database: Database) -> list[int]:
    with database.transaction() as conn:
        found = backend.detect(conn)
        return [phones.add(conn, found, number, 1).id for number in (ALICE, BOB)]


@pytest.fixture
def pair(database: Database, ids: list[int]) -> Iterator[tuple[FleetWorker, FleetWorker]]:
    """Two workers; the first one has both phones."""
    with closing(FleetWorker(database, "msg1", 10)) as one, closing(FleetWorker(database, "msg2", 20)) as two:
        one.take(*ids)
        yield one, two


def test_a_rolling_restart(terminal: Terminal, pair: tuple[FleetWorker, FleetWorker]) -> None:
    one, two = pair
    with obeying(one, two):
        moved = terminal("move", ALICE, "--to", "msg2/20")
        assert (moved.code, moved.err) == (0, "")
        assert moved.out.startswith(f"msg2/20 has {ALICE} now (before: msg1/10); nobody had it for ")
        drained = terminal("drain", "msg1/10", "--json")
    assert (drained.json["phones"], drained.json["left"], drained.json["ended"]) == (1, 0, False)
    assert "msg1/10 gives its 1 phone away to msg2/20" in drained.err
    listed = terminal("workers", "--json").json
    assert [(row["worker"], row["state"], row["phones"]) for row in listed["workers"]] == [
        ("msg1/10", "draining", 0),
        ("msg2/20", "serving", 2),
    ]
    assert listed["phones_without_worker"] == []
    assert terminal("drain", "10", "--undo").out == "msg1/10 takes phones again\n"
    assert terminal("operations").out.count("drain") == 2


def test_progress_at_a_terminal(terminal: Terminal, pair: tuple[FleetWorker, FleetWorker]) -> None:
    one, two = pair
    with obeying(one, two, most=1):
        late = terminal.typing("", "drain", "msg1/10", "--timeout", "2s")
    assert late.code == 1
    assert "1 of 2 phones left" in late.err.splitlines()
    assert "\x1b" not in late.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("drain", "msg9/1"), 3, "msg1/10, msg2/20; wa-sessions workers"),
        (("drain",), 2, ""),
        (("drain", "msg1/10", "--timeout", "2 days"), 2, "no duration"),
        (("move", ALICE, "--to", "msg9/1"), 3, "no worker is called 'msg9/1'"),
        (("move", "77059999999", "--to", "msg1/10"), 3, "wa-sessions add 77059999999"),
        (("move", ALICE), 2, "--to"),
        (("move", ALICE, "--to", "msg2/20", "--timeout", "1s"), 1, "msg1/10 has it"),
        (("move", ALICE, "--to", "msg1/10"), 0, ""),
        (("workers", "--json", "-o", "tsv"), 2, "exclude each other"),
    ],
)
def test_exit_codes(
    terminal: Terminal, pair: tuple[FleetWorker, FleetWorker], arguments: tuple[str, ...], code: int, words: str
) -> None:
    ended = terminal(*arguments)
    assert (ended.code, words in ended.err, "Traceback" in ended.err) == (code, True, False), ended.err
    assert code in (0, 2) or len(ended.err.splitlines()) == 1


def test_the_last_worker_is_not_drained(terminal: Terminal, database: Database, ids: list[int]) -> None:
    with closing(FleetWorker(database, "msg1", 10)) as only:
        only.take(*ids)
        refused = terminal("drain", "msg1/10")
    assert (refused.code, refused.out) == (5, "")
    assert f"no other worker could take 2 of the 2 phones of msg1/10 ({ALICE}, {BOB})" in refused.err


def test_without_our_schema(terminal: Terminal, database: Database) -> None:
    with database.transaction() as conn:
        conn.execute("DROP SCHEMA wa_sessions CASCADE")
    for arguments in (("workers",), ("drain", "msg1/10"), ("move", "#1", "--to", "msg1/10")):
        ended = terminal(*arguments)
        assert ended.code in (1, 3)
        assert "Traceback" not in ended.err


def test_ctrl_c_ends_the_waiting(
    terminal: Terminal, database: Database, ids: list[int], pair: tuple[FleetWorker, FleetWorker]
) -> None:
    """A drain goes on, and says so; a move is not asked for any more."""
    draining = _started(terminal, "drain", "msg1/10")
    _until(lambda: any(row.draining for row in _rows(database)))
    assert "wa-sessions drain msg1/10 --undo" in _interrupted(draining)
    assert any(row.draining for row in _rows(database))
    assert terminal("drain", "10", "--undo").code == 0
    moving = _started(terminal, "move", ALICE, "--to", "20")
    _until(lambda: _wanted(database) == 1)
    _interrupted(moving)
    assert _wanted(database) == 0


def test_a_worker_that_runs_and_one_that_was_killed(installation: Installation) -> None:
    worker = installation.paired(ALICE)
    (one,) = installation.json("workers")["workers"]
    assert (one["pid"], one["state"], one["phones"], one["connected"]) == (worker.process.pid, "serving", 1, 1)
    assert (one["scope"], one["lease_seconds"], one["silent_seconds"] < 2) == (None, 5.0, True)
    shown = installation.cli("workers").stdout
    assert re.search(rf"/{worker.process.pid}  1 named +1/1  serving ", shown)
    assert all(len(line) <= 80 for line in shown.splitlines())
    worker.kill()
    (one,) = installation.json("workers")["workers"]
    assert (one["state"], one["phones"]) == ("gone", 0)
    assert f"1 phone has no worker ({ALICE}): wa-sessions run" in installation.cli("workers").stdout
    assert "gone: it has no phones to give away" in installation.cli("drain", str(worker.process.pid), code=1).stderr


def _started(terminal: Terminal, *arguments: str) -> warm.Popen[str]:
    return warm.Popen(
        [PROGRAM, *arguments],
        env=terminal.environment,
        stdin=warm.DEVNULL,
        stdout=warm.DEVNULL,
        stderr=warm.PIPE,
        text=True,
    )


def _interrupted(process: warm.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in said
    return said


def _until(reached: Callable[[], bool]) -> None:
    for attempt in Retrying(stop=stop_after_delay(30), wait=wait_fixed(0.05), reraise=True):
        with attempt:
            assert reached()


def _rows(database: Database) -> list[workers.WorkerRow]:
    with database.transaction() as conn:
        return workers.roster(conn)


def _wanted(database: Database) -> int:
    with database.transaction() as conn:
        row = conn.execute("SELECT count(wanted_by) AS n FROM wa_sessions.lease").fetchone()
        return int(row["n"]) if row else 0
