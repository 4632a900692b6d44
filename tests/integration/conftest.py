"""A key for files, a worker over a database, and a WhatsApp server with two phones that a whole module shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.backup_fixtures import Key, new_key
from support.client_process import ClientProcess
from support.pairing import Party, link
from support.rigs import Rig

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.emulator import Emulator
from wa_sessions.health.model import Limits


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
def client_process(emu: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientProcess]:
    with ClientProcess(emu.client_env(), tmp_path_factory.mktemp("clients")) as process:
        yield process


@pytest.fixture(scope="module")
def alice(emu: Emulator, client_process: ClientProcess) -> Party:
    return link(emu, client_process, "alice")


@pytest.fixture(scope="module")
def bob(emu: Emulator, client_process: ClientProcess) -> Party:
    return link(emu, client_process, "bob")


@pytest.fixture
def rig(database: Database, server: EmbeddedServer) -> Rig:
    return Rig(database, server, Limits())
