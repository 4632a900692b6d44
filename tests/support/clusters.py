"""Postgres servers that begin as copies of one: to make a cluster and its tables takes a second, to copy it a tenth."""

import fcntl
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.databases import EMPTY, NODE, Databases
from support.store import make_store

from wa_sessions.db import backend, migrate
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Connection

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def copy_of_made(run: Path, folder: Path, settings: Mapping[str, str] = FAST) -> EmbeddedServer:
    """A server in a folder of its own, not started, with all databases that tests begin with, or what it has by now.

    ``run`` is the folder of this run of the tests: whoever comes first makes there what all copy.
    """
    if folder.exists():
        return EmbeddedServer(folder, settings=settings)
    made = EmbeddedServer(run / "made", settings=FAST)
    with (run / "making").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (run / "is_made").exists():
            _make(made)
            (run / "is_made").touch()
    folder.mkdir()
    folder.chmod(made.data_dir.stat().st_mode)
    subprocess.run(["cp", "--archive", made.cluster, folder / made.cluster.name], check=True)
    return EmbeddedServer(folder, settings=settings)


def _make(server: EmbeddedServer) -> None:
    server.ensure_running()
    try:
        databases = Databases(server)
        databases.create(EMPTY.name, fill=_make_tables)
        databases.create(NODE.name, EMPTY.name, fill=NODE.fill)
        databases.close()
    finally:
        server.stop()


def _make_tables(conn: Connection) -> None:
    backend.create_tables(conn)
    migrate.upgrade(conn)
    make_store(conn)
