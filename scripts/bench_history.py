"""What the sums of the history cost, read and kept, with a million events.

    .venv/bin/python scripts/bench_history.py --events 1000000 --phones 500

Real Postgres in a temporary folder. Each way in turn with the others, round after round; medians. "The whole history,
summed up" is the query that metrics asked at each scrape before the table ``event_total``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psycopg
from bench_support import machine
from many_keys import database

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(sys.executable).with_name("wa-sessions")
WRITTEN = 500  # events a round, each in a transaction of its own
FILL = """
    INSERT INTO wa_sessions.event (at, phone_id, organization_id, kind, detail)
    SELECT now() - n * interval '8 seconds', n %% %(phones)s + 1, 1, made.kind, CASE made.kind
               WHEN 'error_counted' THEN '{"error_kind": "bad_mac", "count": 1, "limit": 3}'::jsonb
               WHEN 'message_recovered' THEN jsonb_build_object('seconds', n %% 50 / 10.0)
               ELSE '{}' END
    FROM generate_series(1, %(events)s) AS n
    CROSS JOIN LATERAL (SELECT (ARRAY['connected', 'disconnected', 'error_counted', 'message_pending',
        'message_recovered', 'session_quarantined', 'taken'])[n %% 7 + 1] AS kind) AS made
"""
SCAN = """
    SELECT phone_id, kind, sum(times)::bigint AS times, sum(seconds) AS seconds
    FROM (
        SELECT phone_id, kind || coalesce('.' || (detail ->> 'error_kind'), '') AS kind, 1 AS times,
               CASE WHEN kind = 'message_recovered' THEN (detail ->> 'seconds')::float8 END AS seconds
        FROM wa_sessions.event WHERE kind <> 'history_pruned'
        UNION ALL
        SELECT phone_id, total.key, (total.value ->> 0)::bigint, (total.value ->> 1)::float8
        FROM wa_sessions.event, jsonb_each(detail -> 'totals') AS total WHERE kind = 'history_pruned'
    ) AS counted
    GROUP BY phone_id, kind
"""
KEPT = "SELECT phone_id, kind, times, seconds FROM wa_sessions.event_total"
WRITE = """
    INSERT INTO wa_sessions.event (phone_id, organization_id, kind, detail)
    VALUES (%s, 1, 'error_counted', '{"error_kind": "bad_mac"}')
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--phones", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with database(rows=options.phones, phones=options.phones) as url, psycopg.connect(url, autocommit=True) as conn:
        conn.execute(FILL, {"events": options.events, "phones": options.phones})
        conn.execute("VACUUM ANALYZE")
        if sorted(conn.execute(SCAN).fetchall()) != sorted(conn.execute(KEPT).fetchall()):
            raise SystemExit("the table of totals does not say what the history says")
        ways: dict[str, Callable[[], float]] = {
            "the whole history, summed up": lambda: timed(lambda: conn.execute(SCAN).fetchall()),
            "the table of totals": lambda: timed(lambda: conn.execute(KEPT).fetchall()),
            "`wa-sessions metrics --without-keys`": lambda: timed(lambda: metrics(url)),
            "an event written": lambda: written(conn, counted=True, phones=options.phones),
            "an event written, not counted": lambda: written(conn, counted=False, phones=options.phones),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                taken[name].append(way())
        print(f"{machine()}; {options.events} events of {options.phones} phones, {options.rounds} rounds\n")
        print("| | ms |\n| --- | ---: |")
        for name, seconds in taken.items():
            print(f"| {name} | {median(seconds) * 1000:.2f} |")


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def metrics(url: str) -> None:
    command: list[str | Path] = [PROGRAM, "metrics", "--without-keys", "--database-url", url]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def written(conn: psycopg.Connection, *, counted: bool, phones: int) -> float:
    """Seconds for one event, of some that are written one after another."""
    conn.execute(f"ALTER TABLE wa_sessions.event {'ENABLE' if counted else 'DISABLE'} TRIGGER count_events")

    def write() -> None:
        for n in range(WRITTEN):
            conn.execute(WRITE, (n % phones + 1,))

    try:
        return timed(write) / WRITTEN
    finally:
        conn.execute("ALTER TABLE wa_sessions.event ENABLE TRIGGER count_events")


if __name__ == "__main__":
    main()
