"""Every deletion can be undone, byte for byte, and nothing else is touched."""

import base64
import re
import threading
from dataclasses import replace

import pytest
from support.store import RECORDS, counts, everything, fill_device, put_lid, put_sender_key, put_session

from wa_sessions.db import backend, operations, phones, quarantine, restoring, whatsmeow
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.operations import OperationPart
from wa_sessions.db.phones import Phone
from wa_sessions.db.restoring import Restored
from wa_sessions.errors import Conflict, WaSessionsError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.keys.whatsmeow_tables import TABLES

OURS, OTHERS = "77051234567:27@s.whatsapp.net", "770512345670:1@s.whatsapp.net"
CHAT = "120363000000000001@g.us"
FIRST, TALK, REBUILT = (base64.b64decode(RECORDS["session"][at]) for at in ("first", "talk", "rebuilt"))
SENDER_KEY = base64.b64decode(RECORDS["sender-key"]["group0"])


@pytest.fixture
def phone(conn: Connection) -> Phone:
    return _phone(conn)


def _phone(conn: Connection) -> Phone:
    found = backend.detect(conn)
    added = phones.add(conn, found, "77051234567", 1)
    phones.set_status(conn, found, added.id, Status.CONNECTED, phone_jid=OURS)
    return phones.find(conn, found, PhoneRef(phone_id=added.id))


def _begin(conn: Connection, phone: Phone, status_after: Status | None = None) -> OperationPart:
    found = backend.detect(conn)
    return quarantine.begin(
        conn, found, phone, action="close", reason="test", actor="me@here", status_after=status_after
    )


def _take_all(conn: Connection, part: OperationPart, phone: Phone) -> int:
    return quarantine.take(conn, backend.detect(conn), part, phone, EVERYTHING).quarantined


def _restore(conn: Connection, part: OperationPart, actor: str = "me@here") -> Restored:
    done = operations.operation(conn, part.operation_id)
    return restoring.restore(conn, backend.detect(conn), done, part.phone_id, actor=actor)


def test_a_whole_device_comes_back_byte_for_byte(conn: Connection, phone: Phone) -> None:
    made = fill_device(conn, OURS)
    fill_device(conn, OTHERS)
    before = everything(conn)
    operation = _begin(conn, phone, Status.LOGGED_OUT)
    assert _take_all(conn, operation, phone) == made
    assert operations.operation(conn, operation.operation_id).keys == made
    assert whatsmeow.device_of(conn, "77051234567") == []
    assert set(counts(conn, OURS).values()) == {0}
    assert sum(counts(conn, OTHERS).values()) == made

    found = backend.detect(conn)
    phones.set_status(conn, found, phone.id, Status.LOGGED_OUT, phone_jid="77051234567@s.whatsapp.net")
    restored = _restore(conn, operation)
    assert everything(conn) == before
    assert restored.phone.id == phone.id
    assert set(restored.counts) == {table.name for table in TABLES}
    assert sum(restored.counts.values()) == made
    back = phones.find(conn, found, PhoneRef(phone_id=phone.id))
    assert (back.phone_jid, back.status) == (OURS, "disconnected")


def test_an_operation_is_restored_once(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS)
    operation = _begin(conn, phone)
    _take_all(conn, operation, phone)
    _restore(conn, operation, "first@here")
    with pytest.raises(Conflict, match=r"already restored at .* by first@here"):
        _restore(conn, operation, "second@here")


def test_a_newer_pairing_is_not_overwritten(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS)
    operation = _begin(conn, phone)
    _take_all(conn, operation, phone)
    fill_device(conn, "77051234567:28@s.whatsapp.net")
    with pytest.raises(Conflict, match="paired anew"):
        _restore(conn, operation)


def test_a_row_that_is_newer_is_not_overwritten(database: Database) -> None:
    with database.transaction() as conn:
        phone = _phone(conn)
        fill_device(conn, OURS)
        put_session(conn, OURS, "99_1:1", FIRST)
        operation = _begin(conn, phone)
        assert quarantine.session(conn, operation, OURS, "99:1@lid", only_mark=_mark(FIRST)) == 1
        put_session(conn, OURS, "99_1:1", REBUILT)
    with (
        pytest.raises(Conflict, match=r"overwrite 1 newer row"),
        database.transaction() as conn,
    ):
        _restore(conn, operation)
    with database.transaction() as conn:
        assert _session(conn, "99_1:1") == REBUILT
        assert not operations.operation(conn, operation.operation_id).restored


def test_a_refused_restore_changes_nothing_even_if_the_transaction_goes_on(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS)
    put_session(conn, OURS, "99_1:1", FIRST)
    put_sender_key(conn, OURS, CHAT, "99_1:1", SENDER_KEY)
    operation = _begin(conn, phone)
    mark = quarantine.ANY_MARK
    assert quarantine.session(conn, operation, OURS, "99:1@lid", only_mark=mark) == 1
    assert quarantine.sender_key(conn, operation, OURS, CHAT, "99:1@lid", only_mark=mark) == 1
    put_session(conn, OURS, "99_1:1", REBUILT)
    before = everything(conn)
    with pytest.raises(Conflict):
        _restore(conn, operation)
    assert everything(conn) == before


