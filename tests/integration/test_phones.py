"""The backend's tables in all their shapes, and phones in them."""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from support.waiting import PATIENCE

from wa_sessions.db import backend, phones
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.phones import Phone
from wa_sessions.db.settings import Target
from wa_sessions.errors import AmbiguousPhone, Conflict, DatabaseError, ExitCode, PhoneNotFound, UsageError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.reconnect import Status
from wa_sessions.keys.phone_ref import PhoneRef, parse_phone

OLDER_AUTH = (
    'CREATE TABLE public."BaileysAuth" (id text PRIMARY KEY, "organizationId" int NOT NULL, "phoneJid" text NOT NULL,'
    ' "key" text NOT NULL, "value" bytea NOT NULL, "type" text NOT NULL, UNIQUE ("organizationId", "phoneJid", "key"))'
)
NUMBER = "77051234567"


@pytest.fixture
def found(conn: Connection) -> Backend:
    return backend.detect(conn)


def _phone(conn: Connection, organization: int, jid: str, **columns: object) -> int:
    names = "".join(f', "{name}"' for name in columns)
    row = conn.execute(
        f'INSERT INTO public."OrganizationPhone" ("organizationId", "phoneJid", "updatedAt"{names})'
        f" VALUES (%s, %s, '2026-11-01 10:00:00.123'{', %s' * len(columns)}) RETURNING id",
        (organization, jid, *columns.values()),
    ).fetchone()
    assert row
    return int(row["id"])


def _key(conn: Connection, organization: int, number: str) -> None:
    conn.execute("INSERT INTO public.baileys_auth VALUES (%s, %s, 'creds', '{}', 'buffer')", (organization, number))


def test_the_newest_shape_is_found(found: Backend) -> None:
    assert found.auth
    assert found.auth.name == "baileys_auth"
    assert not found.auth.binary
    assert found.has_phones
    assert found.has_connection_type


def test_the_first_shape_is_found(conn: Connection) -> None:
    conn.execute('ALTER TABLE public.baileys_auth RENAME TO "BaileysAuth"')
    found = backend.detect(conn)
    assert found.auth
    assert (found.auth.name, found.auth.binary) == ("BaileysAuth", False)


def test_the_older_shape_is_found(conn: Connection) -> None:
    conn.execute("DROP TABLE public.baileys_auth")
    conn.execute(OLDER_AUTH)
    found = backend.detect(conn)
    assert found.auth
    assert (found.auth.name, found.auth.binary) == ("BaileysAuth", True)
    assert "id" in found.auth.columns


def test_of_two_tables_the_one_with_rows_is_meant(conn: Connection) -> None:
    conn.execute(OLDER_AUTH)
    first = backend.detect(conn).auth
    _key(conn, 1, NUMBER)
    second = backend.detect(conn).auth
    assert first
    assert second
    assert (first.name, second.name) == ("BaileysAuth", "baileys_auth")


def test_a_database_without_tables_is_found_empty(conn: Connection) -> None:
    conn.execute('DROP TABLE public.baileys_auth, public."OrganizationPhone"')
    found = backend.detect(conn)
    assert found.auth is None
    assert not found.has_phones
    with pytest.raises(DatabaseError, match=r"its schema in the URL \(\?schema=…\)"):
        phones.find(conn, found, PhoneRef(NUMBER))
    assert backend.create_tables(conn).has_connection_type


def test_tables_are_looked_for_on_the_search_path(conn: Connection) -> None:
    conn.execute("CREATE SCHEMA chat")
    conn.execute("SET LOCAL wa_sessions.search_path = chat")
    assert not backend.detect(conn).has_phones
    conn.execute('CREATE TABLE chat."OrganizationPhone" (LIKE public."OrganizationPhone" INCLUDING ALL)')
    found = backend.detect(conn)
    assert found.has_phones
    assert phones.add(conn, found, NUMBER, 1, None)
    conn.execute("SET LOCAL wa_sessions.search_path = 'public, chat'")
    assert phones.list_phones(conn, backend.detect(conn)) == []


