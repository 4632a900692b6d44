"""A backup brings every key back byte for byte; what it would harm is refused, and what it replaces can be undone."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.conninfo import make_conninfo
from support import corpus
from support.backup_fixtures import Key, all_keys, auth_keys, lose_keys, new_key, opened, phone_rows
from support.store import fill_device

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import carry_out, plan
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.move.backup import Destination, backup
from wa_sessions.actions.move.backup_contents import Contents, contents
from wa_sessions.actions.move.encryption import recipients
from wa_sessions.actions.move.restore_file import FilePlan, FileRestored, RestoreFile
from wa_sessions.actions.node_process import NodeProcess
from wa_sessions.actions.repair.restore import restore
from wa_sessions.db import health, operations, phones, workers
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target
from wa_sessions.errors import (
    AmbiguousPhone,
    Conflict,
    OwnedByAnother,
    PermissionMissing,
    PhoneNotFound,
    WaSessionsError,
)
from wa_sessions.health.backend_words import UnknownWord
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.process_identity import ProcessIdentity

NEONIZE = "77051230000"
DEVICE, NEWER_DEVICE = f"{NEONIZE}:3@s.whatsapp.net", f"{NEONIZE}:4@s.whatsapp.net"
STRANGER = f"{NEONIZE}0:3@s.whatsapp.net"

SESSIONS = (NEONIZE, corpus.BUFFERS, corpus.PAIRED, corpus.SEVENTH, corpus.LOGGED_OUT, corpus.SEVENTH_PAIRED)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return new_key(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.age"


def fill(database: Database, shape: str = "baileys_auth") -> Opened:
    """The corpus, and a neonize phone with a device."""
    with database.transaction() as conn:
        found = corpus.load(conn, shape)
        added = phones.add(conn, found, NEONIZE, 1)
        phones.set_status(conn, found, added.id, Status.DISCONNECTED, phone_jid=DEVICE)
        fill_device(conn, DEVICE)
        fill_device(conn, STRANGER)
    return opened(database)


def lose_sessions(database: Database) -> None:
    """All keys but those of a stranger and of a phone that shows its QR."""
    for number in SESSIONS:
        lose_keys(database, number)


def save(there: Opened, file: Path, key: Key, phone: str | None = None) -> int:
    return backup(there, PhoneRef(digits=phone) if phone else None, Destination(file, recipients([key.recipient]))).keys


def restore_file(
    there: Opened,
    file: Path,
    *,
    identities: Sequence[Any] = (),
    phone: PhoneRef | None = None,
    organization_id: int | None = None,
    dry_run: bool = False,
    **how: bool,
) -> FileRestored:
    planned = look(there, file, identities=identities, phone=phone, organization_id=organization_id, **how)
    return FileRestored.of(carry_out(there, planned, dry_run=dry_run), planned, read_of(planned))


def look(
    there: Opened,
    file: Path,
    *,
    identities: Sequence[Any] = (),
    phone: PhoneRef | None = None,
    organization_id: int | None = None,
    overwrite: bool = False,
    process_stopped: bool = False,
) -> FilePlan:
    change = RestoreFile(contents(file, identities), identities, overwrite)
    return plan(there, change, Scope(phone, organization_id), process_stopped=process_stopped)


def read_of(planned: FilePlan) -> Contents:
    assert isinstance(planned.change, RestoreFile)
    return planned.change.read


def bring(there: Opened, file: Path, key: Key, phone: str | None = None, **how: bool) -> FileRestored:
    ref = PhoneRef(digits=phone) if phone else None
    return restore_file(there, file, identities=key.identities, phone=ref, **how)


@pytest.mark.parametrize("shape", corpus.SHAPES)
def test_every_key_comes_back_byte_for_byte(database: Database, file: Path, key: Key, shape: str) -> None:
    there = fill(database, shape)
    before = all_keys(database)
    saved = save(there, file, key)
    lose_sessions(database)
    with database.transaction() as conn:
        unpaired, paired = (f"{corpus.PAIRED}{device}@s.whatsapp.net" for device in ("", ":27"))
        conn.execute('UPDATE public."OrganizationPhone" SET "phoneJid" = %s WHERE "phoneJid" = %s', (unpaired, paired))
    done = bring(there, file, key, process_stopped=True)
    auth, store, rows = all_keys(database)
    assert (auth, store) == before[:2]
    assert rows == [tuple("disconnected" if part == "logged_out" else part for part in row) for row in before[2]]
    assert (done.matched, done.quarantined, done.left, done.undo) == (0, 0, 0, None)
    assert (done.restored, done.skipped) == (saved - 1, 2)  # of the official API, and one that shows its QR


@pytest.mark.parametrize(
    ("before", "after"),
    [("BaileysAuth", "baileys_auth"), ("BaileysAuth-old", "baileys_auth"), ("baileys_auth", "BaileysAuth-old")],
)
def test_a_backend_whose_table_has_another_shape_by_now(
    database: Database, file: Path, key: Key, before: str, after: str
) -> None:
    there = fill(database, before)
    save(there, file, key)
    lose_keys(database)
    with database.transaction() as conn:
        conn.execute('DELETE FROM public."OrganizationPhone"')
    there = fill(database, after)
    expected = _plain(database)
    lose_sessions(database)
    bring(there, file, key, process_stopped=True, overwrite=True)
    assert _plain(database) == expected


def test_present_keys_go_to_quarantine_and_come_back(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    with database.transaction() as conn:
        conn.execute("UPDATE public.baileys_auth SET value = 'later' WHERE key LIKE 'session-%%'")
        conn.execute(
            "INSERT INTO public.baileys_auth VALUES (1, %s, 'session-new', 'x', 'base64_json')", (corpus.PAIRED,)
        )
        conn.execute("UPDATE whatsmeow.whatsmeow_sessions SET session = 'later' WHERE our_jid = %s", (DEVICE,))
    later = all_keys(database)
    done = bring(there, file, key, process_stopped=True, overwrite=True)
    assert done.operation
    assert done.undo == f"wa-sessions restore {done.operation} --overwrite"
    assert (done.matched, done.left) == (done.quarantined, 0)
    assert done.quarantined == done.restored + 1
    with database.transaction() as conn:
        operation = operations.operation(conn, done.operation)
        assert (operation.action, operation.keys, operation.reason) == (
            "restore_file",
            done.quarantined,
            "restored from keys.age",
        )
        event = health.last_events(conn, done.phones[0].phone.id, 1)[0]
        assert (event.kind, event.operation_id, event.stored["file"]) == (
            "restored_from_file",
            done.operation,
            "keys.age",
        )
    assert all_keys(database)[0] != later[0]
    restore(there, done.operation, overwrite=True, process_stopped=True)
    assert all_keys(database)[:2] == later[:2]
    assert _statuses(database) == {row[0]: row[4] for row in later[2]}


def test_what_a_logout_left_of_a_device_makes_room(database: Database, file: Path, key: Key) -> None:
    """Not every table of whatsmeow's cascades when it deletes a device."""
    there = fill(database)
    before = all_keys(database)
    save(there, file, key, NEONIZE)
    with database.transaction() as conn:
        conn.execute("DELETE FROM whatsmeow.whatsmeow_device WHERE jid = %s", (DEVICE,))
        changed = conn.execute(
            "UPDATE whatsmeow.whatsmeow_privacy_tokens SET token = 'x' WHERE our_jid = %s", (DEVICE,)
        )
    done = bring(there, file, key)
    assert done.quarantined == done.matched >= changed.rowcount > 0
    assert all_keys(database) == before


