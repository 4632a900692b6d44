"""One embedded Postgres for the whole run, and a fresh database for each test that asks for one."""

import contextlib
import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier
from support import corpus, examples, installed_postgres
from support.fleet import Fleet
from support.store import make_store

from wa_sessions import config
from wa_sessions.config import reading
from wa_sessions.config.table import SETTINGS
from wa_sessions.db import backend, migrate
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
TEMPLATE = "wa_template"
_VARIABLES = {name for setting in SETTINGS.values() for name in (*setting.variables, setting.variable)}
_SETTINGS = (
    *(name + ending for name in _VARIABLES for ending in ("", "_FILE")),
    *(*reading.LIBPQ_VARIABLES, "PGPASSWORD", reading.PROFILE_VARIABLE, reading.CREDENTIALS_VARIABLE),
)
_PROGRAMS = ("fish", "ip", "node", "npm", "promtool", "tmux", "zsh")  # those that tests are marked with
_numbers = itertools.count(1)

hypothesis.settings.load_profile(examples.SUITE)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "root: about becoming another user, which only root can")
    config.addinivalue_line("markers", "ordinary_user: about a closed folder, which root does not see")
    config.addinivalue_line("markers", "program(name): about a program that many machines do not have")


def pytest_report_header() -> list[str]:
    """Say which tests this machine cannot run."""
    lacking = [name for name in _PROGRAMS if shutil.which(name) is None]
    lines = [f"left out: the tests that need {', '.join(lacking)}, which this machine lacks"] if lacking else []
    if versions := installed_postgres.installed():
        return [*lines, f"all SQL is tried on Postgres {', '.join(versions)} too, from {installed_postgres.PROGRAMS}"]
    hint = "as apt-get install postgresql-15 puts one into"
    return [*lines, f"left out: all SQL on an older Postgres, {hint} {installed_postgres.PROGRAMS}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this user or machine cannot do; the suite is run as root and as an ordinary user."""
    left_out = "ordinary_user" if os.geteuid() == 0 else "root"
    deselected = [item for item in items if item.get_closest_marker(left_out) or _lacks_program(item)]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]


def _lacks_program(item: pytest.Item) -> bool:
    names = [marker.args[0] for marker in item.iter_markers("program")]
    assert set(names) <= set(_PROGRAMS)
    return any(shutil.which(name) is None for name in names)


@pytest.fixture(autouse=True)
def _nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of it, and no config file: a test that is about files says which are read."""
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(reading.FILE_VARIABLE, os.devnull)
    config.begin()


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine may enter; pytest's own is closed to the server as root."""
    parent = Path(tempfile.gettempdir())
    if os.geteuid() == 0 and any(not folder.stat().st_mode & 0o001 for folder in (parent, *parent.parents)):
        parent = Path("/tmp")
    folder = parent / f"wa-test-{secrets.token_hex(4)}"
    folder.mkdir()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(open_folder: Path) -> Iterator[EmbeddedServer]:
    """The Postgres of this run, with a template database that has all tables."""
    embedded = EmbeddedServer(open_folder / "shared", settings=FAST)
    try:
        embedded.ensure_running()
        _make_template(embedded)
        yield embedded
    finally:
        embedded.stop()


@pytest.fixture
def target(server: EmbeddedServer) -> Iterator[Target]:
    """A database of the test's own: the backend's tables, our schema, and whatsmeow's store, all empty."""
    name = _new(server, TEMPLATE)
    yield Target(_conninfo(server, name), None, "test")
    _drop(server, name)


@pytest.fixture
def empty_target(server: EmbeddedServer) -> Iterator[Target]:
    """A database without any table."""
    name = _new(server, "template1")
    yield Target(_conninfo(server, name), None, "test")
    _drop(server, name)


@pytest.fixture
def database_url(server: EmbeddedServer, target: Target) -> str:
    """The URL of ``target``, for ``--database-url``."""
    name = conninfo_to_dict(target.conninfo)["dbname"]
    return f"postgresql://postgres@/{name}?host={server.socket_dir}&port=5432"


@pytest.fixture
def database(target: Target) -> Iterator[Database]:
    """``target``, opened."""
    with Database.open(target, size=8) as opened:
        yield opened


@pytest.fixture
def fleet(database: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> Fleet:
    """A Node backend's phones with the keys that real Baileys wrote for them."""
    with database.transaction() as conn:
        corpus.load(conn, "baileys_auth")
    return Fleet(database, database_url, capsys)


@pytest.fixture(scope="session")
def _shared(server: EmbeddedServer) -> Iterator[Database]:
    with Database.open(Target(_conninfo(server, _new(server, TEMPLATE)), None, "test")) as opened:
        yield opened


@pytest.fixture
def conn(_shared: Database) -> Iterator[Connection]:
    """One transaction on a database with all tables, empty; it is rolled back, so it costs next to nothing."""
    with contextlib.suppress(_RollBackError), _shared.transaction() as connection:
        yield connection
        raise _RollBackError


class _RollBackError(Exception):
    pass


def _make_template(embedded: EmbeddedServer) -> None:
    _create(embedded, TEMPLATE, "template1")
    with Database.open(Target(_conninfo(embedded, TEMPLATE), None, "test")) as opened, opened.transaction() as conn:
        backend.create_tables(conn)
        migrate.upgrade(conn)
        make_store(conn)


def _new(embedded: EmbeddedServer, template: str) -> str:
    name = f"test_{next(_numbers)}"
    _create(embedded, name, template)
    return name


def _create(embedded: EmbeddedServer, name: str, template: str) -> None:
    statement = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log")
    with _admin(embedded) as conn:
        conn.execute(statement.format(Identifier(name), Identifier(template)))


def _drop(embedded: EmbeddedServer, name: str) -> None:
    with _admin(embedded) as conn:
        conn.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _admin(embedded: EmbeddedServer) -> psycopg.Connection:
    return psycopg.connect(embedded.conninfo(), autocommit=True)


def _conninfo(embedded: EmbeddedServer, name: str) -> str:
    return make_conninfo(embedded.conninfo(), dbname=name)
