"""What the documentation shows of a terminal is what its commands print."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import psutil
import pytest
from support import corpus
from support.client_process import ClientProcess
from support.history import write_event
from support.installation import HANDLER, Installation
from support.pages import ROOT, Page, Running, blocks
from support.pairing import Party, link
from support.pooler import TransactionPooler
from support.stand_in_workers import LONG, FleetWorker, obeying
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.db import backend, health, phones
from wa_sessions.db.gateway import Database
from wa_sessions.db.health import HealthRow
from wa_sessions.emulator import AppStateDamage, Emulator, LoginFailure, Phone
from wa_sessions.emulator.app_state import COLLECTIONS
from wa_sessions.health.reconnect import State

TRANSLATED = "docs/ru/quick-start.md"
HELD = (
    "docs/how-to.md",
    "docs/how-to/pgbouncer.md",
    "docs/how-to/several-machines.md",
    "docs/monitoring/README.md",
    "docs/reference/settings.md",
    "docs/tutorial.md",
)
ALICE, BOB = "77051234567", "77057654321"


def test_every_page_that_shows_a_terminal_is_held() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    assert {str(page.relative_to(ROOT)) for page in pages if blocks(page)} == {*HELD, TRANSLATED}


def test_a_translated_page_shows_what_another_shows() -> None:
    shown = {block.text for page in HELD for block in blocks(ROOT / page)}
    assert [block.text for block in blocks(ROOT / TRANSLATED) if block.text not in shown] == []


def test_the_tutorial(emu: Emulator, peers: ClientProcess, open_folder: Path, tmp_path: Path) -> None:
    data = open_folder / "tutorial"
    settings = {"HOME": str(tmp_path), "WA_SESSIONS_DATA_DIR": str(data)}
    page = Page("docs/tutorial.md", {**os.environ, **emu.client_env(), **settings}, tmp_path)
    page.real["/home/ops/.local/share/wa-sessions"] = str(data)
    try:
        _tutorial(page, emu, peers)
    finally:
        page.shown("wa-sessions db stop")
        shutil.rmtree(data)
    page.end()


def _tutorial(page: Page, emu: Emulator, peers: ClientProcess) -> None:
    page.untold = "wa-sessions: the database is the embedded one in "
    page.leave_out("python3.11 -m venv", "it installs the program, which these tests run installed")
    page.run("wa-sessions add")
    page.run("db status")
    (page.folder / "inbox.py").write_text(_handler(page))
    phone = emu.add_phone(ALICE, "Reception")
    running = page.start("wa-sessions run")
    try:
        page.run("session      pairing")
        emu.scan(_qr(page), phone)
        page.log("paired as", running)
        page.run("connected, last connected 2 s ago")
        bob = link(emu, peers, "bob", emu.add_phone(BOB, "Bob"))
        _write(page, bob, "hello, is my parcel there?")
        page.run("wa-sessions send")
        bob.gets("The parcel is here")
        _write(page, bob, "thank you")
        page.run("cat inbox.txt")
        _see_an_error(page, emu, phone, running, bob)
        _close(page, running, bob)
        running.close()
        page.log("INFO    stopping", running)
        page.run("wa-sessions sessions")
        page.run("db stop")
    finally:
        running.close()


def _see_an_error(page: Page, emu: Emulator, phone: Phone, running: Running, bob: Party) -> None:
    fault = emu.damage_messages(to=phone, sender=bob.phone, count=None)
    bob.send_to(ALICE, "lost")
    page.log("did not decrypt (bad_mac)", running)
    page.run("last error   Bad MAC, 2 s ago")
    fault.heal()
    _write(page, bob, "whole again")
    page.log("Bad MAC counter reset", running)


def _close(page: Page, running: Running, bob: Party) -> None:
    page.run("--reason maintenance")
    page.run("(maintenance)")
    page.run("wa-sessions restart +77051234567\n")
    running.says("connected as")
    page.run("--reason hangs")
    bob.send_to(ALICE, "I write while you are away")
    page.run("brought")
    running.says("connected as")
    page.run("last error   Bad MAC, 13 s ago")
    _read(page, "I write while you are away")
    page.run("tail -n 1 inbox.txt")
    page.run("was restored already")


def test_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WA_SESSIONS_CONFIG")
    file = tmp_path / ".config" / "wa-sessions" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[prod]\ndatabase_url = "postgresql://wa:geheim@db/messenger_db"\n')
    file.chmod(0o600)
    page = Page("docs/reference/settings.md", {**os.environ, "HOME": str(tmp_path)}, tmp_path)
    page.real["/home/ops"] = str(tmp_path)
    page.environment |= {"WA_SESSIONS_MAX_BAD_MAC": "5", "COLUMNS": "300"}  # the folder of a test has a long name
    page.run("config show")
    page.run("config example")
    page.end()


def test_several_machines(database: Database, database_url: str, tmp_path: Path) -> None:
    """What workers do is done by stand-ins."""
    page = Page("docs/how-to/several-machines.md", {**os.environ, "WA_SESSIONS_DATABASE_URL": database_url}, tmp_path)
    with database.transaction() as conn:
        found = backend.detect(conn)
        ids = [phones.add(conn, found, f"7705123456{digit}", 1).id for digit in (1, 2, 3)]
    one, two = (FleetWorker(database, host, pid) for host, pid in (("msg1", 4711), ("msg2", 815)))
    one.take(*ids[:2])
    two.take(ids[2])
    now = datetime.now(UTC)
    with database.transaction() as conn:
        for id_ in ids:
            connected = HealthRow(id_, 1, 0, 0, (), None, None, 0, 0, State.CONNECTED, None, now, None, None)
            health.save(conn, connected)
        conn.execute("UPDATE wa_sessions.worker SET hosts = 1, started_at = now() - interval '26 h'")
    with obeying(one, two):
        page.run("$ wa-sessions workers")
        page.run("drain msg1/4711 --undo")
        page.shown("wa-sessions drain msg1/4711 --undo")
        page.shown("wa-sessions move 77051234561 --to msg1/4711")
        page.run("wa-sessions move 77051234563")
        page.shown("wa-sessions move 77051234562 --to msg2/815")
    with database.transaction() as conn:
        conn.execute("UPDATE wa_sessions.worker SET heartbeat_at = clock_timestamp()")
    one.silent(0.6 * LONG)
    page.run("is silent")
    for worker in (one, two):
        worker.close()
    page.end()


def test_pgbouncer(installation: Installation, tmp_path: Path) -> None:
    page = Page("docs/how-to/pgbouncer.md", installation.environment(), tmp_path)
    installation.add(ALICE)
    with TransactionPooler(installation.url) as pooler:
        page.real["postgresql://wa@10.0.0.6:6432/messenger_db"] = pooler.url.replace("postgres:", "postgresql:")
        page.environment["WA_SESSIONS_DATABASE_URL"] = f"{pooler.url}?sslmode=disable"
        page.run("is a pooler in transaction mode")
    role = "CREATE ROLE wa LOGIN IN ROLE pg_read_all_data, pg_write_all_data"
    installation.sql(f"DO $$ BEGIN {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    page.environment["WA_SESSIONS_DATABASE_URL"] = installation.url.replace("postgres@", "wa@")
    installation.sql(
        """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "connectionType", "updatedAt")
           SELECT 1, 77051000000 + n || '@s.whatsapp.net', 'neonize', now() FROM generate_series(2, 300) AS n"""
    )
    page.run("needs at least")
    page.end()


def test_monitoring(database: Database, database_url: str, tmp_path: Path) -> None:
    page = Page("docs/monitoring/README.md", {**os.environ, "WA_SESSIONS_DATABASE_URL": database_url}, tmp_path)
    night = datetime.combine(datetime.now(UTC).date() - timedelta(days=1), time(2, 14, 28), UTC)
    later = night + timedelta(hours=1, minutes=14, seconds=6)
    operation = "op-20261125-kkdmvp"
    sender = "200000000000002:1@lid"
    bad_mac = {"error_kind": "bad_mac", "count": 3, "limit": 3}
    with database.transaction() as conn:
        id_ = phones.add(conn, backend.detect(conn), ALICE, 1).id
        for number in range(12):
            for kind in ("message_pending", "message_recovered"):
                write_event(conn, id_, 1, kind, {"message_id": f"3EB0{number}"}, at=night)
        write_event(conn, id_, 1, "store_lost", {"down_seconds": 5.5}, at=later)
        write_event(conn, id_, 1, "store_back", {}, at=later)
        write_event(conn, id_, 1, "connected", {}, at=later + timedelta(seconds=1))
        write_event(conn, id_, 1, "error_counted", bad_mac | {"sender": sender}, at=later + timedelta(seconds=11))
        write_event(conn, id_, 1, "session_closed", bad_mac, operation_id=operation, at=later + timedelta(seconds=11))
        write_event(conn, id_, 1, "pairing_started", {}, at=later + timedelta(seconds=11))
        conn.execute("INSERT INTO wa_sessions.operation VALUES (%s, now(), 'close', '', 'worker')", [operation])
        part = "INSERT INTO wa_sessions.operation_phone VALUES (%s, %s, 1, %s, '', '', '', '')"
        conn.execute(part, [operation, id_, ALICE])
    page.run("wa-sessions timeline")
    page.end()


def test_the_how_to(installation: Installation, database: Database, peers: ClientProcess, tmp_path: Path) -> None:
    page = Page("docs/how-to.md", {**installation.environment(), "HOME": str(tmp_path)}, tmp_path)
    page.leave_out("as user 60911", "it is told to root alone, whose home may be open: test_embedded")
    page.leave_out("<Tab>", "a shell draws it: test_completion")
    page.leave_out("its process ends again and again", "six crashes take a minute: test_hosts, test_advice")
    page.run("backup-key backup-key.txt")
    _without_a_database(page)
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
    _node_phones(page, installation)
    installation.sql('TRUNCATE public."OrganizationPhone", public.baileys_auth')
    bob = _a_handler_that_fails(page, installation, peers)
    command = f"wa-sessions run {ALICE} --on-message {HANDLER}"
    with closing(Running(command, page.environment, page.folder)) as running:
        _a_session(page, installation, bob, running)
    page.end()


def _without_a_database(page: Page) -> None:
    url = page.environment.pop("WA_SESSIONS_DATABASE_URL")
    page.environment["WA_SESSIONS_DATA_DIR"] = str(page.folder / "none")
    page.run("no database is configured")
    del page.environment["WA_SESSIONS_DATA_DIR"]
    page.environment["WA_SESSIONS_DATABASE_URL"] = url


def _node_phones(page: Page, installation: Installation) -> None:
    """Of the Node backend, whose process is a stand-in."""
    versions = [f"app-state-sync-version-{name}" for name in COLLECTIONS]
    _baileys(installation, "77478889900", 7, "disconnected", versions)
    _baileys(installation, "77029990011", 7, "connected", versions)
    _baileys(installation, "77054445566", 1, "disconnected", ["creds"])
    _baileys(installation, "77053334455", 1, "disconnected", [])
    _baileys(installation, "77053334455:1", 2, "disconnected", [])
    pm2 = page.folder / "pm2"
    pm2.write_text('#!/bin/sh\necho "[PM2] $*"\n')
    pm2.chmod(0o755)
    page.environment["PATH"] += f"{os.pathsep}{page.folder}"
    page.run("is in organization 1, 2")
    page.run("wa-sessions assign 77054445566")
    page.run("--peer '+7 707 100-01-48'")
    for name in ("WA_SESSIONS_STOP_COMMAND", "WA_SESSIONS_START_COMMAND"):
        del page.environment[name]
    page.run("clean-app-state all --org 7")


def _baileys(installation: Installation, number: str, organization: int, status: str, keys: Sequence[str]) -> None:
    """One more phone; its keys have the values of another's."""
    installation.sql(
        """INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "status", "updatedAt")
           VALUES (%s, %s || '@s.whatsapp.net', %s, now())""",
        *(organization, number, status),
    )
    for key in keys:
        installation.sql(
            """INSERT INTO public.baileys_auth
               SELECT %s, %s, %s, "value", "type" FROM public.baileys_auth WHERE "phoneJid" = %s AND "key" = 'creds'""",
            *(organization, number, key, corpus.PAIRED),
        )


