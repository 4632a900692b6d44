"""What `unlink` refuses, and the store that it makes for a moment; with WhatsApp: tests/acceptance/test_unlink.py."""

import contextlib
import json
import secrets
from concurrent import futures

import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from support.store import fill_device

from wa_sessions import cli
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import make, plan
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.repair.restore import restore
from wa_sessions.actions.repair.unlink import Unlink, UnlinkedDevice, UnlinkPlan
from wa_sessions.cli import terminal
from wa_sessions.db import backend, operations, phones, quarantine, unlinking
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.operations import OperationPart
from wa_sessions.db.phones import Phone
from wa_sessions.db.settings import Target
from wa_sessions.db.unlinking import KeptDevice
from wa_sessions.errors import Conflict, DatabaseError, PermissionMissing, WaSessionsError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.keys.whatsmeow_tables import DEVICE, PRE_KEYS, TABLES

ALICE, BOB = "77051234567", "77057654321"
OURS, OTHERS = f"{ALICE}:27@s.whatsapp.net", f"{BOB}:3@s.whatsapp.net"
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'wa_sessions_unlink_')"

WAITING = "SELECT 1 AS present FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


@pytest.fixture
def opened(database: Database) -> Opened:
    with database.transaction() as conn:
        return Opened(database, backend.detect(conn))


def closed(opened: Opened, *devices: str) -> str:
    """One operation that took the keys of these devices."""
    operation = None
    with opened.database.transaction() as conn:
        for jid in devices:
            number = jid.partition(":")[0]
            phone = phones.add(conn, opened.backend, number, 1)
            fill_device(conn, jid)
            part = _begin(conn, opened, phone, operation)
            quarantine.take(conn, opened.backend, part, phone, EVERYTHING)
            operation = part.operation_id
    assert operation
    return operation


def _begin(conn: Connection, opened: Opened, phone: Phone, operation: str | None) -> OperationPart:
    return quarantine.begin(
        conn, opened.backend, phone, action="close", reason="test", actor="me@here", operation_id=operation
    )


def planned(opened: Opened, operation: str) -> UnlinkPlan:
    return plan(opened, Unlink(operation), Scope())


def devices_of(opened: Opened, operation: str) -> list[KeptDevice]:
    return [device for item in planned(opened, operation).items for device in item.target.devices]


def unlink(opened: Opened, operation: str) -> list[UnlinkedDevice]:
    return [end for phone in make(opened, Unlink(operation), Scope()).phones for end in phone.devices]


def schemas(database: Database) -> list[str]:
    with database.transaction() as conn:
        return [row["nspname"] for row in conn.execute(SCHEMAS)]


