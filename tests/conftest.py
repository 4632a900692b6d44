"""One embedded Postgres for the whole run, and a database in its first state for each test that asks for one."""

import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from support import examples, installed_postgres, warm
from support.clusters import FAST, copy_of_made
from support.databases import EMPTY, NODE, Databases, url_of
from support.fleet import Fleet

from wa_sessions import config
from wa_sessions.config import reading
from wa_sessions.config.table import SETTINGS
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target

_FOLDER = "WA_TEST_FOLDER"
_VARIABLES = {name for setting in SETTINGS.values() for name in (*setting.variables, setting.variable)}
_SETTINGS = {
    *(name + ending for name in _VARIABLES for ending in ("", "_FILE")),
    *(*reading.LIBPQ_VARIABLES, "PGPASSWORD", reading.PROFILE_VARIABLE, reading.CREDENTIALS_VARIABLE, "COLUMNS"),
}
_PROGRAMS = ("fish", "ip", "node", "npm", "promtool", "tmux", "zsh")  # those that tests are marked with

hypothesis.settings.load_profile(examples.SUITE)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "root: about becoming another user, which only root can")
    config.addinivalue_line("markers", "ordinary_user: about a closed folder, which root does not see")
    config.addinivalue_line("markers", "program(name): about a program that many machines do not have")

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it in the background: programs inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ[_FOLDER] = str(_open_folder())


def pytest_unconfigure() -> None:
    warm.end()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ.pop(_FOLDER), ignore_errors=True)


def _open_folder() -> Path:
    parent = Path(tempfile.gettempdir())
    if os.geteuid() == 0 and any(not folder.stat().st_mode & 0o001 for folder in (parent, *parent.parents)):
        parent = Path("/tmp")
    folder = parent / f"wa-test-{secrets.token_hex(4)}"
    folder.mkdir()
    folder.chmod(0o755)
    return folder


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
    for name in _SETTINGS.intersection(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv(reading.FILE_VARIABLE, os.devnull)
    config.begin()


@pytest.fixture(scope="session")
def open_folder() -> Path:
    """A folder that every user of the machine may enter; pytest's own is closed to the server as root."""
    folder = Path(os.environ[_FOLDER]) / os.environ.get("PYTEST_XDIST_WORKER", "alone")
    folder.mkdir()
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def server(open_folder: Path) -> Iterator[EmbeddedServer]:
    """The Postgres of this process."""
    embedded = copy_of_made(open_folder.parent, open_folder / "shared", FAST | {"max_connections": "300"})
    try:
        embedded.ensure_running()
        yield embedded
    finally:
        embedded.stop()


@pytest.fixture(scope="session")
def databases(server: EmbeddedServer) -> Iterator[Databases]:
    """Its databases."""
    made = Databases(server)
    yield made
    made.close()


@pytest.fixture
def target(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Target]:
    """A database of the test's own: the backend's tables, our schema, and whatsmeow's store, all empty."""
    template = NODE if "_phones_of_node" in request.fixturenames else EMPTY
    with databases.lend(template) as target:
        yield target


@pytest.fixture
def _phones_of_node() -> None:
    """Makes ``target`` a Node backend's database with phones and keys."""


@pytest.fixture
def empty_target(databases: Databases) -> Iterator[Target]:
    """A database without any table."""
    with databases.new() as target:
        yield target


@pytest.fixture
def database_url(server: EmbeddedServer, target: Target) -> str:
    """The URL of ``target``, for ``--database-url``."""
    return url_of(server, target)


@pytest.fixture
def database(target: Target) -> Iterator[Database]:
    """``target``, opened."""
    with Database.open(target, size=8) as opened:
        yield opened


@pytest.fixture
def fleet(_phones_of_node: None, database: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> Fleet:
    """A Node backend's phones with the keys that real Baileys wrote for them."""
    return Fleet(database, database_url, capsys)


@pytest.fixture(scope="session")
def _shared(databases: Databases) -> Iterator[Database]:
    with databases.lend(EMPTY) as target, Database.open(target) as opened:
        yield opened


@pytest.fixture
def conn(_shared: Database) -> Iterator[Connection]:
    """One transaction on a database with all tables, empty; it is rolled back, so it costs next to nothing."""
    with contextlib.suppress(_RollBackError), _shared.transaction() as connection:
        yield connection
        raise _RollBackError


class _RollBackError(Exception):
    pass
