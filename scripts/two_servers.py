"""Two servers, one of which is the primary. The other follows, takes its place, and is followed by what was it before.

Commits wait for the standby while there is one, as with Patroni's synchronous mode: what was committed is not lost in a
failover.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from wa_sessions.db import server_user
from wa_sessions.errors import DatabaseError, StoreAway

if TYPE_CHECKING:
    from wa_sessions.db.embedded import EmbeddedServer

SETTINGS = {
    "wal_level": "replica",
    "max_wal_senders": "6",
    "wal_keep_size": "64MB",
    "wal_retrieve_retry_interval": "500ms",
}
"""For both, and from the beginning."""
PATIENCE = 90.0  # seconds for a server to come up or to be followed, on a busy machine
COPIER = "pg_basebackup"
NAMES = "ALTER SYSTEM SET synchronous_standby_names = '{}'"
FOLLOWED = """
    SELECT count(*) FROM pg_stat_replication
    WHERE state = 'streaming' AND sync_state = 'sync' AND flush_lsn >= %s::pg_lsn
"""


def why_not(server: EmbeddedServer) -> str | None:
    """Why this machine can have no standby of a server that was made; None if it can."""
    if (server_user.programs(server_user.server_user(server.cluster)) / COPIER).is_file():
        return None
    return f"the installed Postgres has no {COPIER}"


def kill(server: EmbeddedServer) -> None:
    """At once, as by a power cut: nothing is written, nobody is waited for."""
    pid = int((server.cluster / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)


def start(server: EmbeddedServer) -> None:
    """Until it is up, which may take longer than the patience of a start. Raises DatabaseError."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            server.ensure_running()
            return
        except (DatabaseError, StoreAway):
            if time.monotonic() > deadline:
                raise


class TwoServers:
    """Both. ``primary`` runs; ``standby`` is to be made by ``follow``, again after each failover."""

    def __init__(self, primary: EmbeddedServer, standby: EmbeddedServer) -> None:
        self.both = (primary, standby)
        self.primary, self.standby = primary, standby

    @property
    def place(self) -> int:
        """Which of ``both`` is the primary."""
        return self.both.index(self.primary)

    def follow(self) -> None:
        """Make the standby anew as a copy of the primary; once it follows, commits wait for it."""
        self._wait_for("")
        user = server_user.server_user(self.primary.cluster)
        shutil.rmtree(self.standby.cluster, ignore_errors=True)
        server_user.make_folder(self.standby.data_dir, 0o755)
        self.standby.cluster.mkdir(mode=0o700)
        user.own(self.standby.cluster)
        copier, options = server_user.programs(user) / COPIER, ("-R", "-c", "fast", "--no-sync")
        subprocess.run(
            [copier, "-d", self.primary.conninfo(), "-D", self.standby.cluster, *options],
            check=True,
            capture_output=True,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "HOME": "/"},
            **user.process_options,
        )
        start(self.standby)
        self._wait_for("*")
        self.wait_until_followed()

    def wait_until_followed(self) -> None:
        """Until the standby has all that the primary has by now. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        with psycopg.connect(self.primary.conninfo(), autocommit=True) as conn:
            written = conn.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
            while conn.execute(FOLLOWED, written).fetchone() != (1,):
                if time.monotonic() > deadline:
                    raise TimeoutError("the standby does not follow the primary")
                time.sleep(0.02)

    def promote(self) -> None:
        """Make the standby the primary, once the primary is dead."""
        with psycopg.connect(self.standby.conninfo(), autocommit=True) as conn:
            conn.execute("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    def _wait_for(self, names: str) -> None:
        with psycopg.connect(self.primary.conninfo(), autocommit=True) as conn:
            conn.execute(NAMES.format(names).encode())
            conn.execute("SELECT pg_reload_conf()")
