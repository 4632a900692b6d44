"""Old history goes, in batches, and its sums stay."""

import asyncio
import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.history import write_event

import wa_sessions.db
from wa_sessions import cli
from wa_sessions.db import health, monitoring, pruning
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import MessageRow
from wa_sessions.db.pruning import Pruned
from wa_sessions.db.settings import Target
from wa_sessions.db.sql import queries
from wa_sessions.worker import pruner
from wa_sessions.worker.pruner import prune_daily

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=100)
MESSAGE = MessageRow(1, "", "9@lid", "9@lid", False, "bad_mac", "msg", "c", 1, False, False, None, OLD, OLD, None, None)
DAYS = timedelta(days=90)
MIGRATIONS = Path(wa_sessions.db.__file__).parent / "migrations"


@pytest.fixture
def old(database: Database) -> Database:
    with database.transaction() as conn:
        for number in range(12):
            kind = "message_recovered" if number % 2 else "error_counted"
            detail = {"seconds": 1.5} if number % 2 else {"error_kind": "bad_mac"}
            write_event(conn, 1 + number // 8, 1, kind, detail)
        conn.execute("UPDATE wa_sessions.event SET at = %s WHERE id < 11", (OLD,))
        health.save_message(conn, replace(MESSAGE, message_id="ended", ended_at=OLD, outcome="lost"))
        health.save_message(conn, replace(MESSAGE, message_id="recent", ended_at=NOW, outcome="lost"))
        health.save_message(conn, replace(MESSAGE, message_id="pending"))
        conn.execute(
            """INSERT INTO wa_sessions.command (phone_id, worker_id, verb, actor, finished_at) VALUES
               (1, gen_random_uuid(), 'send', 'ops', now() - interval '100 days'),
               (1, gen_random_uuid(), 'send', 'ops', NULL)"""
        )
        conn.execute(
            """INSERT INTO wa_sessions.command (phone_id, worker_id, verb, actor, requested_at, taken_at) VALUES
               (1, gen_random_uuid(), 'nobody took it', 'ops', now() - interval '100 days', NULL),
               (1, gen_random_uuid(), 'its worker died', '', now() - interval '100 days', now() - interval '9 days')"""
        )
    return database


def totals(database: Database) -> set[monitoring.Total]:
    with database.transaction() as conn:
        return set(monitoring.totals(conn))


@pytest.mark.parametrize("batch", [3, 5_000])
def test_sums_are_the_same_before_and_after(old: Database, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(pruning, "BATCH", batch)
    before = totals(old)
    assert monitoring.Total(1, "message_recovered", 4, 6.0) in before
    assert monitoring.Total(2, "error_counted.bad_mac", 2, None) in before
    assert pruning.prune(old, DAYS) == Pruned(10, 1, 3)
    assert totals(old) == before
    assert pruning.prune(old, DAYS) == Pruned(0, 0, 0)
    with old.transaction() as conn:
        conn.execute("UPDATE wa_sessions.event SET at = %s", (OLD,))
    assert pruning.prune(old, DAYS) == Pruned(2, 0, 0)
    assert totals(old) == before
    with old.transaction() as conn:
        assert [row["kind"] for row in conn.execute("SELECT kind FROM wa_sessions.event")] == ["history_pruned"] * 2
        left = [row["message_id"] for row in conn.execute("SELECT message_id FROM wa_sessions.message ORDER BY 1")]
    assert left == ["pending", "recent"]


def test_a_worker_prunes_by_itself(old: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruner, "FIRST_AFTER", 0)

    async def run(keep: timedelta) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(prune_daily(old, keep), 0.3)

    asyncio.run(run(timedelta()))
    assert pruning.prunable(old, DAYS) == Pruned(10, 1, 3)
    asyncio.run(run(DAYS))
    assert pruning.prunable(old, DAYS) == Pruned(0, 0, 0)


def test_the_command(old: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["db", "prune", "--database-url", database_url, "--older-than"]
    assert cli.execute([*command, "90d", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"events": 10, "messages": 1, "commands": 3, "dry_run": True}
    assert cli.execute([*command, "90d"]) == 6
    assert "Delete 14 rows of history older than 90d for good?" in capsys.readouterr().err
    assert cli.execute([*command, "23h", "--yes"]) == 2
    assert "a day is the least" in capsys.readouterr().err
    assert cli.execute([*command, "90d", "--yes"]) == 0
    assert capsys.readouterr().out == "10 entries, 1 message and 3 requests went\n"
    assert cli.execute([*command, "90d"]) == 0
    assert capsys.readouterr().out == "nothing is that old\n"


def test_the_history_that_was_there_is_counted_as_the_table_is_made(empty_target: Target) -> None:
    """With what was pruned of it before; what is written from then on is added."""
    with Database.open(empty_target) as database, database.transaction() as conn:
        conn.execute(queries("migrations").create)
        for name in sorted(MIGRATIONS.iterdir()):
            if name.name == "0013_event_totals.sql":
                conn.execute(
                    """INSERT INTO wa_sessions.event (phone_id, organization_id, kind, detail) VALUES
                       (1, 1, 'history_pruned', '{"totals": {"connected": [40, null], "message_recovered": [2, 3.5]}}'),
                       (1, 1, 'message_recovered', '{"seconds": 1.5}'), (1, 1, 'message_recovered', '{"seconds": "?"}'),
                       (1, 1, 'error_counted', '{"error_kind": "bad_mac"}'), (2, 1, 'connected', '{}')"""
                )
            conn.execute(name.read_bytes())
        assert set(monitoring.totals(conn)) == {
            monitoring.Total(1, "connected", 40, None),
            monitoring.Total(1, "message_recovered", 4, 5.0),
            monitoring.Total(1, "error_counted.bad_mac", 1, None),
            monitoring.Total(2, "connected", 1, None),
        }
        write_event(conn, 1, 1, "connected", {})
        write_event(conn, 1, 1, "message_recovered", {"seconds": 0.5})
        assert monitoring.Total(1, "connected", 41, None) in monitoring.totals(conn)
        assert monitoring.Total(1, "message_recovered", 5, 5.5) in monitoring.totals(conn)


def test_what_is_rolled_back_is_not_counted(database: Database) -> None:
    with contextlib.suppress(LookupError), database.transaction() as conn:
        write_event(conn, 1, 1, "connected", {})
        raise LookupError
    assert totals(database) == set()


def test_totals_are_read_without_the_history(old: Database) -> None:
    before = totals(old)
    with old.transaction() as conn:
        conn.execute("DELETE FROM wa_sessions.event")
    assert totals(old) == before
    with old.transaction() as conn:
        plan = conn.execute(b"EXPLAIN " + queries("monitoring").totals.as_string().encode()).fetchall()
    assert "event_total" in str(plan)
    assert " event " not in str(plan)