def test_a_phone_is_read_as_it_stands(conn: Connection, found: Backend) -> None:
    conn.execute('ALTER TABLE public."OrganizationPhone" ADD COLUMN "extra" text DEFAULT \'x\'')
    columns = {"displayName": "Отдел", "status": "connected", "lastConnectedAt": "2026-11-11 01:15:30.123"}
    id_ = _phone(conn, 7, f"{NUMBER}:27@s.whatsapp.net", qrCode="2@secret", **columns)
    phone = phones.find(conn, backend.detect(conn), PhoneRef(NUMBER))
    assert phone == Phone(
        id=id_,
        organization_id=7,
        number=NUMBER,
        phone_jid=f"{NUMBER}:27@s.whatsapp.net",
        device=27,
        display_name="Отдел",
        status=Status.CONNECTED,
        connection_type=ConnectionType.BAILEYS,
        last_connected_at=datetime(2026, 11, 11, 1, 15, 30, 123000, UTC),
        qr_code="2@secret",
        updated_at=datetime(2026, 11, 1, 10, 0, 0, 123000, UTC),
    )
    assert "secret" not in repr(phone)


@pytest.mark.parametrize("jid", [f"{NUMBER}@s.whatsapp.net", f"{NUMBER}:27@s.whatsapp.net", NUMBER])
@pytest.mark.parametrize("typed", ["+7 705 123-45-67", f"{NUMBER}:3@s.whatsapp.net"])
def test_a_number_is_matched_exactly(conn: Connection, found: Backend, jid: str, typed: str) -> None:
    for longer in ("770512345670", "7705123456", "177051234567"):
        _phone(conn, 1, f"{longer}@s.whatsapp.net")
    id_ = _phone(conn, 1, jid)
    assert phones.find(conn, found, parse_phone(typed)).id == id_


def test_an_unknown_phone_says_how_to_add_it(conn: Connection, found: Backend) -> None:
    with pytest.raises(PhoneNotFound, match=f"wa-sessions add {NUMBER} --org N") as error:
        phones.find(conn, found, PhoneRef(NUMBER))
    assert error.value.exit_code is ExitCode.NO_SUCH_PHONE
    with pytest.raises(PhoneNotFound, match=f"wa-sessions add {NUMBER} --org 3"):
        phones.find(conn, found, PhoneRef(NUMBER), 3)
    for id_ in (99, 2**31, 2**63, 10**17):
        with pytest.raises(PhoneNotFound, match=f"no phone has the id #{id_}"):
            phones.find(conn, found, PhoneRef(phone_id=id_))


def test_a_phone_of_another_organization_says_which(conn: Connection, found: Backend) -> None:
    id_ = _phone(conn, 1, f"{NUMBER}@s.whatsapp.net")
    for ref in (PhoneRef(NUMBER), PhoneRef(phone_id=id_)):
        with pytest.raises(PhoneNotFound, match="in organization 2: it is in organization 1"):
            phones.find(conn, found, ref, 2)
        assert phones.find(conn, found, ref, 1).id == id_


def test_a_number_in_two_organizations_lists_them(conn: Connection, found: Backend) -> None:
    _phone(conn, 1, f"{NUMBER}@s.whatsapp.net")
    second = _phone(conn, 20, f"{NUMBER}:5@s.whatsapp.net")
    with pytest.raises(AmbiguousPhone, match=r"is in organization 1, 20: choose one with --org") as error:
        phones.find(conn, found, PhoneRef(NUMBER))
    assert error.value.exit_code is ExitCode.USAGE
    assert phones.find(conn, found, PhoneRef(NUMBER), 20).id == second


