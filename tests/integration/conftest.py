"""A database that many tests use one after another, as emptying one costs a tenth of making one; a key for files."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier
from support.pairing import Party, link
from support.saved import Key, new_key
from support.standin import Standin

from wa_sessions.db import backend
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target
from wa_sessions.emulator import Emulator

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
        conn.execute('DROP TABLE IF EXISTS public."BaileysAuth"')
        backend.create_tables(conn)
    return _used


@pytest.fixture
def emptied_url(server: EmbeddedServer, emptied: Database) -> str:
    """The URL of ``emptied``, for ``--database-url``."""
    name = conninfo_to_dict(emptied.target.conninfo)["dbname"]
    return f"postgresql://postgres@/{name}?host={server.socket_dir}&port=5432"


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Key:
    """An age key that commands find in the environment."""
    made = new_key(tmp_path)
    monkeypatch.setenv("WA_SESSIONS_BACKUP_RECIPIENT", made.recipient)
    monkeypatch.setenv("WA_SESSIONS_BACKUP_IDENTITY", str(made.file))
    return made


@pytest.fixture(scope="module")
def emu() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def healed(emu: Emulator) -> Iterator[None]:
    """Faults do not outlive the test that made them."""
    yield
    emu.heal()


@pytest.fixture(scope="module")
def standin(emu: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    with Standin(emu.client_env(), tmp_path_factory.mktemp("clients")) as process:
        yield process


@pytest.fixture(scope="module")
def alice(emu: Emulator, standin: Standin) -> Party:
    return link(emu, standin, "alice")


@pytest.fixture(scope="module")
def bob(emu: Emulator, standin: Standin) -> Party:
    return link(emu, standin, "bob")