def _a_handler_that_fails(page: Page, installation: Installation, peers: ClientProcess) -> Party:
    (page.folder / "broken.py").write_text("def take(message):\n    raise ValueError(message.text)\n")
    installation.add(ALICE)
    page.shown(f"wa-sessions rename {ALICE} Reception")
    command = f"wa-sessions run {ALICE} --on-message broken:take --log-format json"
    with closing(Running(command, page.environment, page.folder)) as running:
        running.says('"event": "qr"')
        _scan(installation, ALICE)
        running.says('"event": "connected"')
        bob = link(installation.emu, peers, "bob")
        bob.send_to(ALICE, "hello")
        page.log("the message handler failed", running)
    return bob


def _scan(installation: Installation, number: str) -> None:
    installation.devices[ALICE] = installation.emu.scan(installation.row(ALICE)["qrCode"], installation.phones[number])


def _a_session(page: Page, installation: Installation, bob: Party, running: Running) -> None:
    """What is done with one that runs, and what happens to it."""
    running.says("connected as")
    page.run("--logout --dry-run")
    page.run("not confirmed", terminal=False)
    page.run("has its keys still")
    _app_state(page, installation, bob, running)
    _at_the_limit(page, installation, bob, running)
    installation.emu.replace(installation.devices[ALICE])
    installation.until("SELECT 1 FROM wa_sessions.health WHERE state = 'replaced'")
    page.run("another program uses these keys")
    page.shown(f"wa-sessions restart {ALICE}")
    running.says("connected as")
    [host] = [one for one in psutil.Process(running.process.pid).children() if "hosts.main" in " ".join(one.cmdline())]
    host.kill()
    page.log("its process was killed by SIGKILL", running)
    _paired_anew(page, installation, running)
    installation.emu.refuse_login(installation.phones[ALICE], LoginFailure.TEMPORARY_BAN, expire_seconds=3600)
    installation.emu.drop(installation.devices[ALICE])
    page.log("banned by WhatsApp until", running)


