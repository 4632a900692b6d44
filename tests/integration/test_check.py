"""``check`` on phones in a database, as a monitor runs it."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from support import corpus

from wa_sessions import cli
from wa_sessions.db import health, workers
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import HealthRow
from wa_sessions.health.reconnect import State
from wa_sessions.process_identity import ProcessIdentity

NOW = datetime.now(UTC)
ROW = HealthRow(1, 1, 0, 0, (), None, None, 0, 0, State.CONNECTED, None, NOW, None, None)
Check = Callable[..., tuple[int, str]]

INBOX = "inbox=0;;;0 inbox_dead=0;;;0 inbox_oldest=0s;300;1800;0"


@pytest.fixture
def phones(database: Database) -> Database:
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
        conn.execute(
            """UPDATE public."OrganizationPhone" SET "connectionType" = 'neonize' WHERE "organizationId" = 1"""
        )
    return database


@pytest.fixture
def check(database_url: str, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(*arguments: str, url: str = database_url) -> tuple[int, str]:
        code = cli.execute(["check", *arguments, "--database-url", url])
        shown = capsys.readouterr()
        assert shown.err == ""
        assert shown.out.count("\n") == 1
        return code, shown.out.rstrip("\n")

    return run


def observed(phones: Database, phone_id: int = 1, *, seconds: float = 0, **fields: Any) -> None:
    """A worker elsewhere runs a phone, and gave its last sign of life some seconds ago."""
    worker = uuid4()
    with phones.transaction() as conn:
        health.save(conn, replace(ROW, phone_id=phone_id, **fields))
        workers.register(conn, worker, ProcessIdentity("elsewhere", 1), "1.0")
        conn.execute(
            "UPDATE wa_sessions.worker SET heartbeat_at = now() - make_interval(secs => %s) WHERE id = %s",
            (seconds, worker),
        )
        conn.execute(
            """INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, now() + interval '1 hour')
               ON CONFLICT (phone_id) DO UPDATE SET worker_id = excluded.worker_id""",
            (phone_id, worker),
        )


def test_one_phone(phones: Database, check: Check) -> None:
    number, name = corpus.BUFFERS, f"WA-SESSIONS {{}} - {corpus.BUFFERS}: "
    assert check(number)[1].startswith(name.format("CRITICAL") + "no worker runs it |")
    observed(phones)
    assert check(number) == (
        0,
        name.format("OK") + "connected, Bad MAC 0 of 3, Bad Decrypt 0 of 5 | "
        f"bad_mac=0;0;1;0;3 bad_decrypt=0;0;3;0;5 pending=0;;;0 lost=0c;;;0 {INBOX}",
    )
    observed(phones, bad_decrypt_errors=1)
    assert check(number)[0] == 1
    observed(phones, bad_decrypt_errors=4)
    code, line = check(number)
    assert (code, line.partition(" | ")[0]) == (
        2,
        name.format("CRITICAL") + "Bad MAC 0 of 3, Bad Decrypt 4 of 5: the next error closes it",
    )
    observed(phones, seconds=400)
    code, line = check(number)
    assert code == 3
    assert re.match(re.escape(name.format("UNKNOWN")) + r"last observed 4\d\d s ago, more than 300 s \|", line)
    assert check(number, "--freshness", "10m")[0] == 0
    observed(phones, state="banned")
    assert check(number)[1].startswith(name.format("UNKNOWN") + "not connected (banned) |")


def test_few_keys(phones: Database, check: Check) -> None:
    observed(phones)
    code, line = check(corpus.BUFFERS, "--few-keys", "1")
    assert (code, line.partition(" | ")[0].partition(": ")[2]) == (2, "0 keys, fewer than 1")  # whatsmeow has none
    code, line = check(corpus.PENDING, "--few-keys", "2")
    assert (code, "1 key, fewer than 2 |" in line, line.endswith("keys=1;;2:;0")) == (2, True, True)
    assert check(corpus.SEVENTH, "--few-keys", "2")[0] == 3
    assert check(corpus.WABA, "--few-keys", "2")[0] == 3
    assert check(corpus.LOGGED_OUT)[1].startswith(f"WA-SESSIONS CRITICAL - {corpus.LOGGED_OUT}: logged out |")


def test_a_fleet(phones: Database, check: Check) -> None:
    observed(phones, 1)
    observed(phones, 3, bad_mac_errors=1)
    text = f"WA-SESSIONS WARNING - 1 warning, 1 ok: {corpus.PAIRED} Bad MAC 1 of 3, Bad Decrypt 0 of 5"
    figures = "ok=1;;;0;2 warning=1;0;;0;2 critical=0;;0;0;2 unknown=0;;;0;2 pending=0;;;0 lost=0c;;;0"
    figures = f"{figures} {INBOX}"
    assert check("--org", "1") == (1, f"{text} | {figures}")
    code, line = check("--all")
    assert code == 2
    assert f"1 critical, 1 warning, 3 unknown, 1 ok: {corpus.LOGGED_OUT} logged out; " in line
    assert check("--org", "99")[0] == 3
    assert check("--all", "--few-keys", "3")[1].startswith("WA-SESSIONS CRITICAL - 4 critical")


def test_whatever_keeps_it_from_a_verdict_is_unknown(
    phones: Database, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = {
        ("77000000000",): "no phone",
        (): "name a phone, or --all, or --org N",
        (corpus.BUFFERS, "--all"): "name a phone, or --all",
        ("--all", "--nonsense"): "nonsense",
        ("--all", "--freshness", "soon"): "'soon'",
        ("8 705 123 45 67",): "national",
    }
    for arguments, words in unknown.items():
        code, line = check(*arguments)
        assert (code, line.startswith("WA-SESSIONS UNKNOWN - "), words in line) == (3, True, True), line
    code, line = check("--all", url="postgresql://ops:s3cr3t@127.0.0.1:1/shop")
    assert (code, line.startswith("WA-SESSIONS UNKNOWN - "), "s3cr3t" in line) == (3, True, False)

    def broken(*_arguments: object, **_options: object) -> None:
        raise ValueError("postgresql://ops:s3cr3t@db/shop |\nsecond")

    monkeypatch.setattr("wa_sessions.cli.terminal.opened", broken)
    assert check("--all") == (3, "WA-SESSIONS UNKNOWN - postgresql://***@db/shop / second")


def test_without_our_schema(phones: Database, check: Check) -> None:
    with phones.transaction() as conn:
        conn.execute("ALTER SCHEMA wa_sessions RENAME TO away")
    try:
        code, line = check(corpus.BUFFERS)
        assert (code, "nobody observes it: run wa-sessions db upgrade" in line) == (3, True)
        assert check("--all")[0] == 2  # one is logged out
    finally:
        with phones.transaction() as conn:
            conn.execute("ALTER SCHEMA away RENAME TO wa_sessions")


def test_for_programs(phones: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    observed(phones)
    assert cli.execute(["check", "--org", "1", "--json", "--database-url", database_url]) == 2
    data = json.loads(capsys.readouterr().out)
    assert (data["verdict"], data["code"], len(data["phones"])) == ("CRITICAL", 2, 2)
    assert data["line"].startswith("WA-SESSIONS CRITICAL - 1 critical, 1 ok: ")
    first = data["phones"][0]
    assert first.pop("age_seconds") < 60
    assert first == {
        "phone": corpus.BUFFERS,
        "verdict": "OK",
        "reason": "connected, Bad MAC 0 of 3, Bad Decrypt 0 of 5",
        "severity": "ok",
        "status": "connected",
        "state": "connected",
        "keys": None,
        "inbox_waiting": 0,
        "inbox_dead": 0,
        "inbox_oldest_seconds": None,
    }
