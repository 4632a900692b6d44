"""The installed command against a real database: its output, its exit codes and what it leaves behind."""

import os
import secrets
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.store import everything, fill_device
from support.terminal import PROGRAM, Terminal

from wa_sessions.db import backend, health, phones, workers
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.health import HealthRow
from wa_sessions.db.settings import Target
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.reconnect import State, Status
from wa_sessions.process_identity import ProcessIdentity

ALICE, BOB = "77051234567", "77057654321"
STATS = (
    *("phone_id", "phone", "organization_id", "display_name", "connection_type", "status", "state", "state_detail"),
    *("state_since", "retry_at", "bad_mac_errors", "bad_decrypt_errors", "max_bad_mac_errors"),
    *("max_bad_decrypt_errors", "is_healthy", "severity", "standing", "unknown_because", "unknown_reason"),
    *("last_error_at", "last_error_kind"),
    *("messages_recovered", "messages_lost", "messages_pending"),
    *("messages_uncounted", "uncounted_because", "uncounted_reason", "inbox_waiting", "inbox_dead"),
    *("inbox_oldest_seconds", "last_connected_at", "worker", "logs_read_at", "qr_waits", "closed_by"),
    *("closed_in_logs_at", "force_closed_at", "force_closed_by", "force_closed_reason", "observed"),
)


@pytest.fixture
def terminal(database_url: str, tmp_path: Path) -> Terminal:
    return Terminal({"WA_SESSIONS_DATABASE_URL": database_url, "WA_SESSIONS_DATA_DIR": str(tmp_path / "none")})


@pytest.fixture
def nowhere(tmp_path: Path) -> Terminal:
    """A machine on which nothing is configured."""
    return Terminal({"WA_SESSIONS_DATA_DIR": str(tmp_path / "none")})


def make_phone(
    database: Database, number: str = ALICE, org: int = 1, *, kind: str = "neonize", status: str = "disconnected"
) -> int:
    with database.transaction() as conn:
        found = backend.detect(conn)
        phone = phones.add(conn, found, number, org, "Reception")
        phones.assign(conn, found, phone, ConnectionType(kind)) if kind != "neonize" else None
        phones.set_status(conn, found, phone.id, Status(status))
        return phone.id


def baileys_keys(conn: Connection) -> list[tuple[object, ...]]:
    rows = conn.execute('SELECT * FROM public."baileys_auth" ORDER BY "organizationId", "phoneJid", "key"').fetchall()
    return [tuple(row.values()) for row in rows]


def make_baileys_keys(conn: Connection, number: str, org: int = 1) -> int:
    odd = ["plain", "Ünïcode \u2028 ☎", "back\\slash \\u0000 \t\n'quotes\"", "x" * 100_000, ""]
    for n, value in enumerate(odd):
        row = (org, number, f"session-{n}", value, "base64_json")
        conn.execute('INSERT INTO public."baileys_auth" VALUES (%s, %s, %s, %s, %s)', row)
    return len(odd)


ELSEWHERE = ProcessIdentity("elsewhere", 4242)


def observe(database: Database, phone_id: int, *, identity: ProcessIdentity = ELSEWHERE, **errors: Any) -> None:
    """What a worker on another machine has written."""
    worker = uuid4()
    with database.transaction() as conn:
        workers.register(conn, worker, identity, "0.1.0")
        conn.execute(
            """INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, clock_timestamp() + interval '1 minute')
               ON CONFLICT (phone_id) DO UPDATE SET worker_id = excluded.worker_id, expires_at = excluded.expires_at""",
            (phone_id, worker),
        )
        now = conn.execute("SELECT clock_timestamp() AS now").fetchone()
        assert now
        row = HealthRow(
            phone_id, 1, 0, 0, (), now["now"], "bad_mac", 4, 1, State.CONNECTED, None, now["now"], None, None
        )
        health.save(conn, replace(row, **errors))


# ------------------------------------------------------------------------------------------------- bad input


