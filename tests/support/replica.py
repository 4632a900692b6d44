"""A primary and its streaming replica, two real servers on addresses of loopback that nobody else has."""

import contextlib
import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from support.clusters import copy_of_made
from support.waiting import PATIENCE

from wa_sessions.db import server_user
from wa_sessions.db.embedded import EmbeddedServer

SETTINGS = {
    "fsync": "off",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "max_connections": "100",
    "unix_socket_permissions": "0777",
}
_numbers = itertools.count(11, 2)
RULES = "host all all 127.0.0.0/8 trust\nhost replication all 127.0.0.0/8 trust\n"


@dataclass
class Pair:
    """Both servers. ``url`` has both hosts, the one that was the primary first."""

    primary: str
    standby: str
    _server: EmbeddedServer
    _standby: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.primary},{self.standby}/postgres?sslmode=disable"

    def url_of(self, address: str) -> str:
        return f"postgresql://postgres@{address}/postgres?sslmode=disable"

    def kill_primary(self) -> None:
        """At once, as by a power cut."""
        self._server.stop()

    def promote(self) -> None:
        """Make the standby the primary."""
        with psycopg.connect(self.url_of(self.standby), autocommit=True) as conn:
            conn.execute("SELECT pg_promote()")

    def caught_up(self) -> None:
        """Wait until the standby has all that the primary has."""
        with psycopg.connect(self.url_of(self.primary), autocommit=True) as conn:
            [written] = conn.execute("SELECT pg_current_wal_lsn()").fetchone() or [None]
        with psycopg.connect(self.url_of(self.standby), autocommit=True) as conn:
            deadline = time.monotonic() + PATIENCE
            while conn.execute("SELECT pg_last_wal_replay_lsn() >= %s", (written,)).fetchone() != (True,):
                assert time.monotonic() < deadline, "the standby does not follow"
                time.sleep(0.02)


@contextlib.contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """A primary, and a standby that follows it."""
    net, number = f"127.{os.getpid() % 250 + 2}.{os.getpid() // 250 % 250}", next(_numbers)
    primary, standby = f"{net}.{number}", f"{net}.{number + 1}"
    server = copy_of_made(folder.parents[1], folder, SETTINGS | {"listen_addresses": primary})
    server.ensure_running()
    try:
        with (server.cluster / "pg_hba.conf").open("a") as rules:
            rules.write(RULES)
        with psycopg.connect(server.conninfo(), autocommit=True) as conn:
            conn.execute("SELECT pg_reload_conf()")
        process = _follow(folder, primary, standby)
        try:
            yield Pair(primary, standby, server, process)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    finally:
        server.stop()


def _follow(folder: Path, primary: str, standby: str) -> "subprocess.Popen[bytes]":
    user = server_user.server_user(folder / "postgres")
    programs, cluster = server_user.programs(user), folder / "standby"
    copy = [str(programs / "pg_basebackup"), "-h", primary, "-U", "postgres", "-D", str(cluster), "-R", "-c", "fast"]
    subprocess.run(copy, check=True, capture_output=True, timeout=PATIENCE)
    user.take(cluster)
    settings = SETTINGS | {"listen_addresses": standby, "unix_socket_directories": ""}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "standby.log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", cluster, *words], stderr=log, stdout=log, **user.process_options
        )
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(f"host={standby} user=postgres dbname=postgres sslmode=disable").close()
            return process
        assert process.poll() is None
        assert time.monotonic() < deadline, (folder / "standby.log").read_text()
        time.sleep(0.05)