def test_a_dry_run_checks_everything_and_connects_to_nothing(
    opened: Opened, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = closed(opened, OURS)
    assert cli.execute(["unlink", operation, "--dry-run", "--json", "--database-url", database_url]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["operation"], said["phone"], said["device"]) == (operation, ALICE, OURS)
    assert (said["unlinked"], said["already"], said["dry_run"], said["undo"]) == (False, False, True, None)
    assert (said["matched"], said["quarantined"], said["left"]) == (0, 0, 0)
    with opened.database.transaction() as conn:
        assert operations.operation(conn, operation).undoable
    assert cli.execute(["unlink", operation, "--database-url", database_url]) == 6
    assert "cannot be restored afterwards" in capsys.readouterr().err


def test_an_operation_of_many_phones_has_many_devices(
    opened: Opened, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = closed(opened, OURS, OTHERS)
    assert [device.jid for device in devices_of(opened, f" {operation} ")] == [OURS, OTHERS]
    assert cli.execute(["unlink", operation, "--dry-run", "-o", "tsv", "--database-url", database_url]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split("\t")[:4] == ["operation", "phone_id", "phone", "device"]
    assert [row.split("\t")[3] for row in rows] == [OURS, OTHERS]
    with opened.database.transaction() as conn:
        operations.mark_restored(conn, OperationPart(operation, devices_of(opened, operation)[0].phone_id), "me@here")
    assert [device.jid for device in devices_of(opened, operation)] == [OTHERS]


def test_what_is_refused(opened: Opened) -> None:
    with pytest.raises(WaSessionsError, match="no operation is called 'op-none'"):
        unlink(opened, "op-none")
    operation = closed(opened, OURS)
    (device,) = devices_of(opened, operation)
    with opened.database.transaction() as conn:
        fill_device(conn, OURS)
    with pytest.raises(Conflict, match=f"{OURS} of {operation} is in use"):
        unlink(opened, operation)
    with opened.database.transaction() as conn:
        operations.mark_restored(conn, OperationPart(operation, device.phone_id), "me@here")
    with pytest.raises(Conflict, match="was restored"):
        unlink(opened, operation)


def test_purged_keys_and_keys_of_no_device_are_refused(opened: Opened) -> None:
    operation = closed(opened, OURS)
    with opened.database.transaction() as conn:
        phone = phones.add(conn, opened.backend, BOB, 1)
        fill_device(conn, OTHERS)
        part = _begin(conn, opened, phone, None)
        quarantine.app_state_version(conn, part, OTHERS, "text 0")
        operations.purge(conn, operation, "me@here")
    with pytest.raises(Conflict, match=r"were purged at .* Linked devices"):
        unlink(opened, operation)
    with pytest.raises(WaSessionsError, match="took no whole device"):
        unlink(opened, part.operation_id)


def test_baileys_keys_are_refused_or_left_out(opened: Opened) -> None:
    assert opened.backend.auth
    insert = SQL("INSERT INTO {} VALUES (1, %s, 'creds', '{{}}', 'creds')").format(opened.backend.auth.identifier)
    with opened.database.transaction() as conn:
        phone = phones.add(conn, opened.backend, BOB, 1)
        phones.assign(conn, opened.backend, phone, ConnectionType.BAILEYS)
        phone = phones.list_phones(conn, opened.backend, 1)[0]
        conn.execute(insert, (BOB,))
        alone = _begin(conn, opened, phone, None)
        quarantine.take(conn, opened.backend, alone, phone, EVERYTHING)
    with pytest.raises(WaSessionsError, match=r"cannot connect: remove the device on the phone, under Linked devices"):
        unlink(opened, alone.operation_id)
    operation = closed(opened, OURS)
    with opened.database.transaction() as conn:
        conn.execute(insert, (BOB,))
        quarantine.take(conn, opened.backend, _begin(conn, opened, phone, operation), phone, EVERYTHING)
    devices = [device.jid for device in devices_of(opened, operation)]
    assert (devices, [target.name for target in planned(opened, operation).others]) == ([OURS], [BOB])


def test_a_device_that_is_restored_before_the_answer_leaves_the_others_alone_too(
    opened: Opened, database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = closed(opened, OURS, OTHERS)

    def asked(question: str, count: int, *, yes: bool) -> None:
        assert (count, yes, f"2 devices of 2 phones, the first {OURS}" in question) == (2, False, True)
        restore(opened, operation, phone=PhoneRef(digits=ALICE))

    monkeypatch.setattr(terminal, "confirm_count", asked)
    assert cli.execute(["unlink", operation, "--database-url", database_url]) == 1
    assert f"{ALICE} is gone" in capsys.readouterr().err
    assert [device.jid for device in devices_of(opened, operation)] == [OTHERS]


@pytest.mark.parametrize("other", ["unlink", "restore"])
def test_two_operators_at_once_wait_for_each_other(opened: Opened, other: str) -> None:
    operation = closed(opened, OURS)
    (device,) = devices_of(opened, operation)
    part = OperationPart(operation, device.phone_id)
    with futures.ThreadPoolExecutor() as threads, opened.database.transaction() as conn:
        operations.lock_phone(conn, part)
        theirs = threads.submit(unlink if other == "unlink" else restore, opened, operation)
        while not conn.execute(WAITING).fetchone():
            assert futures.wait([theirs], 0.02).not_done
        operations.mark_unlinked(conn, part, "me@here")
        conn.commit()
        if other == "unlink":
            assert theirs.result() == [UnlinkedDevice(device, unlinked=True, already=True)]
        else:
            assert "was unlinked at WhatsApp" in str(theirs.exception())
    with pytest.raises(Conflict, match=r"already unlinked at .* by me@here"):
        unlink(opened, operation)


def test_a_scratch_store_is_dropped_by_its_process_or_by_the_next(opened: Opened) -> None:
    operation, database = closed(opened, OURS, OTHERS), opened.database
    one, other = devices_of(opened, operation)
    left, foreign = f"{unlinking.PREFIX}0000002a", f"{unlinking.PREFIX}of_somebody"
    with database.transaction() as conn:
        for name in (left, foreign):
            conn.execute(SQL("CREATE SCHEMA {}").format(Identifier(name)))
    with contextlib.suppress(KeyboardInterrupt), unlinking.scratch_store(database, operation, one) as first:
        with unlinking.scratch_store(database, operation, other) as second:
            assert sorted(schemas(database)) == sorted([first, second, foreign])
        assert sorted(schemas(database)) == sorted([first, foreign])
        raise KeyboardInterrupt
    assert schemas(database) == [foreign]


def test_only_the_device_and_its_prekeys_are_copied(opened: Opened) -> None:
    operation = closed(opened, OURS, OTHERS)
    device = devices_of(opened, operation)[0]
    copied = {}
    with (
        unlinking.scratch_store(opened.database, operation, device) as schema,
        opened.database.transaction() as conn,
    ):
        for table in TABLES:
            name = Identifier(schema, table.name)
            rows = conn.execute(SQL("SELECT {} AS jid FROM {}").format(Identifier(table.owner), name))
            copied[table.name] = [row["jid"] for row in rows]
    assert {name: jids for name, jids in copied.items() if jids} == {DEVICE.name: [OURS], PRE_KEYS.name: [OURS] * 3}


def test_without_a_key_store_there_is_nothing_to_connect_with(opened: Opened) -> None:
    operation = closed(opened, OURS)
    device = devices_of(opened, operation)[0]
    with opened.database.transaction() as conn:
        conn.execute("DROP SCHEMA whatsmeow CASCADE")
    with (
        pytest.raises(DatabaseError, match="no schema whatsmeow"),
        unlinking.scratch_store(opened.database, operation, device),
    ):
        pass
    assert schemas(opened.database) == []


def test_the_right_that_is_missing_is_named(opened: Opened) -> None:
    operation = closed(opened, OURS)
    role = f"unlink_{secrets.token_hex(4)}"
    conninfo = make_conninfo(opened.database.target.conninfo, user=role)
    with opened.database.transaction() as conn:
        for statement in (
            "CREATE ROLE {role} LOGIN",
            "GRANT USAGE ON SCHEMA wa_sessions, whatsmeow TO {role}",
            "GRANT ALL ON ALL TABLES IN SCHEMA wa_sessions TO {role}",
        ):
            conn.execute(SQL(statement).format(role=Identifier(role)))
    try:
        with Database.open(Target(conninfo, None, "test")) as database:
            poor = Opened(database)
            with pytest.raises(PermissionMissing, match="SELECT the tables of whatsmeow"):
                planned(poor, operation)
            with opened.database.transaction() as conn:
                conn.execute(SQL("GRANT pg_read_all_data TO {role}").format(role=Identifier(role)))
            with pytest.raises(PermissionMissing, match="may not CREATE a schema"):
                unlink(poor, operation)
    finally:
        with opened.database.transaction() as conn:
            for statement in ("DROP OWNED BY {role}", "DROP ROLE {role}"):
                conn.execute(SQL(statement).format(role=Identifier(role)))