BAD_INPUT: list[tuple[list[str | bytes], int, str]] = [
    (["stats", "77059999999"], 3, "wa-sessions add 77059999999 --org N"),
    (["run", "77059999999"], 3, "wa-sessions add"),
    (["stats", ALICE], 2, "1, 2"),
    (["stats", ALICE, "--org", "7"], 3, "organization 1, 2"),
    (["stats", "abc"], 2, "'abc'"),
    (["stats", b"\xff\xfe77"], 2, "no phone"),
    (["stats", "1", "2"], 2, "extra argument"),
    (["nonsense"], 2, "No such command"),
    (["restore", "op-unknown"], 1, "no operation"),
    (["run", "--org", "7"], 2, "wa-sessions add"),
    (["send", ALICE, BOB, "hi", "--org", "1"], 1, f"wa-sessions run {ALICE}"),
]


def test_bad_input(terminal: Terminal, two_organizations: None) -> None:
    """All at once, as none of them changes anything."""
    with ThreadPoolExecutor(2) as pool:
        ends = pool.map(lambda row: terminal(*row[0]), BAD_INPUT)
    wrong = [
        f"{arguments}: {ended}"
        for (arguments, code, words), ended in zip(BAD_INPUT, ends, strict=True)
        if (ended.code, ended.out) != (code, "") or words not in ended.err or "Traceback" in ended.err
    ]
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def two_organizations(database: Database) -> None:
    """One number under two devices in two organizations, as the backend allows it."""
    make_phone(database)
    with database.transaction() as conn:
        conn.execute(
            """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "updatedAt", "connectionType")
               VALUES (2, %s, now(), 'neonize')""",
            (f"{ALICE}:3@s.whatsapp.net",),
        )


@pytest.mark.parametrize("spelling", ["+7 705 123-45-67", "٧٧٠٥١٢٣٤٥٦٧", f"{ALICE}:27@s.whatsapp.net", "#{id}"])
def test_any_spelling(terminal: Terminal, database: Database, spelling: str) -> None:
    phone_id = make_phone(database)
    assert terminal("stats", spelling.format(id=phone_id), "--json").json["phone"] == ALICE


# ------------------------------------------------------------------------------------------------- databases


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://ops:s3cr3t-word@127.0.0.1:1/shop", "ops:***@127.0.0.1:1"),
        ("postgresql://ops:s3cr3t-word@nowhere.invalid/shop", "nowhere.invalid"),
        ("postgresql://ops:s3cr3t-word@h:port/shop", "--database-url"),
        ("mysql://ops:s3cr3t-word@h/shop", "mysql://"),
        ("s3cr3t-word", "--database-url"),
        ("", "empty"),
    ],
)
def test_a_bad_database(nowhere: Terminal, url: str, words: str) -> None:
    ended = nowhere("stats", ALICE, "--database-url", url)
    assert (ended.code, ended.out) == (4, "")
    assert words in ended.err
    assert "s3cr3t-word" not in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("command", ["stats 1234567", "add 1234567 --org 1", "run"])
def test_nothing_configured(nowhere: Terminal, tmp_path: Path, command: str) -> None:
    ended = nowhere(*command.split())
    assert (ended.code, ended.out) == (4, "")
    assert "--database-url" in ended.err
    assert not (tmp_path / "none").exists()


def test_an_embedded_database_is_made_on_request_only(open_folder: Path) -> None:
    folder = open_folder / f"embedded-{secrets.token_hex(3)}"
    terminal = Terminal({"WA_SESSIONS_DATA_DIR": str(folder)})
    try:
        added = terminal("add", "+7 705 123-45-67", "--org", "1", "--embedded", "--json")
        assert added.json == {
            "phone_id": 1,
            "phone": ALICE,
            "organization_id": 1,
            "display_name": None,
            "connection_type": "neonize",
            "status": "disconnected",
        }
        assert str(folder) in added.err
        assert terminal("stats", ALICE, "--json").json["severity"] == "unknown"
        assert terminal("db", "status", "--json").json["pending"] == []
    finally:
        stopped = terminal("db", "stop", "--json").json
    assert stopped == {"stopped": True, "folder": str(folder)}
    assert terminal("db", "stop", "--json").json["stopped"] is False


