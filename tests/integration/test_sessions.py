"""The list of all phones: their keys, and the filters."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from support import corpus
from support.store import fill_device

from wa_sessions import cli
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.sessions import fleet
from wa_sessions.actions.watch.top import snapshot
from wa_sessions.cli.watch.top.arrange import Order, arranged
from wa_sessions.db import backend, health
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import HealthRow
from wa_sessions.errors import DatabaseError, PermissionMissing, UsageError
from wa_sessions.health.reconnect import State

NOW = datetime.now(UTC)
CONNECTED = HealthRow(0, 1, 0, 0, (), None, None, 0, 0, State.CONNECTED, None, NOW, None, None)


@pytest.fixture
def opened(database: Database) -> Opened:
    with database.transaction() as conn:
        return Opened(database, corpus.load(conn, "BaileysAuth"))


def change(opened: Opened, statement: str, *values: object) -> None:
    with opened.database.transaction() as conn:
        conn.execute(statement, values)


def watched(opened: Opened, phone_id: int, **fields: Any) -> None:
    """A worker elsewhere runs the phone."""
    lease = "INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, %s)"
    change(opened, lease, phone_id, uuid4(), NOW + timedelta(hours=1))
    with opened.database.transaction() as conn:
        health.save(conn, replace(CONNECTED, phone_id=phone_id, **fields))


def numbers(opened: Opened, **filters: Any) -> set[str]:
    return {found.stats.phone for found in fleet(opened, **filters)}


def test_every_phone_comes_with_its_keys(opened: Opened) -> None:
    change(opened, """UPDATE public."OrganizationPhone" SET "connectionType" = 'neonize' WHERE "id" = 1""")
    with opened.database.transaction() as conn:
        made = fill_device(conn, f"{corpus.BUFFERS}:3@s.whatsapp.net")
        made += fill_device(conn, f"{corpus.BUFFERS}:4@s.whatsapp.net")
        fill_device(conn, f"{corpus.BUFFERS}0:4@s.whatsapp.net")
    listed = {found.stats.phone: found for found in fleet(opened)}
    assert {number: (found.store, found.keys) for number, found in listed.items()} == {
        corpus.BUFFERS: ("whatsmeow", made),
        corpus.PAIRED: ("baileys", 185),
        corpus.SEVENTH: ("baileys", 447),
        corpus.LOGGED_OUT: ("baileys", 152),
        corpus.PENDING: ("baileys", 1),
        corpus.SEVENTH_PAIRED: ("baileys", 432),
        corpus.WABA: (None, None),
    }
    assert listed[corpus.BUFFERS].keys_by_type["creds"] == 2  # type: ignore[index]
    assert listed[corpus.PAIRED].keys_by_type == {
        "session": 91,
        "pre-key": 41,
        "sender-key": 40,
        "app-state-sync-version": 5,
        "sender-key-memory": 4,
        "app-state-sync-key": 3,
        "creds": 1,
    }
    assert listed[corpus.WABA].as_dict()["keys_by_type"] is None


def test_filters_narrow_together(opened: Opened) -> None:
    assert numbers(opened, few_keys=2) == {corpus.PENDING}
    assert numbers(opened, few_keys=153) == {corpus.PENDING, corpus.LOGGED_OUT}
    assert numbers(opened, few_keys=1) == set()
    assert numbers(opened, few_keys=153, status="pending") == {corpus.PENDING}
    assert numbers(opened, organization_id=1, few_keys=187) == {corpus.PAIRED}
    assert numbers(opened, organization_id=7, status="connected") == {corpus.SEVENTH_PAIRED, corpus.WABA}


def test_the_unhealthy(opened: Opened) -> None:
    """Counted errors, or it is down; nobody observes phones of Node, so there the status has to do."""
    assert numbers(opened, unhealthy=True) == {corpus.LOGGED_OUT, corpus.PENDING}
    change(opened, """UPDATE public."OrganizationPhone" SET "connectionType" = 'neonize' WHERE "organizationId" = 1""")
    watched(opened, 1, bad_mac_errors=1)
    watched(opened, 3)
    assert numbers(opened, unhealthy=True) == {corpus.LOGGED_OUT, corpus.PENDING, corpus.BUFFERS}
    with opened.database.transaction() as conn:
        health.save(conn, replace(CONNECTED, phone_id=3, state=State.REPLACED))
    assert numbers(opened, unhealthy=True, organization_id=1) == {corpus.BUFFERS, corpus.PAIRED}
    change(opened, """UPDATE public."OrganizationPhone" SET "status" = 'logged_out' WHERE "connectionType" = 'waba'""")
    assert corpus.WABA not in numbers(opened, unhealthy=True)
    rows = snapshot(opened)
    assert {row.stats.phone for row in arranged(rows, Order.HEALTH, unhealthy=True)} == numbers(opened, unhealthy=True)


def test_a_status_of_the_backends_own(opened: Opened) -> None:
    change(opened, """UPDATE public."OrganizationPhone" SET "status" = 'paused' WHERE "id" = 3""")
    assert numbers(opened, status="paused") == {corpus.PAIRED}
    assert numbers(opened, status="reconnecting") == set()
    with pytest.raises(UsageError, match="no status: write one of pending"):
        fleet(opened, status="broken")


def test_without_a_table_of_auth_keys(opened: Opened) -> None:
    change(opened, 'DROP TABLE public."BaileysAuth"')
    with opened.database.transaction() as conn:
        without = Opened(opened.database, backend.detect(conn))
    listed = fleet(without)
    assert {(found.store, found.keys) for found in listed} == {("baileys", None), (None, None)}
    with pytest.raises(DatabaseError, match='no table "baileys_auth" or "BaileysAuth"'):
        fleet(without, few_keys=5)


def test_a_store_that_may_not_be_read(opened: Opened) -> None:
    change(opened, """UPDATE public."OrganizationPhone" SET "connectionType" = 'neonize' WHERE "id" = 1""")
    role = "sessions_reader"
    change(
        opened, f'CREATE ROLE {role} LOGIN; GRANT SELECT ON public."OrganizationPhone", public."BaileysAuth" TO {role}'
    )
    target = replace(opened.database.target, conninfo=f"{opened.database.target.conninfo} user={role}")
    try:
        with Database.open(target) as theirs:
            listed = {found.stats.phone: found for found in fleet(Opened(theirs, opened.backend))}
            assert (listed[corpus.BUFFERS].keys, listed[corpus.PAIRED].keys) == (None, 185)
            with pytest.raises(PermissionMissing, match="whatsmeow"):
                fleet(Opened(theirs, opened.backend), few_keys=5)
            assert len(fleet(Opened(theirs, opened.backend), organization_id=2, few_keys=500)) == 3
    finally:
        change(opened, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_command(
    opened: Opened, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WA_SESSIONS_DATABASE_URL", database_url)
    change(
        opened, """UPDATE public."OrganizationPhone" SET "displayName" = 'a name that is too long to be shown whole'"""
    )
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.execute(["sessions"]) == 0
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines())
    header, *rows = shown.splitlines()
    assert header.split() == ["PHONE", "ORG", "NAME", "STATUS", "HEALTH", "MAC", "DEC", "KEYS", "CONNECTED"]
    assert " 187 " in next(row for row in rows if row.startswith(corpus.BUFFERS))
    monkeypatch.delenv("COLUMNS")
    assert cli.execute(["sessions", "--few-keys", "2"]) == 0
    header, row, *advice = capsys.readouterr().out.splitlines()
    assert f"wa-sessions qr {corpus.PENDING}" in " ".join(advice)
    assert header.split()[-2:] == ["STORE", "WORKER"]
    assert row.split()[0] == corpus.PENDING
    assert cli.execute(["sessions", "-o", "tsv", "--status", "pending"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.endswith("\tstore\tkeys\tkeys_by_type")
    assert row.endswith("\tbaileys\t1\tcreds=1")
    assert cli.execute(["sessions", "--json", "--unhealthy", "--org", "2"]) == 0
    found, waits = json.loads(capsys.readouterr().out)["sessions"]
    assert waits["phone"] == corpus.PENDING
    assert (found["phone"], found["keys"], found["store"]) == (corpus.LOGGED_OUT, 152, "baileys")
