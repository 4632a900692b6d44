"""``errors``: the counters, the history behind them, and following it."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support import corpus
from support.history import write_event

from wa_sessions import cli
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch import errors as action
from wa_sessions.cli.watch.stats import NOT_KNOWN
from wa_sessions.db import backend, health
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import HealthRow
from wa_sessions.health.reconnect import State
from wa_sessions.keys.phone_ref import PhoneRef

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=400)
ROW = HealthRow(1, 1, 1, 0, (), NOW, "bad_mac", 7, 2, State.CONNECTED, None, NOW, None, None)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def opened(database: Database) -> Opened:
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
        health.save(conn, ROW)
        write_event(conn, 1, 1, "connected", {})
        write_event(conn, 1, 1, "error_counted", {"error_kind": "bad_mac", "count": 1, "limit": 3})
        write_event(conn, 1, 1, "session_quarantined", {"sender": "99@lid", "keys": 1}, operation_id="op-1")
        write_event(conn, 3, 1, "message_lost", {"message_id": "3EB0\x1b", "seconds": 86400, "copies": 1})
        write_event(conn, 99, 2, "session_closed", {"error_kind": "bad_decrypt", "count": 5, "limit": 5})
        conn.execute("UPDATE wa_sessions.event SET at = now() - interval '2 days' WHERE phone_id = 99")
        return Opened(database, backend.detect(conn))


def test_what_is_shown(opened: Opened, database_url: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.execute(["errors", "--since", "7d", "--database-url", database_url]) == 0
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines())
    counters, _, history = shown.partition("\n\n")
    assert [line.split()[:7] for line in counters.splitlines()[:3]] == [
        ["PHONE", "HEALTH", "MAC", "DEC", "RECOVERED", "LOST", "WAITING"],
        [corpus.BUFFERS, "unknown", NOT_KNOWN, NOT_KNOWN, "7", "2", "0"],
        [corpus.PAIRED, "unknown", NOT_KNOWN, NOT_KNOWN, "0", "0", "0"],
    ]
    assert [line[21:].split(maxsplit=1) for line in history.splitlines()[1:]] == [
        ["#99", "session closed at the limit, Bad Decrypt 5 of…"],
        [corpus.BUFFERS, "Bad MAC error 1 of 3"],
        [corpus.BUFFERS, "mended: the session with 99@lid was put into…"],
        [corpus.PAIRED, "message 3EB0\ufffd lost after 24 h: no copy of it…"],
    ]


def test_for_programs(opened: Opened, database_url: str, capsys: Capture) -> None:
    where = ["--database-url", database_url]
    assert cli.execute(["errors", "#3", "--json", *where]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [one["phone"] for one in data["phones"]] == [corpus.PAIRED]
    (entry,) = data["history"]
    assert entry.pop("at").endswith("Z")
    assert entry == {
        "phone_id": 3,
        "phone": corpus.PAIRED,
        "organization_id": 1,
        "kind": "message_lost",
        "detail": {"message_id": "3EB0\x1b", "seconds": 86400, "copies": 1},
        "operation": None,
    }
    assert cli.execute(["errors", "-o", "tsv", "--limit", "1", "--since", "7d", *where]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert (header.split("\t")[-1], row.split("\t")[4]) == ("operation", "message_lost")
    assert cli.execute(["errors", "--org", "7", *where]) == 0
    assert capsys.readouterr().out == (
        "no errors known\nnobody observes 1 of 1 phone, so that errors there are not known:\n"
        "    wa-sessions sessions\n\n"
        "no error was recorded within 24h; all that happened: wa-sessions timeline <phone>\n"
    ), "silence is not health"
    assert cli.execute(["errors", "--since", "99999w", *where]) == 2


def test_following_tells_each_entry_once_however_late_it_is_committed(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action, "LOOK_EVERY", 0)
    told = action.follow(opened, PhoneRef(phone_id=1), None, since=LONG_AGO)
    assert [one.event.kind for one in itertools.islice(told, 2)] == ["error_counted", "session_quarantined"]
    with opened.database.transaction() as late:
        write_event(late, 1, 1, "counter_reset", {"error_kind": "bad_mac"})
        with opened.database.transaction() as conn:
            write_event(conn, 1, 1, "message_pending", {"message_id": "M", "cause": "bad_mac"})
        assert next(told).event.kind == "message_pending"
    assert next(told).event.kind == "counter_reset"
    with opened.database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.event SET at = at - interval '1 hour'")
        write_event(conn, 2, 1, "message_lost", {})
        write_event(conn, 1, 1, "message_lost", {})
    assert [one.event.kind for one in itertools.islice(told, 1)] == ["message_lost"]
    with opened.database.transaction() as conn:
        write_event(conn, 1, 1, "message_recovered", {})
    assert next(told).event.kind == "message_recovered"


def test_every_kind_has_words(opened: Opened, database_url: str, capsys: Capture) -> None:
    with opened.database.transaction() as conn:
        health.save(conn, replace(ROW, bad_mac_errors=0))
        for kind in action.KINDS:
            write_event(conn, 1, 1, kind, {})
    assert cli.execute(["errors", corpus.BUFFERS, "--database-url", database_url]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 1 + 1 + 2 + len(action.KINDS)
