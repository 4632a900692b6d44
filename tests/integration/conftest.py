"""A database that many tests use one after another: emptying one costs a tenth of making one."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from wa_sessions.db import backend
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target

_TABLES = """SELECT schemaname, tablename FROM pg_tables
    WHERE schemaname IN ('public', 'wa_sessions', 'whatsmeow')
      AND tablename NOT IN ('migration', 'whatsmeow_version')"""


@pytest.fixture(scope="session")
def _used(server: EmbeddedServer) -> Iterator[Database]:
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute("CREATE DATABASE used TEMPLATE wa_template STRATEGY wal_log")
    with Database.open(Target(make_conninfo(server.conninfo(), dbname="used"), None, "test"), size=8) as opened:
        yield opened


@pytest.fixture
def emptied(_used: Database) -> Database:
    """All tables, empty. Another shape of auth keys may be made in it; to drop others take ``database``."""
    with _used.transaction() as conn:
        tables = [Identifier(*row.values()) for row in conn.execute(_TABLES)]
        conn.execute(SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(SQL(", ").join(tables)))
        conn.execute('DROP TABLE IF EXISTS "BaileysAuth"')
        backend.create_tables(conn)
    return _used


@pytest.fixture
def emptied_url(server: EmbeddedServer, emptied: Database) -> str:
    """The URL of ``emptied``, for ``--database-url``."""
    name = conninfo_to_dict(emptied.target.conninfo)["dbname"]
    return f"postgresql://postgres@/{name}?host={server.socket_dir}&port=5432"
