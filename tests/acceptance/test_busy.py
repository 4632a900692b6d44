"""A row that somebody else has locked: the command waits for a while, says who holds it, and changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.terminal import Terminal

from wa_sessions.db import backend, phones
from wa_sessions.db.gateway import Database
from wa_sessions.db.lock_holders import WORKER
from wa_sessions.db.settings import Target

ALICE = "77051234567"
SECRET = "of no concern to anybody"


@pytest.fixture
def terminal(database_url: str, tmp_path: Path) -> Terminal:
    return Terminal({"WA_SESSIONS_DATABASE_URL": database_url, "WA_SESSIONS_DATA_DIR": str(tmp_path / "none")})


@pytest.fixture
def phone_id(database: Database) -> int:
    with database.transaction() as conn:
        return phones.add(conn, backend.detect(conn), ALICE, 1, "Reception").id


@contextmanager
def locked(target: Target, application: str) -> Iterator[int]:
    """The phone's row, in a transaction of another session; the server's process that holds it."""
    with psycopg.connect(target.conninfo, application_name=application) as holder:
        holder.execute(f"""SELECT '{SECRET}', * FROM public."OrganizationPhone" FOR UPDATE""")
        yield holder.info.backend_pid
        holder.rollback()


def test_who_holds_a_row_is_told(terminal: Terminal, target: Target, phone_id: int) -> None:
    with locked(target, "psql") as pid:
        busy = terminal("rename", ALICE, "Front desk")
    assert (busy.code, busy.out) == (1, "")
    whom = f"psql (process {pid} of the server, role postgres)"
    assert busy.err == f"wa-sessions: busy: {whom} holds a lock that this needs: run it again\n"
    assert SECRET not in busy.err
    assert terminal("stats", ALICE, "--json").json["display_name"] == "Reception"
    assert terminal("rename", ALICE, "Front desk").code == 0


def test_a_worker_is_told_by_its_name(terminal: Terminal, target: Target, phone_id: int) -> None:
    with locked(target, f"{WORKER}msg1/4711"):
        busy = terminal("reset-status", ALICE, "disconnected", "--yes")
    assert busy.code == 1
    assert busy.err.endswith("busy: worker msg1/4711 holds a lock that this needs: run it again\n")
