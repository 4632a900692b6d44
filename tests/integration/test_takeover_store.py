"""Rows as Postgres gives and takes them: from each shape of the backend's table into whatsmeow's store, and back."""

import pytest
from psycopg.sql import SQL, Identifier
from support import corpus, store
from support.records import back, there

from wa_sessions.db.gateway import Database
from wa_sessions.keys.baileys.rows import BaileysPhone, Row
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

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