def _app_state(page: Page, installation: Installation, bob: Party, running: Running) -> None:
    emu, phone, device = installation.emu, installation.phones[ALICE], installation.devices[ALICE]
    synced = "SELECT 1 FROM whatsmeow.whatsmeow_app_state_version WHERE name = 'regular_high'"
    emu.share_app_state_key(device)
    bob.send_to(ALICE, "after the key")
    running.says("received: after the key")
    emu.mute(phone, BOB)
    emu.notify_app_state(device, "regular_high")
    installation.until(synced)
    page.run("Put 217 app-state keys")
    running.says("connected as")
    emu.notify_app_state(device, "regular_high")
    installation.until(synced)
    began = running.at
    emu.damage_app_state(phone, "regular_high", AppStateDamage.CONTENT_MAC)
    emu.mute(phone, "77050000001")
    emu.notify_app_state(device, "regular_high")
    running.says("collection quarantined")
    emu.heal()
    emu.notify_app_state(device, "regular_high")
    running.says("Bad Decrypt counter reset")
    running.at = began
    page.log("Bad Decrypt error #1", running)


def _at_the_limit(page: Page, installation: Installation, bob: Party, running: Running) -> None:
    fault = installation.emu.damage_messages(to=installation.phones[ALICE], sender=bob.phone, count=None)
    for number in (1, 2):
        bob.send_to(ALICE, "lost")
        running.says(f"Bad MAC error #{number}")
    page.run("critical  2/3")
    bob.send_to(ALICE, "lost")
    page.log("Bad MAC limit reached", running)
    fault.heal()
    page.run("brought 68 keys")
    running.says("connected as")