def test_a_row_that_is_there_again_with_the_same_content_is_no_conflict(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS)
    put_session(conn, OURS, "99_1:1", FIRST)
    operation = _begin(conn, phone)
    quarantine.session(conn, operation, OURS, "99:1@lid", only_mark=_mark(FIRST))
    put_session(conn, OURS, "99_1:1", FIRST)
    _restore(conn, operation)
    assert _session(conn, "99_1:1") == FIRST


def test_a_repair_cannot_return_without_its_device(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS)
    put_session(conn, OURS, "99_1:1", FIRST)
    repair, close = _begin(conn, phone), _begin(conn, phone)
    quarantine.session(conn, repair, OURS, "99:1@lid", only_mark=_mark(FIRST))
    _take_all(conn, close, phone)
    with pytest.raises(Conflict, match="restore the operation that took it first"):
        _restore(conn, repair)
    _restore(conn, close)
    _restore(conn, repair)
    assert _session(conn, "99_1:1") == FIRST


@pytest.mark.parametrize("sender", ["99:1@lid", "77059998877:1@s.whatsapp.net"])
@pytest.mark.parametrize("stored", ["99_1:1", "77059998877:1"])
def test_a_session_is_found_under_lid_and_number(conn: Connection, phone: Phone, sender: str, stored: str) -> None:
    fill_device(conn, OURS, rows=1)
    put_lid(conn, "99", "77059998877")
    put_session(conn, OURS, stored, FIRST)
    assert whatsmeow.session_mark(conn, OURS, sender) == _mark(FIRST)
    assert quarantine.session(conn, _begin(conn, phone), OURS, sender, only_mark=_mark(FIRST)) == 1


def test_the_row_under_the_lid_goes_before_the_one_under_the_number(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS, rows=1)
    put_lid(conn, "99", "77059998877")
    put_session(conn, OURS, "77059998877:1", FIRST)
    put_session(conn, OURS, "99_1:1", REBUILT)
    sender = "77059998877:1@s.whatsapp.net"
    assert whatsmeow.session_mark(conn, OURS, sender) == _mark(REBUILT)
    assert quarantine.session(conn, _begin(conn, phone), OURS, sender, only_mark=_mark(REBUILT)) == 1
    assert _session(conn, "77059998877:1") == FIRST


def test_a_session_that_went_on_is_still_the_one_that_failed(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS, rows=1)
    put_session(conn, OURS, "99_1:1", TALK)
    assert quarantine.session(conn, _begin(conn, phone), OURS, "99:1@lid", only_mark=_mark(FIRST)) == 1


def test_a_session_that_was_rebuilt_survives(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS, rows=1)
    put_session(conn, OURS, "99_1:1", REBUILT)
    operation = _begin(conn, phone)
    assert quarantine.session(conn, operation, OURS, "99:1@lid", only_mark=_mark(FIRST)) == 0
    assert quarantine.session(conn, operation, OURS, "99:1@lid", only_mark=None) == 0
    assert quarantine.session(conn, operation, OURS, "98:1@lid", only_mark=quarantine.ANY_MARK) == 0
    assert operations.operation(conn, operation.operation_id).keys == 0
    operations.discard(conn, operation)
    with pytest.raises(WaSessionsError, match="wa-sessions operations"):
        operations.operation(conn, operation.operation_id)


def test_an_unreadable_session_can_be_taken(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS, rows=1)
    put_session(conn, OURS, "99_1:1", b"\x00 no JSON")
    assert whatsmeow.session_mark(conn, OURS, "99:1@lid") is None
    assert quarantine.session(conn, _begin(conn, phone), OURS, "99:1@lid", only_mark=None) == 1


def test_a_sender_key_is_taken_in_its_group_alone(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS, rows=1)
    put_sender_key(conn, OURS, CHAT, "99_1:1", SENDER_KEY)
    put_sender_key(conn, OURS, "other@g.us", "99_1:1", SENDER_KEY)
    mark = whatsmeow.sender_key_mark(conn, OURS, CHAT, "99:1@lid")
    operation = _begin(conn, phone)
    assert quarantine.sender_key(conn, operation, OURS, CHAT, "99:1@lid", only_mark="0" * 16) == 0
    assert quarantine.sender_key(conn, operation, OURS, CHAT, "99:1@lid", only_mark=mark) == 1
    assert whatsmeow.sender_key_mark(conn, OURS, CHAT, "99:1@lid") is None
    assert whatsmeow.sender_key_mark(conn, OURS, "other@g.us", "99:1@lid") == mark


def test_an_app_state_version_goes_with_its_macs_and_without_keys(conn: Connection, phone: Phone) -> None:
    fill_device(conn, OURS)
    before, kinds = everything(conn), counts(conn, OURS)
    operation = _begin(conn, phone)
    assert quarantine.app_state_version(conn, operation, OURS, "text 0") == 4
    assert whatsmeow.app_state_versions(conn, OURS) == {"text 1": 2, "text 2": 3}
    lost = {"app-state-sync-version": kinds["app-state-sync-version"] - 1, "app-state-mutation-mac": 0}
    assert counts(conn, OURS) == {**kinds, **lost}
    _restore(conn, operation)
    assert everything(conn) == before


