"""The key store goes away, stands behind a pooler, or the worker is killed in the middle of a change."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link
from support.waiting import PATIENCE

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.emulator import Emulator

ALICE = "77051234567"


def test_no_message_is_lost_while_postgres_is_away(
    emu: Emulator, own_server: EmbeddedServer, own_server_url: str, peers: ClientProcess
) -> None:
    installation = Installation(emu, own_server_url)
    try:
        worker = installation.paired(ALICE, arguments=("--lease", "15s"))  # a busy machine ends no host by its deadline
        bob = link(emu, peers, "bob")
        bob.send_to(ALICE, "before")
        worker.received(ALICE, "before")
        since = worker.mark()
        own_server.stop()
        stopped = time.monotonic()
        pause = threading.Event()
        for number in range(50):
            bob.send_to(ALICE, f"text {number}")
            pause.wait(max(0, stopped + number * 0.2 - time.monotonic()))
        worker.expect("store_lost", since=since)
        emu.wait_disconnected(installation.devices[ALICE], 1)
        pause.wait(max(0, stopped + 10 - time.monotonic()))
        own_server.ensure_running()
        worker.expect("connected", ALICE, since=since)
        worker.received(ALICE, "text 49", since=since)
        texts = worker.texts(ALICE, since=since)
        assert sorted(texts) == sorted(f"text {number}" for number in range(50))
        stats = installation.stats(ALICE)
        assert (stats["bad_mac_errors"], stats["bad_decrypt_errors"], stats["messages_lost"]) == (0, 0, 0)
        assert (stats["status"], stats["severity"]) == ("connected", "ok")
        assert not {"session_closed", "session_quarantined", "error_counted"} & set(worker.events(ALICE))
        told = [entry["text"] for entry in installation.json("timeline", ALICE)["entries"]]
        assert any(text.startswith("the database did not answer for ") for text in told)
        total = installation.json("report", ALICE, "--since", "1h")["total"]
        assert total["up_seconds"] > 0
        assert total["observed_seconds"] - total["up_seconds"] > 9  # the outage, though it was written down after it
    finally:
        installation.close()


@contextmanager
def _held(installation: Installation, query: str) -> Iterator[None]:
    """Another connection that holds locks, so that a change stops in its middle."""
    with psycopg.connect(installation.url) as conn:
        conn.execute(query.encode())
        yield
        conn.rollback()


WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE '%%delete%%'"


@pytest.mark.parametrize("table", ["whatsmeow_pre_keys", "whatsmeow_device"])
def test_a_worker_killed_in_the_middle_of_a_close_leaves_nothing_half_done(
    installation: Installation, peers: ClientProcess, table: str
) -> None:
    worker = installation.paired(ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "hello")
    worker.received(ALICE, "hello")
    installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    for number in range(2):
        bob.send_to(ALICE, f"lost {number}")
        worker.expect("error_counted", ALICE, containing=f"#{number + 1}")
    with _held(installation, f"LOCK TABLE whatsmeow.{table} IN SHARE ROW EXCLUSIVE MODE"):
        bob.send_to(ALICE, "lost 2")
        worker.expect("error_counted", ALICE, containing="#3")
        installation.until(WAITING)
        worker.kill()
    installation.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')")
    assert installation.sql(f"SELECT count(*) AS n FROM whatsmeow.{table}") != [{"n": 0}]
    assert installation.sql("SELECT closing FROM wa_sessions.health") == [{"closing": "bad_mac"}]
    assert not installation.sql("SELECT 1 FROM wa_sessions.operation WHERE action = 'close'")
    again = installation.run(ALICE)
    closed = again.expect("session_closed", ALICE)
    again.expect("qr", ALICE)
    assert again.events(ALICE).count("session_closed") == 1
    assert installation.sql("SELECT count(*) AS n FROM whatsmeow.whatsmeow_device") == [{"n": 0}]
    operation = installation.sql(
        "SELECT keys FROM wa_sessions.operation_phone WHERE operation_id = %s", closed["operation"]
    )
    kept = installation.sql(
        "SELECT count(*) AS n FROM wa_sessions.quarantine WHERE operation_id = %s", closed["operation"]
    )
    assert operation[0]["keys"] == kept[0]["n"] > 0


def test_a_worker_killed_in_the_middle_of_a_repair_leaves_nothing_half_done(
    installation: Installation, peers: ClientProcess
) -> None:
    worker = installation.paired(ALICE)
    bob = link(installation.emu, peers, "bob")
    bob.send_to(ALICE, "hello")
    worker.received(ALICE, "hello")
    sessions = installation.sql("SELECT their_id FROM whatsmeow.whatsmeow_sessions ORDER BY their_id")
    fault = installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    with _held(installation, "SELECT FROM whatsmeow.whatsmeow_sessions FOR UPDATE"):
        bob.send_to(ALICE, "lost")
        installation.until(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE '%%for update%%'"
        )
        worker.kill()
    installation.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')")
    assert installation.sql("SELECT their_id FROM whatsmeow.whatsmeow_sessions ORDER BY their_id") == sessions
    assert installation.sql("SELECT bad_mac_errors AS n FROM wa_sessions.health") == [{"n": 0}]
    assert not installation.sql("SELECT 1 FROM wa_sessions.operation")
    fault.heal()
    again = installation.run(ALICE)
    again.expect("connected", ALICE)
    link(installation.emu, peers, "carol").send_to(ALICE, "still here")
    again.received(ALICE, "still here")


def test_killed_workers_never_block_the_next(installation: Installation) -> None:
    installation.paired(ALICE).kill()
    again = installation.run(ALICE)
    again.expect("connected", ALICE)
    assert installation.stats(ALICE)["worker"]["pid"] == again.process.pid


def test_a_store_url_that_leads_into_another_schema_is_refused(installation: Installation) -> None:
    installation.add(ALICE)
    worker = installation.run(ALICE, WA_SESSIONS_STORE_URL=installation.url)
    assert worker.wait() == 4
    assert "search_path" in worker.lines.since(0)[-1]["message"]
    assert not installation.sql("SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'whatsmeow%'")


def test_sessions_work_through_a_transaction_pooler(
    installation: Installation, peers: ClientProcess, tmp_path: Path
) -> None:
    from support.pooler import TransactionPooler

    installation.sql("CREATE SCHEMA IF NOT EXISTS whatsmeow")
    name = installation.sql("SELECT current_database() AS name")[0]["name"]
    installation.sql(f'ALTER DATABASE "{name}" SET search_path = whatsmeow, public')
    with TransactionPooler(installation.url) as pooler:
        installation.add(ALICE)
        worker = installation.run(ALICE, WA_SESSIONS_STORE_URL=f"{pooler.url}?sslmode=disable&pgbouncer=true")
        installation.scan(worker, ALICE)
        worker.expect("connected", ALICE)
        bob = link(installation.emu, peers, "bob")
        for number in range(50):
            bob.send_to(ALICE, f"text {number}")
        worker.received(ALICE, "text 49")
        assert len(worker.texts(ALICE)) == 50
        assert pooler.split_statements == 0
        assert pooler.transactions > 50


@pytest.mark.parametrize("table", ["lease", "health", "event"])
def test_a_lock_that_is_never_given_does_not_keep_a_worker(installation: Installation, table: str) -> None:
    """As by a migration that somebody left open: what cannot be written is said, and the leases end by themselves."""
    installation.add(ALICE)
    worker = installation.run(ALICE)
    worker.expect("qr", ALICE)
    with psycopg.connect(installation.url) as other:
        other.execute(SQL("LOCK TABLE wa_sessions.{} IN ACCESS EXCLUSIVE MODE").format(Identifier(table)))
        assert worker.stop(PATIENCE) == 0


def test_a_database_server_that_is_stopped_does_not_keep_a_worker(
    emu: Emulator, own_server: EmbeddedServer, own_server_url: str
) -> None:
    installation = Installation(emu, own_server_url)
    installation.add(ALICE)
    worker = installation.run(ALICE)
    worker.expect("qr", ALICE)
    postmaster = psutil.Process(int((own_server.cluster / "postmaster.pid").read_text().split()[0]))
    stopped = [postmaster, *postmaster.children()]
    for process in stopped:
        process.suspend()
    try:
        assert worker.stop(PATIENCE) == 0
    finally:
        for process in stopped:
            process.resume()
        installation.close()
