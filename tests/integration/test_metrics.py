"""Metrics: their samples, the file for node_exporter, and the listener of a worker."""

import json
import re
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import corpus
from support.history import write_event
from support.waiting import PATIENCE

from wa_sessions import cli
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.metrics import Exposition
from wa_sessions.db import backend, health
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import HealthRow
from wa_sessions.errors import WaSessionsError
from wa_sessions.health.reconnect import State
from wa_sessions.worker import metrics
from wa_sessions.worker.metrics import Work, listening, timed

ROW = HealthRow(1, 1, 2, 0, (), None, None, 7, 2, State.CONNECTED, None, datetime.now(UTC), None, None)
LABELS = {"phone", "organization", "id", "connection_type", "status", "severity", "state", "kind", "type", "what"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def opened(database: Database) -> Opened:
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
        conn.execute("""UPDATE public."OrganizationPhone" SET "status" = 'a status of its own' WHERE "id" = 3""")
        health.save(conn, ROW)
        for kind, detail in (
            ("error_counted", {"error_kind": "bad_mac", "sender": "99887766:1@lid"}),
            ("error_counted", {"error_kind": "bad_mac", "sender": "99887766:1@lid"}),
            ("message_recovered", {"seconds": 1.5}),
            ("session_quarantined", {"sender": "99887766:1@lid", "keys": 1}),
            ("session_closed", {"error_kind": "bad_decrypt"}),
            ("force_closed", {}),
            ("connected", {}),
            ("disconnected", {}),
            ("banned", {}),
        ):
            write_event(conn, 1, 1, kind, detail)
        write_event(conn, 99, 1, "connected", {})
        return Opened(database, backend.detect(conn))


def samples(text: str) -> Samples:
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    listed = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(listed) == len(found)
    return listed


def sample(found: Samples, name: str, **labels: str) -> float:
    (value,) = (
        value
        for (key, with_), value in found.items()
        if key == f"wa_sessions_{name}" and labels.items() <= dict(with_).items()
    )
    return value


def test_what_the_database_has(
    opened: Opened, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.execute(["metrics", "--database-url", database_url]) == 0
    text = capsys.readouterr().out
    found = samples(text)
    first = {"phone": corpus.BUFFERS, "organization": "1", "id": "1"}
    assert sample(found, "sessions", connection_type="baileys", status="other", severity="unknown") == 1
    assert sample(found, "session_info", **first, status="connected", severity="unknown", state="connected") == 1
    assert sample(found, "errors", **first, kind="bad_mac") == 2
    assert sample(found, "error_limit", **first, kind="bad_decrypt") == 5
    assert sample(found, "counted_errors_total", **first, kind="bad_mac") == 2
    assert (sample(found, "messages_recovered_total", **first), sample(found, "messages_lost_total", **first)) == (7, 2)
    assert sample(found, "message_recovery_seconds_sum", **first) == 1.5
    assert sample(found, "repairs_total", **first, what="session") == 1
    assert sample(found, "repairs_total", **first, what="collection") == 0
    assert sample(found, "closes_total", **first, kind="bad_decrypt") == 1
    assert sample(found, "closes_total", **first, kind="forced") == 1
    assert sample(found, "connections_total", **first) == 1
    assert sample(found, "connection_ends_total", **first, reason="banned") == 1
    assert sample(found, "keys", phone=corpus.PAIRED, type="session") == 91
    assert sample(found, "observed_age_seconds", **first) < 60
    assert sample(found, "database_up") == 1
    assert {name for _, labels in found for name, _ in labels} <= LABELS | {
        "reason",
        "part",
        "version",
        "unknown_because",
    }
    assert "99887766" not in text
    assert "a status of its own" not in text
    path = tmp_path / "wa.prom"
    assert cli.execute(["metrics", "--textfile", str(path), "--without-keys", "--database-url", database_url]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert not [name for name, _ in samples(path.read_text()) if name == "wa_sessions_keys"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["wa.prom"]


def test_a_file_that_cannot_be_written_stays_as_it_was(
    opened: Opened, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wa.prom"
    path.write_text("before")
    assert cli.execute(["metrics", "--textfile", str(path), "--database-url", "postgresql://127.0.0.1:1/x"]) == 4
    assert path.read_text() == "before"
    assert (
        cli.execute(["metrics", "--textfile", str(tmp_path / "none" / "wa.prom"), "--database-url", database_url]) == 1
    )
    assert cli.execute(["metrics", "--textfile", "wa.txt", "--database-url", database_url]) == 2
    assert "end with .prom" in capsys.readouterr().err


def test_without_our_schema_and_for_programs(
    opened: Opened, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened.database.transaction() as conn:
        conn.execute("ALTER SCHEMA wa_sessions RENAME TO away")
    try:
        assert cli.execute(["metrics", "--json", "--database-url", database_url]) == 0
    finally:
        with opened.database.transaction() as conn:
            conn.execute("ALTER SCHEMA away RENAME TO wa_sessions")
    data = json.loads(capsys.readouterr().out)
    assert data["textfile"] is None
    assert {"name": "wa_sessions_database_up", "labels": {}, "value": 1} in data["samples"]


def test_a_worker_answers_a_scrape(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_timings", dict.fromkeys(Work, metrics.Timing()))
    with timed(Work.REPAIR):
        pass
    exposition = Exposition(opened)
    with listening(("127.0.0.1", 0), exposition.render) as port:
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            first = samples(answer.read().decode())
        with opened.database.transaction() as conn:
            health.save(conn, replace(ROW, bad_mac_errors=1))
            conn.execute("DELETE FROM public.baileys_auth")
        with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE) as answer:
            second = samples(answer.read().decode())
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url, timeout=PATIENCE)
        with pytest.raises(WaSessionsError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            listening(("127.0.0.1", port), exposition.render).__enter__()
    assert (sample(first, "errors", id="1", kind="bad_mac"), sample(second, "errors", id="1", kind="bad_mac")) == (2, 1)
    assert sample(second, "keys", phone=corpus.PAIRED, type="session") == 91  # counted every five minutes
    assert sample(second, "repair_seconds_count") == 1
    assert sample(second, "close_seconds_count") == 0
    assert ("process_open_fds", frozenset()) in second


def test_a_database_that_is_away_is_told(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from wa_sessions.db.settings import Target

    away = Database(Target("postgresql://127.0.0.1:1/x", None, "test"), 1)
    found = samples(Exposition(Opened(away, opened.backend)).render()[1].decode())
    assert sample(found, "database_up") == 0
    assert ("wa_sessions_repair_seconds_count", frozenset()) in found
    assert not [name for name, _ in found if re.match("wa_sessions_errors", name)]