def test_one_phone_of_a_file(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    before = all_keys(database)
    lose_keys(database, corpus.SEVENTH)
    lose_keys(database, NEONIZE)
    done = bring(there, file, key, NEONIZE)
    assert [one.phone.number for one in done.phones] == [NEONIZE]
    assert all_keys(database)[1] == before[1]
    assert all_keys(database)[0] != before[0]
    bring(there, file, key, corpus.SEVENTH, process_stopped=True)
    assert all_keys(database) == before


def test_a_dry_run_changes_nothing_and_says_what_the_run_does(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    lose_keys(database, corpus.LOGGED_OUT)
    before = all_keys(database)
    tried = bring(there, file, key, process_stopped=True, overwrite=True, dry_run=True)
    assert all_keys(database) == before
    with database.transaction() as conn:
        assert operations.latest(conn) == []
    done = bring(there, file, key, process_stopped=True, overwrite=True)
    assert tried.dry_run
    assert tried.operation is None
    assert [(one.phone, one.restored, one.taken, one.status) for one in tried.phones] == [
        (one.phone, one.restored, one.taken, one.status) for one in done.phones
    ]


def test_a_file_that_is_not_whole_changes_nothing(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    lose_keys(database, NEONIZE)
    before, whole, other = all_keys(database), file.read_bytes(), new_key(file.parent, "other.txt")
    damaged = {
        "cut": whole[:-40_000],
        "cut in the header": whole[:100],
        "flipped": whole[:-70_000] + bytes([whole[-70_000] ^ 1]) + whole[-69_999:],
        "longer": whole + b"x",
    }
    cases = [(data, key.identities, "is cut short or damaged") for data in damaged.values()]
    cases += [
        (b"PGDMP" + whole, key.identities, "is no backup of wa-sessions"),
        (whole, other.identities, "is not encrypted to this key"),
        (whole, [], "name the file of its key with --identity"),
    ]
    for data, identities, words in cases:
        file.write_bytes(data)
        with pytest.raises(WaSessionsError, match=words) as refused:
            restore_file(there, file, identities=identities)
        assert str(refused.value).startswith(str(file))
        assert refused.value.exit_code == 1
    assert all_keys(database) == before


def test_a_file_that_changes_while_it_is_read_changes_nothing(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key, NEONIZE)
    other = file.with_name("other")
    with database.transaction() as conn:
        conn.execute("UPDATE whatsmeow.whatsmeow_sessions SET session = 'later'")
    save(there, other, key, NEONIZE)
    before = all_keys(database)
    planned = look(there, file, identities=key.identities)
    other.replace(file)
    with pytest.raises(Conflict, match="has changed while it was read"):
        carry_out(there, planned)
    assert all_keys(database) == before


def test_an_unencrypted_backup_needs_no_key(database: Database, file: Path) -> None:
    there = fill(database)
    before = all_keys(database)
    backup(there, None, Destination(file, [], plain=True))
    lose_keys(database, NEONIZE)
    restore_file(there, file, phone=PhoneRef(digits=NEONIZE))
    assert all_keys(database) == before


def test_a_backup_older_than_the_last_connection(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    before = all_keys(database)
    with database.transaction() as conn:
        moment = "clock_timestamp() AT TIME ZONE 'UTC' + interval '1 second'"
        conn.execute(f'UPDATE public."OrganizationPhone" SET "lastConnectedAt" = {moment}')
    for number in (NEONIZE, corpus.LOGGED_OUT):
        with pytest.raises(Conflict, match=r"connected at .*--overwrite"):
            bring(there, file, key, number)
        bring(there, file, key, number, overwrite=True)
    assert all_keys(database)[:2] == before[:2]


def test_a_newer_device_is_not_replaced(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key, NEONIZE)
    lose_keys(database, NEONIZE)
    with database.transaction() as conn:
        fill_device(conn, NEWER_DEVICE)
    with pytest.raises(Conflict, match=rf"paired anew since .*{NEWER_DEVICE}"):
        bring(there, file, key)
    assert bring(there, file, key, overwrite=True).quarantined > 0
    assert _devices(database) == {DEVICE, STRANGER}
    lose_keys(database, NEONIZE)
    with database.transaction() as conn:
        fill_device(conn, DEVICE)  # the same number, other keys
    with pytest.raises(Conflict, match="paired anew since"):
        bring(there, file, key)


def test_a_newer_pairing_by_the_node_backend(database: Database, file: Path, key: Key) -> None:
    """It writes creds as soon as it shows a QR: those are no pairing yet."""
    there = fill(database)
    before = all_keys(database)
    save(there, file, key)
    _creds_of(database, corpus.PENDING)
    bring(there, file, key, corpus.LOGGED_OUT)
    assert all_keys(database)[:2] == before[:2]
    _creds_of(database, corpus.SEVENTH)
    with pytest.raises(Conflict, match="paired anew since"):
        bring(there, file, key, corpus.LOGGED_OUT)
    bring(there, file, key, corpus.LOGGED_OUT, overwrite=True)
    assert all_keys(database)[:2] == before[:2]


def test_a_connected_baileys_phone(database: Database, file: Path, key: Key, tmp_path: Path) -> None:
    there = fill(database)
    save(there, file, key)
    before = all_keys(database)
    with pytest.raises(OwnedByAnother, match="--process-stopped"):
        bring(there, file, key, corpus.PAIRED)
    assert bring(there, file, key, corpus.PAIRED, process_stopped=True, overwrite=True).restored
    planned = look(
        there,
        file,
        identities=key.identities,
        phone=PhoneRef(digits=corpus.PAIRED),
        process_stopped=True,
        overwrite=True,
    )
    node = NodeProcess(f"touch {tmp_path}/stopped", f"touch {tmp_path}/started")
    carry_out(there, planned, node=node)
    assert (tmp_path / "stopped").exists()
    assert (tmp_path / "started").exists()
    assert all_keys(database) == before


def test_a_phone_that_went_on_after_the_backup(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    before = all_keys(database)
    for status in ("connected", "reconnecting", "loading", "open"):
        with database.transaction() as conn:
            conn.execute('UPDATE public."OrganizationPhone" SET "status" = %s WHERE "id" = 1', (status,))
        with pytest.raises(Conflict, match="in use after"):
            bring(there, file, key, corpus.BUFFERS, process_stopped=True)
    with database.transaction() as conn:
        conn.execute('UPDATE public."OrganizationPhone" SET "status" = %s WHERE "id" = 1', ("connected",))
        conn.execute(
            "UPDATE public.\"OrganizationPhone\" SET \"updatedAt\" = now() AT TIME ZONE 'UTC' + interval '1 minute'"
        )
    with pytest.raises(Conflict, match="in use after"):
        bring(there, file, key, corpus.LOGGED_OUT)
    assert all_keys(database)[:2] == before[:2]
    lose_keys(database, corpus.LOGGED_OUT)
    bring(there, file, key, corpus.LOGGED_OUT)
    assert all_keys(database)[:2] == before[:2]


def test_a_phone_that_a_worker_runs(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    with database.transaction() as conn:
        worker, phone = uuid4(), phones.find(conn, there.backend, PhoneRef(digits=NEONIZE))
        workers.register(conn, worker, ProcessIdentity("elsewhere", 4242), "0.1.0")
        conn.execute(
            "INSERT INTO wa_sessions.lease VALUES (%s, %s, 1, clock_timestamp() + interval '1 minute')",
            (phone.id, worker),
        )
    with pytest.raises(OwnedByAnother, match="worker elsewhere/4242 runs"):
        bring(there, file, key, NEONIZE, overwrite=True)


def test_phones_that_are_not_there(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    with database.transaction() as conn:
        conn.execute('DELETE FROM public."OrganizationPhone" WHERE "organizationId" = 7')
    with pytest.raises(PhoneNotFound, match=rf"wa-sessions add {corpus.SEVENTH_PAIRED} --org 7"):
        bring(there, file, key, process_stopped=True)
    with pytest.raises(PhoneNotFound, match="has no phone 77059999999"):
        bring(there, file, key, "77059999999")
    with pytest.raises(PhoneNotFound, match="has no phone of organization 55"):
        restore_file(there, file, identities=key.identities, organization_id=55)
    with pytest.raises(WaSessionsError, match="without a single key"):
        bring(there, file, key, corpus.WABA)


def test_a_number_of_two_organizations(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    with database.transaction() as conn:
        row = (2, f"{corpus.LOGGED_OUT}:1@s.whatsapp.net")
        conn.execute(
            'INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "updatedAt") VALUES (3, %s, now())',
            row[1:],
        )
        conn.execute(
            'INSERT INTO public.baileys_auth SELECT 3, "phoneJid", "key", "value", "type" FROM public.baileys_auth'
            ' WHERE "phoneJid" = %s',
            (corpus.LOGGED_OUT,),
        )
    before = all_keys(database)
    save(there, file, key)
    lose_keys(database, corpus.LOGGED_OUT)
    with pytest.raises(AmbiguousPhone, match="organization 2, 3: choose one with --org"):
        bring(there, file, key, corpus.LOGGED_OUT)
    ref = PhoneRef(digits=corpus.LOGGED_OUT)
    for organization in (2, 3):
        restore_file(there, file, identities=key.identities, phone=ref, organization_id=organization)
    assert all_keys(database)[0] == before[0]


def test_tables_that_are_not_there_or_lost_a_column(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key, NEONIZE)
    with database.transaction() as conn:
        conn.execute("DROP SCHEMA whatsmeow CASCADE")
    with pytest.raises(Conflict, match=r"there is no table whatsmeow\.whatsmeow_device here"):
        bring(there, file, key)
    save(there, file.with_name("other"), key, corpus.LOGGED_OUT)
    with database.transaction() as conn:
        conn.execute('ALTER TABLE public.baileys_auth DROP COLUMN "type"')
    with pytest.raises(Conflict, match="no column type"):
        bring(opened(database), file.with_name("other"), key)


def test_keys_of_any_text(database: Database, file: Path, key: Key) -> None:
    odd = [
        "plain",
        "Ünïcode \u2028 ☎ \U0001f47b",
        "back\\slash \\u0000 \\N \t\r\n'quotes\"",
        "x" * 300_000,
        "",
        "\\.",
        "{}",
    ]
    with database.transaction() as conn:
        phone = phones.add(conn, corpus.load(conn, "baileys_auth"), NEONIZE, 1, odd[2])
        for n, text in enumerate(odd):
            row = (1, NEONIZE, f"session-{n}{text[:50]}", text, text[:50])
            conn.execute("INSERT INTO public.baileys_auth VALUES (%s, %s, %s, %s, %s)", row)
    before = all_keys(database)
    save(opened(database), file, key, NEONIZE)
    lose_keys(database, NEONIZE)
    assert bring(opened(database), file, key).phones[0].phone.id == phone.id
    assert all_keys(database) == before


def test_reading_alone_is_not_enough(database: Database, target: Target, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key)
    before, role = all_keys(database), f"reader_{secrets.token_hex(4)}"
    with database.transaction() as conn:
        conn.execute(
            f'CREATE ROLE {role} LOGIN; GRANT SELECT ON public."OrganizationPhone", public.baileys_auth TO {role}'
        )
    reading = Target(make_conninfo(target.conninfo, user=role), None, "test")
    with Database.open(reading) as of_reader, pytest.raises(PermissionMissing, match=r"permission denied|may not"):
        bring(opened(of_reader), file, key, corpus.LOGGED_OUT)
    assert all_keys(database) == before


def test_counters_wait_for_the_next_connection(database: Database, file: Path, key: Key) -> None:
    there = fill(database)
    save(there, file, key, NEONIZE)
    with database.transaction() as conn:
        phone = phones.find(conn, there.backend, PhoneRef(digits=NEONIZE))
        now = datetime.now(UTC) - timedelta(hours=1)
        row = health.HealthRow(
            phone.id, 1, 2, 0, (), now, "bad_mac", 0, 0, UnknownWord("closing"), None, now, None, "bad_mac"
        )
        health.save(conn, row)
    bring(there, file, key)
    with database.transaction() as conn:
        back = health.load(conn, phone.id)
    assert back
    assert (back.state, back.state_detail, back.closing) == ("idle", "restored from keys.age", None)


def _creds_of(database: Database, other: str) -> None:
    """Give the logged out phone the creds of another."""
    with database.transaction() as conn:
        conn.execute(
            'UPDATE public.baileys_auth SET "value" = (SELECT "value" FROM public.baileys_auth WHERE "key" = %(creds)s'
            ' AND "phoneJid" = %(other)s) WHERE "key" = %(creds)s AND "phoneJid" = %(number)s',
            {"creds": "creds", "other": other, "number": corpus.LOGGED_OUT},
        )


def _statuses(database: Database) -> dict[int, str]:
    with database.transaction() as conn:
        return {row[0]: row[4] for row in phone_rows(conn)}


def _plain(database: Database) -> list[tuple[object, ...]]:
    """Every auth key as text, whatever the shape of its table."""
    with database.transaction() as conn:
        return sorted(_text(row) for row in auth_keys(conn))


def _text(row: tuple[object, ...]) -> tuple[object, ...]:
    *_, organization, number, name, value, kind = row
    return organization, number, name, value.decode() if isinstance(value, bytes) else value, kind


def _devices(database: Database) -> set[str]:
    def read(conn: Connection) -> set[str]:
        return {row["jid"] for row in conn.execute("SELECT jid FROM whatsmeow.whatsmeow_device")}

    with database.transaction() as conn:
        assert phone_rows(conn)
        return read(conn)