def test_two_quarantines_at_once_count_each_key_once(database: Database) -> None:
    with database.transaction() as conn:
        phone = _phone(conn)
        made = fill_device(conn, OURS, rows=20)
        parts = [_begin(conn, phone) for _ in range(2)]
    start, counted = threading.Barrier(2), {}

    def take(operation: OperationPart) -> None:
        with database.transaction() as conn:
            start.wait()
            counted[operation.operation_id] = _take_all(conn, operation, phone)

    threads = [threading.Thread(target=take, args=(operation,)) for operation in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.transaction() as conn:
        assert sorted(counted.values()) == [0, made]
        assert {o.id: o.keys for o in operations.latest(conn, phone_id=phone.id)} == counted


def test_a_rolled_back_quarantine_leaves_everything(database: Database) -> None:
    with database.transaction() as conn:
        phone = _phone(conn)
        fill_device(conn, OURS)
        before = everything(conn)

    def take_and_fail(conn: Connection) -> None:
        assert _take_all(conn, _begin(conn, phone), phone) > 0
        raise LookupError

    with pytest.raises(LookupError), database.transaction() as conn:
        take_and_fail(conn)
    with database.transaction() as conn:
        assert everything(conn) == before
        assert operations.latest(conn, phone_id=phone.id) == []


@pytest.mark.parametrize("older", [False, True], ids=["newest shape", "older shape"])
def test_baileys_keys_of_one_phone_come_back(conn: Connection, phone: Phone, older: bool) -> None:
    if older:
        _older_shape(conn)
    found = backend.detect(conn)
    assert found.auth
    table = f'public."{found.auth.name}"'
    for organization, number in ((1, "77051234567"), (2, "77051234567"), (1, "770512345670")):
        for key in ("creds", "session-99_1.1", "sender-key-g@g.us::99::1"):
            value = f"{organization}{number}{key}".encode() if older else f"{organization}{number}{key}"
            extra = {"id": f"{organization}{number}{key}"} if older else {}
            row = extra | {
                "organizationId": organization,
                "phoneJid": number,
                "key": key,
                "value": value,
                "type": "buffer",
            }
            columns = ", ".join(f'"{name}"' for name in row)
            conn.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(['%s'] * len(row))})", [*row.values()])
    before = conn.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
    phones.assign(conn, found, phone, ConnectionType.BAILEYS)
    phone = replace(phone, connection_type=ConnectionType.BAILEYS)
    operation = _begin(conn, phone)
    assert _take_all(conn, operation, phone) == 3
    assert len(conn.execute(f"SELECT FROM {table}").fetchall()) == 6
    restored = _restore(conn, operation)
    assert restored.counts == {found.auth.name: 3}
    assert conn.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() == before


def test_an_operation_remembers_the_phone(conn: Connection, phone: Phone) -> None:
    operation = operations.operation(conn, _begin(conn, phone, Status.LOGGED_OUT).operation_id)
    assert re.fullmatch(r"op-\d{8}-[2-9a-z]{6}", operation.id)
    [part] = operation.phones
    assert part.number == "77051234567"
    assert part.status_before == "connected"
    assert part.status_after == "logged_out"
    assert part.phone_jid_before == OURS
    assert part.restored_at is None
    assert not operation.restored


def test_a_store_without_tables_has_nothing_to_take(conn: Connection, phone: Phone) -> None:
    conn.execute("DROP SCHEMA whatsmeow CASCADE")
    operation = _begin(conn, phone)
    assert _take_all(conn, operation, phone) == 0
    assert quarantine.session(conn, operation, OURS, "99:1@lid", only_mark=None) == 0
    assert quarantine.app_state_version(conn, operation, OURS, "regular") == 0
    assert whatsmeow.device_of(conn, "77051234567") == []
    whatsmeow.ensure_schema(conn)
    whatsmeow.ensure_schema(conn)


def test_a_strangers_device_leaves_nothing(conn: Connection) -> None:
    fill_device(conn, OURS)
    before = everything(conn)
    fill_device(conn, OTHERS)
    whatsmeow.forget_device(conn, OTHERS)
    assert everything(conn) == before


def _older_shape(conn: Connection) -> None:
    conn.execute("DROP TABLE public.baileys_auth")
    conn.execute(
        'CREATE TABLE public."BaileysAuth" (id text PRIMARY KEY, "organizationId" int, "phoneJid" text, "key" text,'
        ' "value" bytea, "type" text, UNIQUE ("organizationId", "phoneJid", "key"))'
    )


def _mark(record: bytes) -> str:
    mark = whatsmeow.StoredRecord("", record).session_mark
    assert mark
    return mark


def _session(conn: Connection, address: str) -> bytes | None:
    found = conn.execute(
        "SELECT session FROM whatsmeow.whatsmeow_sessions WHERE our_jid = %s AND their_id = %s", (OURS, address)
    ).fetchone()
    return bytes(found["session"]) if found else None
