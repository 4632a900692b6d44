"""Rows as Postgres gives and takes them: from each shape of the backend's table into whatsmeow's store, and back."""

from uuid import UUID

import pytest
from psycopg.sql import SQL, Identifier
from support import corpus, store
from support.records import back, there

from wa_sessions.db import backend, key_transfer, phones, whatsmeow
from wa_sessions.db.gateway import Database
from wa_sessions.errors import Conflict
from wa_sessions.keys.baileys.rows import BaileysPhone, Row
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

ODD = r"\x00 is text here, 'quoted' \"twice\" \ and 🙂"
KEYS = SQL('SELECT "key", "value", "type" FROM {} WHERE "organizationId" = %s AND "phoneJid" = %s')


@pytest.mark.parametrize(
    ("shape", "organization", "number"),
    [
        (corpus.SHAPES[0], 1, corpus.BUFFERS),
        (corpus.SHAPES[1], 7, corpus.SEVENTH_PAIRED),
        (corpus.SHAPES[2], 2, corpus.SEVENTH),
    ],
)
def test_the_store_takes_what_was_converted_and_gives_it_back(
    database: Database, shape: str, organization: int, number: str
) -> None:
    with database.transaction() as conn:
        corpus.load(conn, shape)
        statement = KEYS.format(Identifier("public", shape.removesuffix("-old")))
        rows = conn.execute(statement, (organization, number)).fetchall()
        before = BaileysPhone.of_rows(Row(row["key"], row["value"], row["type"]) for row in rows)
        over = there(before).phone
        store.put_rows(conn, over.rows())
        stored = store.all_rows(conn, over.rows())
    assert {table: sorted(rows, key=repr) for table, rows in stored.items()} == {
        table: sorted(rows, key=repr) for table, rows in over.rows().items()
    }
    returned = back(WhatsmeowPhone.of_rows(stored), major=before.major, before=before)
    assert returned.left_out == returned.notices == ()
    assert {row.key for row in returned.phone.rows()} >= {
        row["key"] for row in rows if not row["key"].startswith(("sender-key-memory", "device-list"))
    }


def test_rows_of_every_table_stand_byte_for_byte_as_they_stood_in_another_store(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_transfer, "ROWS_AT_ONCE", 3)
    jid = "77051234567:2@s.whatsapp.net"
    with database.transaction() as conn:
        store.fill_device(conn, jid, rows=7)
        conn.execute("UPDATE whatsmeow.whatsmeow_device SET push_name = %s, facebook_uuid = %s", (ODD, UUID(int=5)))
        before, kept = store.everything(conn), key_transfer.device_rows(conn, jid)
        whatsmeow.forget_device(conn, jid)
        key_transfer.put_device(conn, dict(reversed(kept.items())))
        assert store.everything(conn) == before
        with pytest.raises(Conflict, match=r"by somebody else meanwhile \(7\)"):
            key_transfer.put_device(conn, {"whatsmeow_pre_keys": kept["whatsmeow_pre_keys"]})


@pytest.mark.parametrize("shape", corpus.SHAPES)
def test_auth_keys_stand_as_they_stood_in_each_shape_of_the_table(
    database: Database, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    monkeypatch.setattr(key_transfer, "ROWS_AT_ONCE", 3)
    with database.transaction() as conn:
        corpus.load(conn, shape)
        tables = backend.detect(conn)
        phone = phones.list_phones(conn, tables)[0]
        rows = [*key_transfer.auth_rows(conn, tables, phone), Row("made-up", ODD, "base64_json")]
        assert tables.auth
        statement = SQL('DELETE FROM {} WHERE "organizationId" = %s AND "phoneJid" = %s')
        conn.execute(statement.format(tables.auth.identifier), (str(phone.organization_id), phone.number))
        key_transfer.put_auth_keys(conn, tables, phone, rows)
        found = {row.key: row for row in key_transfer.auth_rows(conn, tables, phone)}
        assert {key: _text(row) for key, row in found.items()} == {row.key: _text(row) for row in rows}


def _text(row: Row) -> tuple[str, str]:
    return row.value if isinstance(row.value, str) else row.value.decode(), row.type