def test_without_our_schema(empty_target: Target, database_url: str, nowhere: Terminal) -> None:
    with Database.open(empty_target) as opened, opened.transaction() as conn:
        name = conn.info.dbname
        backend.create_tables(conn)
        conn.execute(
            'INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "updatedAt") VALUES (1, %s, now())',
            (f"{ALICE}@s.whatsapp.net",),
        )
    url = database_url.replace(database_url.split("/")[3].split("?")[0], name)
    found = nowhere("stats", ALICE, "--json", "--database-url", url).json
    assert (found["severity"], found["bad_mac_errors"], found["observed"]) == ("unknown", 0, False)
    listed = nowhere("sessions", "--json", "--database-url", url).json["sessions"][0]
    assert listed == found | {"store": "baileys", "keys": 0, "keys_by_type": {}}
    refused = nowhere("force-close", ALICE, "--yes", "--database-url", url)
    assert refused.code == 1
    assert "wa-sessions db upgrade" in refused.err
    assert nowhere("db", "upgrade", "--json", "--database-url", url).json["applied"][0].startswith("0001")
    assert nowhere("db", "upgrade", "--json", "--database-url", url).json == {"applied": []}
    assert nowhere("force-close", ALICE, "--yes", "--database-url", url).code == 0


def test_a_role_that_may_only_select(terminal: Terminal, database: Database, database_url: str) -> None:
    make_phone(database)
    role = f"reader_{secrets.token_hex(4)}"
    with database.transaction() as conn:
        conn.execute(
            f'CREATE ROLE {role} LOGIN; GRANT SELECT ON public."OrganizationPhone", public."baileys_auth" TO {role}'
        )
    try:
        url = database_url.replace("postgres@", f"{role}@")
        assert terminal("stats", ALICE, "--json", "--database-url", url).json["unknown_because"] == "no_permission"
        refused = terminal("add", BOB, "--org", "1", "--database-url", url)
        assert refused.code == 1
        assert role in refused.err
    finally:
        with database.transaction() as conn:
            conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


# ------------------------------------------------------------------------------------------- stats and sessions


def test_stats_of_a_phone_that_nobody_watches(terminal: Terminal, database: Database) -> None:
    make_phone(database)
    found = terminal("stats", ALICE, "--json").json
    assert tuple(found) == STATS
    assert (found["severity"], found["is_healthy"], found["worker"]) == ("unknown", None, None)
    assert f"next: no worker runs it: wa-sessions run {ALICE}" in terminal("stats", ALICE).out


def test_stats_of_a_phone_with_a_worker(terminal: Terminal, database: Database) -> None:
    phone_id = make_phone(database, status="connected")
    observe(database, phone_id)
    found = terminal("stats", ALICE, "--json").json
    assert (found["severity"], found["is_healthy"], found["observed"]) == ("ok", True, True)
    assert (found["worker"]["host"], found["worker"]["pid"]) == ("elsewhere", 4242)
    assert found["state_since"].endswith("Z")
    assert "next:" not in terminal("stats", ALICE).out
    observe(database, phone_id, bad_mac_errors=2)
    found = terminal("stats", ALICE, "--json").json
    assert (found["severity"], found["is_healthy"], found["max_bad_mac_errors"]) == ("critical", False, 3)
    observe(database, phone_id, state="replaced", bad_decrypt_errors=1)
    shown = terminal("stats", ALICE).out
    assert "Bad Decrypt  1 of 5" in shown
    assert f"wa-sessions restart {ALICE}" in shown


def test_limits_are_those_of_the_worker_else_of_the_environment(terminal: Terminal, database: Database) -> None:
    phone_id = make_phone(database, status="connected")
    assert terminal("stats", ALICE, "--json", WA_SESSIONS_MAX_BAD_MAC="9").json["max_bad_mac_errors"] == 9
    assert terminal("stats", ALICE, WA_SESSIONS_MAX_BAD_MAC="many").code == 2
    observe(database, phone_id, bad_mac_errors=2, max_bad_mac=7)
    found = terminal("stats", ALICE, "--json", WA_SESSIONS_MAX_BAD_MAC="9").json
    assert (found["severity"], found["max_bad_mac_errors"]) == ("warning", 7)


