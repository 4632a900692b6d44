"""An installation for each test: the installed program, real neonize clients as peers, faults on the wire."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import baileys
from support.baileys import Baileys
from support.client_process import ClientProcess
from support.clusters import copy_of_made
from support.databases import EMPTY
from support.installation import Installation

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.emulator import Emulator


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def installation(emu: Emulator, database_url: str) -> Iterator[Installation]:
    installation = Installation(emu, database_url)
    yield installation
    installation.close()


@pytest.fixture
def peers(emu: Emulator, tmp_path: Path) -> Iterator[ClientProcess]:
    """A process with clients that write to our phones."""
    with ClientProcess(emu.client_env(), tmp_path) as client_process:
        yield client_process


@pytest.fixture
def own_server(open_folder: Path) -> Iterator[EmbeddedServer]:
    """A database server that the test may stop."""
    server = copy_of_made(open_folder.parent, open_folder / f"own-{secrets.token_hex(3)}", {"fsync": "off"})
    server.ensure_running()
    yield server
    server.stop()


@pytest.fixture
def own_server_url(own_server: EmbeddedServer) -> str:
    return f"postgresql://postgres@/{EMPTY.name}?host={own_server.socket_dir}&port=5432"


@pytest.fixture(scope="session")
def _npm_packages() -> None:
    baileys.install()


@pytest.fixture(params=baileys.VERSIONS, ids="baileys{}".format)
def node(
    request: pytest.FixtureRequest, emu: Emulator, database_url: str, tmp_path: Path, _npm_packages: None
) -> Iterator[Baileys]:
    """A process of Baileys clients, of one version after the other."""
    with Baileys(request.param, emu.client_env(), tmp_path, database_url) as clients:
        yield clients


@pytest.fixture
def node7(emu: Emulator, database_url: str, tmp_path: Path, _npm_packages: None) -> Iterator[Baileys]:
    """Another such process, for a crowd of peers."""
    with Baileys(7, emu.client_env(), tmp_path, database_url) as clients:
        yield clients