def test_an_organization_with_auth_keys_alone_counts(conn: Connection, found: Backend) -> None:
    for organization in (1, 2, 5):
        _key(conn, organization, "77770000000")
    _key(conn, 5, NUMBER)
    with pytest.raises(PhoneNotFound, match=r"auth keys of it stand in organization 5"):
        phones.find(conn, found, PhoneRef(NUMBER))
    id_ = _phone(conn, 1, f"{NUMBER}@s.whatsapp.net")
    with pytest.raises(AmbiguousPhone, match=r"organization 1 and, with auth keys only, 5: choose one with --org"):
        phones.find(conn, found, PhoneRef(NUMBER))
    assert phones.find(conn, found, PhoneRef(NUMBER), 1).id == id_
    assert phones.find(conn, found, PhoneRef(phone_id=id_)).id == id_


def test_two_rows_of_one_number_are_named_by_id(conn: Connection, found: Backend) -> None:
    first, second = _phone(conn, 1, f"{NUMBER}@s.whatsapp.net"), _phone(conn, 1, f"{NUMBER}:5@s.whatsapp.net")
    with pytest.raises(AmbiguousPhone, match=f"#{first} .*#{second} .*name one by its #id"):
        phones.find(conn, found, PhoneRef(NUMBER))


def test_phones_are_listed_by_organization(conn: Connection, found: Backend) -> None:
    ids = [_phone(conn, organization, f"7705000000{organization}@s.whatsapp.net") for organization in (2, 1, 2)[:2]]
    assert [phone.id for phone in phones.list_phones(conn, found)] == ids[::-1]
    assert [phone.id for phone in phones.list_phones(conn, found, 2)] == ids[:1]


def test_an_added_phone_is_ours(conn: Connection, found: Backend) -> None:
    phone = phones.add(conn, found, NUMBER, 3, "Shop")
    assert phone == phones.find(conn, found, PhoneRef(NUMBER))
    assert (phone.connection_type, phone.status, phone.display_name) == ("neonize", "disconnected", "Shop")
    assert phone.phone_jid == f"{NUMBER}@s.whatsapp.net"
    assert _is_now(phone.updated_at)
    for organization in (3, 4):
        with pytest.raises(UsageError, match=f"already phone #{phone.id} of organization 3"):
            phones.add(conn, found, NUMBER, organization, None)


def test_a_column_that_we_do_not_know_can_refuse_a_phone(conn: Connection) -> None:
    conn.execute('ALTER TABLE public."OrganizationPhone" ADD COLUMN "branch" text NOT NULL')
    with pytest.raises(UsageError, match="add the phone in the backend"):
        phones.add(conn, backend.detect(conn), NUMBER, 1, None)
    assert phones.list_phones(conn, backend.detect(conn)) == []


def test_a_phone_is_handed_over(conn: Connection, found: Backend) -> None:
    phone = phones.add(conn, found, NUMBER, 1, None)
    phones.assign(conn, found, phone, ConnectionType.BAILEYS)
    assert phones.find(conn, found, PhoneRef(NUMBER)).connection_type == "baileys"
    with pytest.raises(UsageError, match="write neonize or baileys"):
        phones.assign(conn, found, phone, ConnectionType.WABA)
    _phone(conn, 1, "77009998877@s.whatsapp.net", connectionType="waba")
    with pytest.raises(UsageError, match="waba phone"):
        phones.assign(conn, found, phones.find(conn, found, PhoneRef("77009998877")), ConnectionType.NEONIZE)


def test_where_the_column_is_missing_the_assignment_is_ours(conn: Connection) -> None:
    conn.execute('ALTER TABLE public."OrganizationPhone" DROP COLUMN "connectionType"')
    found = backend.detect(conn)
    assert not found.has_connection_type
    _phone(conn, 1, "77009998877@s.whatsapp.net")
    added = phones.add(conn, found, NUMBER, 1, None)
    kinds = {phone.number: phone.connection_type for phone in phones.list_phones(conn, found)}
    assert kinds == {"77009998877": "baileys", NUMBER: "neonize"}
    phones.assign(conn, found, added, ConnectionType.BAILEYS)
    phones.assign(conn, found, added, ConnectionType.BAILEYS)
    assert phones.find(conn, found, PhoneRef(NUMBER)).connection_type == "baileys"