def test_the_fleet(terminal: Terminal, database: Database) -> None:
    observe(database, make_phone(database, status="connected"), state="replaced")
    make_phone(database, BOB, 2, kind="baileys", status="logged_out")
    with database.transaction() as conn:
        conn.execute("""UPDATE public."OrganizationPhone" SET "displayName" = repeat('日本 \x1b[2J', 20)""")
        conn.execute('UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval \'2 days\'')
    listed = terminal("sessions", "--json").json["sessions"]
    assert [(found["phone"], found["severity"]) for found in listed] == [(ALICE, "unknown"), (BOB, "unknown")]
    found = terminal("stats", ALICE, "--json").json
    differs = {"store": "whatsmeow", "keys": 0, "keys_by_type": {}, "worker": found["worker"]}  # how long it was silent
    assert listed[0] | {"worker": found["worker"]} == found | differs
    shown = terminal("sessions", COLUMNS="80").out
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "\x1b" not in shown
    assert f"{ALICE}: another program uses these keys" in shown
    header, row, _ = terminal("sessions", "-o", "tsv").out.splitlines()
    assert dict(zip(header.split("\t"), row.split("\t"), strict=True))["worker_host"] == "elsewhere"
    chosen = terminal("sessions", "--json", "--status", "logged_out").json["sessions"]
    assert [found["phone"] for found in chosen] == [BOB]
    assert terminal("sessions", "--json", "--org", "9").json == {"sessions": []}


