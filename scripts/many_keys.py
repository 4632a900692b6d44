"""A database of its own with many phones and auth keys, as a large Node backend has them.

    .venv/bin/python scripts/many_keys.py --rows 2000000 --phones 2000

Real Postgres in a temporary folder, which goes with this program (Ctrl-C, SIGTERM). Key names, their mix and the
length of values are those of Baileys 7; the values say nothing. Rows of a phone lie scattered over the table, as they
come over months.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from wa_sessions.actions.connection import open_target
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.settings import embedded_target

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS, PHONES, ORGANIZATIONS = 2_000_000, 2_000, 20
FIRST_NUMBER = 77_050_000_000
STEP = 50  # rows a phone and statement
USUAL_SETTINGS = {  # Postgres's own defaults, where the embedded server has smaller ones
    "shared_buffers": "128MB",
    "max_parallel_workers_per_gather": "2",
    "max_wal_size": "4GB",
    "fsync": "off",
}
MAKE_PHONES = """
    INSERT INTO "OrganizationPhone"
        ("organizationId", "phoneJid", "displayName", "status", "lastConnectedAt", "updatedAt", "connectionType")
    SELECT n %% %(organizations)s + 1,
           (%(first)s + n * 7919) || CASE WHEN n %% 3 = 0 THEN ':' || n %% 80 + 1 ELSE '' END || '@s.whatsapp.net',
           'Phone ' || n,
           (ARRAY['connected', 'connected', 'connected', 'disconnected', 'logged_out'])[n %% 5 + 1],
           now() - n * interval '1 minute', now(), 'baileys'
    FROM generate_series(1, %(phones)s) AS n
"""
MAKE_KEYS = """
    INSERT INTO baileys_auth ("organizationId", "phoneJid", "key", "value", "type")
    SELECT p.organization, p.number, made.key, substr(repeat(md5(made.key), 100), 1, made.size), 'base64_json'
    FROM (
        SELECT "organizationId" AS organization, substring("phoneJid" from '^[0-9]+') AS number,
               %(each)s * (0.5 + "id" %% 11 * 0.1) AS rows
        FROM "OrganizationPhone"
    ) AS p
    CROSS JOIN generate_series(%(since)s::int, %(until)s::int) AS n
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN n = 1 THEN 'creds'
            WHEN n <= 4 THEN 'app-state-sync-key-AAAAA' || md5(n::text)
            WHEN n <= 9 THEN 'app-state-sync-version-regular_' || n
            WHEN n %% 100 < 36 THEN 'session-' || 77070000000 + n * 37 || '.' || n %% 3
            WHEN n %% 100 < 66 THEN 'pre-key-' || n
            WHEN n %% 100 < 78 THEN 'sender-key-1203630000' || n / 40 || '@g.us::' || 77070000000 + n || '::0'
            WHEN n %% 100 < 79 THEN 'sender-key-memory-1203630000' || n || '@g.us'
            WHEN n %% 100 < 88 THEN 'lid-mapping-' || 2000000 + n || CASE WHEN n %% 2 = 0 THEN '_reverse' ELSE '' END
            WHEN n %% 100 < 94 THEN 'device-list-' || 77070000000 + n
            WHEN n %% 100 < 98 THEN 'identity-key-' || 77070000000 + n || '.0'
            ELSE 'tctoken-' || 2000000 + n || '@lid'
        END AS key, CASE
            WHEN n = 1 THEN 3100
            WHEN n %% 100 < 36 THEN 1000
            WHEN n %% 100 BETWEEN 66 AND 77 THEN 1500
            ELSE 180
        END AS size
    ) AS made
    WHERE n <= p.rows
    ORDER BY n, p.number
"""
DROP_KEY = "ALTER TABLE baileys_auth DROP CONSTRAINT baileys_auth_pkey"
ADD_KEY = 'ALTER TABLE baileys_auth ADD CONSTRAINT baileys_auth_pkey PRIMARY KEY ("organizationId", "phoneJid", "key")'


@contextlib.contextmanager
def database(rows: int = ROWS, phones: int = PHONES) -> Iterator[str]:
    """The URL of a new database with so many rows and phones, vacuumed and analysed."""
    folder = Path(tempfile.mkdtemp(prefix="wa-sessions-many-keys-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "data", settings=USUAL_SETTINGS)
    try:
        with open_target(embedded_target(server)):  # the backend's tables and our own schema
            url = f"postgresql://postgres@/postgres?host={server.socket_dir}&port=5432"
        with psycopg.connect(url, autocommit=True) as conn:
            fill(conn, rows, phones)
        yield url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def fill(conn: psycopg.Connection, rows: int, phones: int) -> None:
    """Phones and about that many auth keys: half as many to one and a half times as many as the mean at each phone."""
    conn.execute(MAKE_PHONES, {"phones": phones, "first": FIRST_NUMBER, "organizations": ORGANIZATIONS})
    conn.execute(DROP_KEY)
    each = rows / phones
    for since in range(1, int(each * 1.5) + 2, STEP):
        conn.execute(MAKE_KEYS, {"each": each, "since": since, "until": since + STEP - 1})
    conn.execute(ADD_KEY)
    conn.execute("VACUUM ANALYZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--phones", type=int, default=PHONES)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), database(options.rows, options.phones) as url:
        print(f"made in {time.monotonic() - started:.0f} s: {url}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
