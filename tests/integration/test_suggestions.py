"""The Tab key with a database: phones, operations, and silence where there is none."""

import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wa_sessions.actions.connection import open_target
from wa_sessions.cli.setup.suggest import answer
from wa_sessions.db import backend, operations, phones
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import embedded_target

TAB = """
import fcntl, os, pathlib, termios
{at_terminal} and fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
from wa_sessions.db import embedded
embedded.default_data_dir = lambda: pathlib.Path({folder!r})
from wa_sessions.cli import main
main()
"""
"""The Tab key with the folder of this machine elsewhere, in a session of its own, with a terminal or without one."""

ALICE, BOB, LONGER = "77051234567", "77057654321", "770512345678"


@pytest.fixture
def filled(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three phones, one of them in two organizations; the environment names the database."""
    with database.transaction() as conn:
        found = backend.detect(conn)
        for number, org, name in ((ALICE, 1, "Bürö 'A' $(id)"), (BOB, 1, None), (LONGER, 2, "x\x1b[2J:y\tz")):
            phones.add(conn, found, number, org, name)
        conn.execute(
            """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "updatedAt")
               VALUES (2, %s, now())""",
            (f"{ALICE}:3@s.whatsapp.net",),
        )
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", database_url)
    return database_url


def test_phones_are_offered_by_what_was_typed(filled: str) -> None:
    assert answer("bash", ["stats", ""]).splitlines() == [ALICE, LONGER, BOB]
    assert answer("bash", ["stats", "+770512"]).splitlines() == [f"+{ALICE}", f"+{LONGER}"]
    assert answer("bash", ["run", BOB, "--org", "2", "7"]).splitlines() == [ALICE, LONGER]
    assert answer("bash", ["stats", "77059"]) == ""
    assert answer("bash", ["stats", "%"]) == ""


def test_names_are_shown_and_steer_nothing(filled: str) -> None:
    assert f"{ALICE}\tBürö 'A' $(id), organization 1; organization 2\n" in answer("fish", ["stats", "7"])
    assert f"{LONGER}:x\ufffd[2J:y\ufffdz, organization 2\n" in answer("zsh", ["stats", "7"])


def test_a_database_can_be_named_on_the_line(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WA_SESSIONS_DATABASE_URL")
    assert answer("bash", ["stats", "--database-url", filled, BOB[:6]]).split() == [BOB]


def test_operations_that_can_be_undone_are_offered(filled: str, database: Database) -> None:
    with database.transaction() as conn:
        found = phones.list_phones(conn, backend.detect(conn))
        made = [_operation(conn, found[:1]), _operation(conn, found), _operation(conn, found[:1])]
        conn.execute("UPDATE wa_sessions.operation_phone SET purged_at = now() WHERE operation_id = %s", (made[2],))
    offered = dict(line.split("\t") for line in answer("fish", ["restore", "op-"]).splitlines())
    assert offered.keys() == set(made[:2])
    assert offered[made[0]].startswith(f"force_close {found[0].number}, ")
    assert offered[made[1]].startswith(f"force_close {len(found)} phones, ")


def _operation(conn: Connection, of: list[phones.Phone]) -> str:
    id_ = operations.open_operation(conn, action="force_close", reason="test", actor="me")
    for phone in of:
        operations.add_phone(conn, id_, phone)
    return id_


def test_an_embedded_server_is_neither_made_nor_started(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(open_folder / "asleep")
    monkeypatch.setenv("WA_SESSIONS_DATA_DIR", str(server.data_dir))
    assert answer("bash", ["stats", ""]) == ""
    assert not server.data_dir.exists()
    server.cluster.mkdir(parents=True)
    (server.cluster / "PG_VERSION").write_text("18\n")
    assert answer("bash", ["stats", ""]) == ""
    assert not server.running()


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d")
        began = time.monotonic()
        assert answer("bash", ["stats", ""]) == ""
        assert time.monotonic() - began < 60


@pytest.fixture(scope="module")
def running(open_folder: Path) -> Iterator[EmbeddedServer]:
    """An embedded database with a phone."""
    server = EmbeddedServer(open_folder / "offering", settings={"fsync": "off"})
    try:
        with open_target(embedded_target(server)) as opened, opened.database.transaction() as conn:
            phones.add(conn, opened.backend, ALICE, 1, None)
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("at_terminal", "named", "offered"), [(True, False, ALICE), (False, False, ""), (False, True, ALICE)]
)
def test_an_embedded_database_is_asked_at_a_terminal_or_where_it_is_named(
    running: EmbeddedServer, at_terminal: bool, named: bool, offered: str
) -> None:
    """As commands take it; but a shell that completes has its terminal elsewhere than on stdin."""
    program = TAB.format(folder=str(running.data_dir), at_terminal=at_terminal)
    variables = {"_WA_SESSIONS_COMPLETE": "complete_bash"}
    if named:
        variables["WA_SESSIONS_DATABASE_URL"] = "embedded"
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", program, "stats", ""],
        env=os.environ | variables,
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, offered, "")