def test_without_our_schema_such_phones_are_the_backends(conn: Connection) -> None:
    conn.execute('ALTER TABLE public."OrganizationPhone" DROP COLUMN "connectionType"')
    conn.execute("DROP SCHEMA wa_sessions CASCADE")
    _phone(conn, 1, f"{NUMBER}@s.whatsapp.net")
    assert phones.find(conn, backend.detect(conn), PhoneRef(NUMBER)).connection_type == "baileys"


def test_a_status_is_set_as_prisma_would(conn: Connection, found: Backend) -> None:
    phone = phones.add(conn, found, NUMBER, 1, None)
    phones.set_status(conn, found, phone.id, Status.PENDING, qr_code="2@qr")
    pending = phones.find(conn, found, PhoneRef(NUMBER))
    assert (pending.status, pending.qr_code, pending.last_connected_at) == ("pending", "2@qr", None)
    phones.set_status(conn, found, phone.id, Status.LOADING)
    assert phones.find(conn, found, PhoneRef(NUMBER)).qr_code == "2@qr"
    jid = f"{NUMBER}:4@s.whatsapp.net"
    phones.set_status(conn, found, phone.id, Status.CONNECTED, qr_code=None, phone_jid=jid, connected_now=True)
    connected = phones.find(conn, found, PhoneRef(NUMBER))
    assert (connected.status, connected.qr_code, connected.phone_jid, connected.device) == ("connected", None, jid, 4)
    assert _is_now(connected.last_connected_at)
    row = conn.execute('SELECT "updatedAt"::text AS at FROM public."OrganizationPhone"').fetchone()
    assert row
    assert re.fullmatch(r"[\d-]+ [\d:]+(\.\d{1,3})?", row["at"])


def test_a_table_with_the_least_columns_is_enough(conn: Connection) -> None:
    conn.execute('DROP TABLE public."OrganizationPhone"')
    conn.execute(
        'CREATE TABLE public."OrganizationPhone" (id serial, "organizationId" int, "phoneJid" text UNIQUE, status text)'
    )
    found = backend.detect(conn)
    phone = phones.add(conn, found, NUMBER, 1, "name")
    phones.set_status(conn, found, phone.id, Status.CONNECTED, qr_code=None, connected_now=True)
    assert phones.find(conn, found, PhoneRef(NUMBER)).status == "connected"


def test_a_jid_of_another_phone_is_a_conflict(conn: Connection, found: Backend) -> None:
    _phone(conn, 1, "77009998877:1@s.whatsapp.net")
    phone = phones.add(conn, found, NUMBER, 1, None)
    with pytest.raises(Conflict, match="stands already at another phone"):
        phones.set_status(conn, found, phone.id, Status.CONNECTED, phone_jid="77009998877:1@s.whatsapp.net")
    assert phones.find(conn, found, PhoneRef(NUMBER)).status == "disconnected"


@pytest.mark.parametrize(
    "change",
    [
        lambda conn, found, phone: phones.set_status(conn, found, phone.id, Status.CONNECTED),
        lambda conn, found, phone: phones.assign(conn, found, phone, ConnectionType.BAILEYS),
    ],
)
def test_a_phone_that_is_gone_is_said(
    conn: Connection, found: Backend, change: Callable[[Connection, Backend, Phone], None]
) -> None:
    phone = phones.add(conn, found, NUMBER, 1, None)
    conn.execute('DELETE FROM public."OrganizationPhone"')
    with pytest.raises(PhoneNotFound, match="any more"):
        change(conn, found, phone)


def test_two_who_make_the_tables_wait_for_each_other(empty_target: Target) -> None:
    start, made = threading.Barrier(2), []
    with Database.open(empty_target) as database:

        def make() -> None:
            with database.transaction() as conn:
                start.wait(PATIENCE)
                made.append(backend.create_tables(conn))

        threads = [threading.Thread(target=make) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [found.has_connection_type for found in made] == [True, True]


def _is_now(moment: datetime | None) -> bool:
    return moment is not None and abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
