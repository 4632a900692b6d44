"""The primary dies, its replica is promoted, and the sessions are back: real servers, real neonize clients."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link
from support.replica import Pair, pair

from wa_sessions.db import backend, migrate
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import resolve
from wa_sessions.emulator import Emulator

ALICE = "77051234567"


@pytest.fixture
def both(open_folder: Path) -> Iterator[Pair]:
    with pair(open_folder / "failover") as servers:
        with Database.open(resolve(servers.url)) as opened, opened.transaction() as conn:
            backend.create_tables(conn)
            migrate.upgrade(conn)
        yield servers


@pytest.fixture
def installation(emu: Emulator, both: Pair) -> Iterator[Installation]:
    installation = Installation(emu, both.url)
    yield installation
    installation.close()


def test_sessions_are_back_after_a_failover(installation: Installation, both: Pair, peers: ClientProcess) -> None:
    worker = installation.paired(ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "before")
    worker.received(ALICE, "before")
    both.caught_up()
    mark = worker.mark()
    both.kill_primary()
    worker.expect("store_lost", since=mark)
    bob.send_to(ALICE, "meanwhile")
    both.promote()
    worker.expect("connected", ALICE, since=mark)
    worker.received(ALICE, "meanwhile", since=mark)
    bob.send_to(ALICE, "after")
    worker.received(ALICE, "after", since=mark)
    assert _store_connections(both) > 0
    assert worker.process.poll() is None
    assert worker.stop() == 0


def _store_connections(both: Pair) -> int:
    """Of neonize: its connections give no name of their own."""
    with psycopg.connect(both.url_of(both.standby)) as conn:
        row = conn.execute(
            """SELECT count(*) FROM pg_stat_activity
               WHERE backend_type = 'client backend' AND application_name = '' AND pid <> pg_backend_pid()"""
        ).fetchone()
    return int(row[0]) if row else 0
