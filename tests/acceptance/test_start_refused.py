"""What `run` finds out about its database before it takes any phone."""

from collections.abc import Iterator

import pytest
from support.databases import EMPTY
from support.installation import Installation
from support.pooler import SessionPooler, TransactionPooler

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.emulator import Emulator

ALICE = "77051234567"


def test_a_worker_does_not_begin_behind_a_transaction_pooler(installation: Installation) -> None:
    installation.add(ALICE)
    with TransactionPooler(installation.url) as pooler:
        worker = installation.run(ALICE, WA_SESSIONS_DATABASE_URL=f"{pooler.url}?sslmode=disable")
        assert worker.wait() == 4
        message = worker.lines.since(0)[-1]["message"]
        assert "is a pooler in transaction mode (source: WA_SESSIONS_DATABASE_URL)" in message
        assert "--store-url" in message
    assert installation.sql("SELECT 1 FROM wa_sessions.lease UNION ALL SELECT 1 FROM wa_sessions.worker") == []


def test_a_worker_works_behind_a_session_pooler(installation: Installation) -> None:
    installation.add(ALICE)
    with SessionPooler(installation.url, 20) as pooler:
        worker = installation.run(
            ALICE,
            WA_SESSIONS_DATABASE_URL=f"{pooler.url}?sslmode=disable",
            WA_SESSIONS_STORE_URL=f"{installation.url}&search_path=whatsmeow&sslmode=disable",
        )
        installation.scan(worker, ALICE)
        worker.expect("connected", ALICE)
        assert worker.stop() == 0


@pytest.fixture
def small(emu: Emulator, own_server: EmbeddedServer, own_server_url: str) -> Iterator[Installation]:
    """An installation whose server has few connections."""
    own_server.stop()
    few = EmbeddedServer(own_server.data_dir, settings={"fsync": "off", "max_connections": "12"})
    few.ensure_running()
    installation = Installation(emu, own_server_url)
    yield installation
    installation.close()


def test_more_sessions_than_the_server_has_connections_for_are_refused(small: Installation) -> None:
    numbers = [f"7705123450{digit}" for digit in range(9)]
    small.add(*numbers)
    worker = small.run(*numbers)
    assert worker.wait() == 4
    message = worker.lines.since(0)[-1]["message"]
    assert "needs at least 13 connections to Postgres: 4 for the worker, 9 for 9 sessions" in message
    assert "left of 12" in message
    assert small.sql("SELECT 1 FROM wa_sessions.lease UNION ALL SELECT 1 FROM wa_sessions.worker") == []
    small.sql(f"ALTER DATABASE {EMPTY.name} SET search_path = whatsmeow, public")
    with TransactionPooler(small.url, 2) as pooler:
        pooled = small.run(*numbers, WA_SESSIONS_STORE_URL=f"{pooler.url}?sslmode=disable")
        for number in numbers:
            pooled.expect("qr", number)
        assert pooled.stop() == 0
