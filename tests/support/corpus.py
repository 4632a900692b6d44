"""Auth keys that the real Baileys library wrote (6.7.21 and 7.0.0-rc14), in each table shape that backends have.

``tests/data/baileys_phones.sql.gz`` has seven phones, whole, of three organizations; ``psql`` can read it too.
"""

import gzip
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from wa_sessions.db import backend
from wa_sessions.db.backend import Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.keys.baileys.rows import Row

FILE = Path(__file__).parent.parent / "data" / "baileys_phones.sql.gz"
TABLES = frozenset({("public", "OrganizationPhone"), ("public", "baileys_auth")})
SHAPES = ("BaileysAuth", "BaileysAuth-old", "baileys_auth")

BUFFERS = "77051234567"
"""Organization 1, phone #1, Baileys 6.7, connected, style ``buffer``; it is device 12 but its JID does not say so."""
PAIRED = "77017654321"
"""Organization 1, phone #3, Baileys 6.7, connected, style ``base64_json``, JID ``77017654321:27@s.whatsapp.net``."""
SEVENTH = "79269876543"
"""Organization 2, phone #7, Baileys 7, connected, style ``base64_json``."""
LOGGED_OUT = "998901234567"
"""Organization 2, phone #9, Baileys 6.7, logged_out but with all its keys, style ``base64_json``."""
PENDING = "77001112233"
"""Organization 2, phone #13, waits for its QR to be scanned: its only key is ``creds``."""
SEVENTH_PAIRED = "77475556677"
"""Organization 7, phone #10, Baileys 7, connected, style ``buffer``, JID ``77475556677:61@s.whatsapp.net``."""
WABA = "77009998877"
"""Organization 7, phone #14, the official API: no key."""

_BLOCK = re.compile(r'^COPY "(\w+)" (\([^)]*\)) FROM stdin;\n(.*?)^\\\.$', re.MULTILINE | re.DOTALL)
_PHONES = """CREATE TABLE IF NOT EXISTS public."OrganizationPhone" (
    "id" SERIAL PRIMARY KEY, "organizationId" INTEGER NOT NULL, "phoneJid" TEXT NOT NULL UNIQUE, "displayName" TEXT,
    "status" TEXT NOT NULL DEFAULT 'pending', "lastConnectedAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "qrCode" TEXT, "updatedAt" TIMESTAMP(3) NOT NULL,
    "connectionType" TEXT NOT NULL DEFAULT 'baileys')"""
_AUTH = """CREATE TABLE IF NOT EXISTS {} (
    "organizationId" INTEGER NOT NULL, "phoneJid" TEXT NOT NULL, "key" TEXT NOT NULL, "value" TEXT NOT NULL,
    "type" TEXT NOT NULL, PRIMARY KEY ("organizationId", "phoneJid", "key"))"""
_OLD_AUTH = """CREATE TABLE {} (
    "id" TEXT PRIMARY KEY, "organizationId" INTEGER NOT NULL, "phoneJid" TEXT NOT NULL, "key" TEXT NOT NULL,
    "value" BYTEA NOT NULL, "type" TEXT NOT NULL, UNIQUE ("organizationId", "phoneJid", "key"))"""


def load(conn: Connection, shape: str, file: Path = FILE) -> Backend:
    """Put the phones and their auth keys into a database, its auth table replaced by one of that shape.

    In the older shape a value is the same text as bytes, and every row has an ``id``.
    """
    conn.execute('DROP TABLE IF EXISTS public."BaileysAuth"')
    conn.execute(_PHONES)
    if shape == "baileys_auth":  # as it is made for an embedded database
        conn.execute(SQL(_AUTH).format(Identifier("public", shape)))
        conn.execute("DELETE FROM public.baileys_auth")
    else:
        conn.execute("DROP TABLE IF EXISTS public.baileys_auth")
        conn.execute(SQL(_OLD_AUTH if shape.endswith("-old") else _AUTH).format(Identifier("public", _name(shape))))
    fill(conn, shape, file)
    return backend.detect(conn)


def fill(conn: psycopg.Connection[dict[str, Any]], shape: str, file: Path = FILE) -> None:
    """Put their rows into tables of that shape which have none."""
    for table, columns, rows in _blocks(file):
        if table == "OrganizationPhone":
            _copy(conn, _statement(table, columns), rows)
        elif shape.endswith("-old"):
            _copy(conn, _statement(_name(shape), columns.replace("(", '("id", ')), "".join(_with_ids(rows)))
        else:
            _copy(conn, _statement(_name(shape), columns), rows)
    sequence = """pg_get_serial_sequence('public."OrganizationPhone"', 'id')"""
    conn.execute(SQL('SELECT setval({}, max("id")) FROM public."OrganizationPhone"').format(SQL(sequence)))


def rows(file: Path = FILE) -> dict[tuple[int, str], list[Row]]:
    """The auth keys of all phones by organization and number, as the newer shapes of the table hold them."""
    found: dict[tuple[int, str], list[Row]] = {}
    for table, _, lines in _blocks(file):
        for line in lines.splitlines() if table == "BaileysAuth" else ():
            organization, number, key, value, kind = line.split("\t")
            found.setdefault((int(organization), number), []).append(Row(key, value, kind))
    return found


@cache
def _blocks(file: Path) -> list[tuple[str, str, str]]:
    """Table, columns and rows in COPY's text format."""
    text = gzip.decompress(file.read_bytes()).decode() if file.suffix == ".gz" else file.read_text(encoding="utf-8")
    return [(table, columns, rows) for table, columns, rows in _BLOCK.findall(text)]


def _name(shape: str) -> str:
    return shape.removesuffix("-old")


def _with_ids(rows: str) -> Iterator[str]:
    return (f"cm{number:08}\t{row}" for number, row in enumerate(rows.splitlines(keepends=True)))


def _statement(table: str, columns: str) -> Composed:
    return SQL("COPY {} {} FROM STDIN").format(Identifier("public", table), SQL(columns))


def _copy(conn: psycopg.Connection[dict[str, Any]], statement: Composed, rows: str) -> None:
    with conn.cursor().copy(statement) as copy:
        copy.write(rows)