def _paired_anew(page: Page, installation: Installation, running: Running) -> None:
    closed = page.shown(f"wa-sessions force-close {ALICE} --logout --yes --json", terminal=False)
    operation = json.loads(closed)["operation"]
    page.run("has no QR")
    page.run("shows a QR now")
    running.says("a QR to scan is in")
    installation.phones["77056667788"] = installation.emu.add_phone("77056667788", "Mallory")
    _scan(installation, "77056667788")
    page.log("the QR was scanned by 77056667788", running)
    running.says("a QR to scan is in")
    _scan(installation, ALICE)
    running.says("connected as")
    page.real |= {"op-20261122-x4n5nw": operation, "op-20261122-f2gmgj": operation}
    page.run("was paired anew since")
    page.run("wa-sessions unlink")


def _handler(page: Page) -> str:
    """The message handler that the page has its reader write."""
    found = re.search(r"```python\n(.*?)```", (ROOT / page.name).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def _qr(page: Page) -> str:
    _, brace, data = page.shown(f"wa-sessions qr {ALICE} --json", terminal=False).partition("{")
    return str(json.loads(brace + data)["qr"])


def _write(page: Page, sender: Party, text: str) -> None:
    sender.send_to(ALICE, text)
    _read(page, text)


def _read(page: Page, text: str) -> None:
    """Until the handler has written that down."""
    inbox = page.folder / "inbox.txt"
    for attempt in Retrying(stop=stop_after_delay(60), wait=wait_fixed(0.05), reraise=True):
        with attempt:
            assert f"{text}\n" in inbox.read_text()