def test_a_reader_that_leaves_early(terminal: Terminal, database: Database) -> None:
    make_phone(database)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([PROGRAM, "sessions"], env=terminal.environment, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


# -------------------------------------------------------------------------------------- force-close and restore


def test_force_close_asks_first(terminal: Terminal, database: Database) -> None:
    make_phone(database, status="connected")
    refused = terminal("force-close", ALICE)
    assert (refused.code, refused.out) == (6, "")
    assert "--yes" in refused.err
    declined = terminal.typing("n", "force-close", ALICE)
    assert (declined.code, declined.out) == (6, "")
    assert terminal("stats", ALICE, "--json").json["status"] == "connected"
    agreed = terminal.typing("y", "force-close", ALICE, "--json")
    assert agreed.json["status"] == "disconnected"
    assert f"Close {ALICE}" in agreed.err


def test_the_count_is_typed_before_many_phones_are_changed(terminal: Terminal, database: Database) -> None:
    for number in (ALICE, BOB, "77050000001"):
        make_phone(database, number)
    for typed in ("y", "2"):
        declined = terminal.typing(typed, "reset-status", "all", "loading")
        assert (declined.code, declined.out) == (6, "")
    assert "Set the status of 3 phones to loading? Type 3 to go on" in declined.err
    agreed = terminal.typing("3", "reset-status", "all", "loading", "--json")
    assert [part["status"] for part in agreed.json["phones"]] == ["loading"] * 3


def test_force_close_without_a_worker(terminal: Terminal, database: Database) -> None:
    phone_id = make_phone(database, status="connected")
    with database.transaction() as conn:
        health.save(
            conn,
            HealthRow(phone_id, 1, 2, 4, ("x",), None, None, 7, 0, State.CONNECTED, None, _now(conn), None, "bad_mac"),
        )
    closed = terminal("force-close", ALICE, "--reason", "maintenance", "--yes", "--json").json
    assert (closed["status"], closed["operation"], closed["worker_id"]) == ("disconnected", None, None)
    found = terminal("stats", ALICE, "--json").json
    assert (found["bad_mac_errors"], found["bad_decrypt_errors"], found["messages_recovered"]) == (0, 0, 7)
    assert (found["status"], found["state"], found["state_detail"]) == ("disconnected", "force_closed", "maintenance")
    with database.transaction() as conn:
        (event,) = health.last_events(conn, phone_id, 10)
    assert (event.kind, event.stored["reason"], event.stored["logout"]) == ("force_closed", "maintenance", False)
    assert socket.gethostname() in event.stored["actor"]


def test_a_neonize_session_goes_and_comes_back(terminal: Terminal, database: Database) -> None:
    make_phone(database, status="connected")
    with database.transaction() as conn:
        rows = sum(fill_device(conn, f"{ALICE}:{device}@s.whatsapp.net") for device in (3, 4))
        fill_device(conn, f"{BOB}:1@s.whatsapp.net")
        before = everything(conn)
    closed = terminal("force-close", ALICE, "--logout", "--yes", "--json").json
    assert (closed["status"], closed["keys"]) == ("logged_out", rows)
    with database.transaction() as conn:
        assert everything(conn) != before
    restored = terminal("restore", closed["operation"], "--json").json
    assert restored["keys"] == rows
    with database.transaction() as conn:
        assert everything(conn) == before
    assert terminal("stats", ALICE, "--json").json["status"] == "disconnected"
    again = terminal("restore", closed["operation"], "--json").json
    assert (again["already"], again["keys"]) == (True, 0)


def test_a_connected_baileys_phone_is_refused(terminal: Terminal, database: Database) -> None:
    make_phone(database, kind="baileys", status="connected")
    with database.transaction() as conn:
        keys = make_baileys_keys(conn, ALICE)
        make_baileys_keys(conn, f"{ALICE}0")
        before = baileys_keys(conn)
    refused = terminal("force-close", ALICE, "--yes", "--logout")
    assert refused.code == 5
    assert "--process-stopped" in refused.err
    with database.transaction() as conn:
        assert baileys_keys(conn) == before
    closed = terminal("force-close", ALICE, "--logout", "--process-stopped", "--yes")
    assert closed.code == 0
    assert "Node process" in closed.err
    with database.transaction() as conn:
        assert len(baileys_keys(conn)) == len(before) - keys
    operation = closed.out.partition("wa-sessions restore ")[2].split()[0]
    assert terminal("restore", operation, "--json").json["counts"] == {"baileys_auth": keys}
    with database.transaction() as conn:
        assert baileys_keys(conn) == before
    assert terminal("stats", ALICE, "--json").json["status"] == "connected"


def test_a_baileys_phone_is_closed_in_the_database_while_its_process_is_stopped(
    terminal: Terminal, database: Database
) -> None:
    make_phone(database, kind="baileys", status="connected")
    with database.transaction() as conn:
        keys = make_baileys_keys(conn, ALICE)
    refused = terminal("force-close", ALICE, "--yes")
    assert (refused.code, refused.out) == (5, "")
    closed = terminal("force-close", ALICE, "--yes", "--json", "--process-stopped")
    assert (closed.json["status"], closed.json["quarantined"], closed.json["undo"]) == ("disconnected", 0, None)
    assert "Node process" in closed.err
    with database.transaction() as conn:
        assert len(baileys_keys(conn)) == keys


def test_a_worker_that_was_killed_here_is_in_nobodys_way(terminal: Terminal, database: Database) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    identity = replace(ProcessIdentity.own(), pid=gone.pid)
    observe(database, make_phone(database, status="connected"), identity=identity)
    assert terminal("force-close", ALICE, "--yes", "--json").json["worker_id"] is None


def test_a_phone_of_the_official_api(terminal: Terminal, database: Database) -> None:
    make_phone(database)
    with database.transaction() as conn:
        conn.execute('UPDATE public."OrganizationPhone" SET "connectionType" = \'waba\'')
    found = terminal("stats", ALICE, "--json").json
    assert (found["severity"], found["unknown_because"]) == ("unknown", "waba")
    codes = [terminal(*words).code for words in (["force-close", ALICE, "--yes"], ["run", ALICE], ["restart", ALICE])]
    assert codes == [2, 5, 5]


# ------------------------------------------------------------------------------------------------ assign and run


def test_assign(terminal: Terminal, database: Database) -> None:
    phone_id = make_phone(database, kind="baileys", status="connected")
    refused = terminal("run", ALICE)
    assert refused.code == 5
    assert f"wa-sessions assign {ALICE} neonize" in refused.err
    refused = terminal("assign", ALICE, "neonize")
    assert (refused.code, f"wa-sessions adopt {ALICE}" in refused.err) == (5, True)
    assigned = terminal("assign", ALICE, "neonize", "--process-stopped", "--json")
    assert assigned.json["connection_type_before"] == "baileys"
    assert terminal("assign", ALICE, "neonize", "--json").json["changed"] is False
    back = terminal("assign", ALICE, "baileys", "--json")
    assert (back.json["connection_type"], back.json["phone_id"]) == ("baileys", phone_id)


def _now(conn: Connection) -> datetime:
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row
    assert isinstance(row["now"], datetime)
    return row["now"]


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
