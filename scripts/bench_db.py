"""What the reading commands cost on millions of auth keys, beside plain SQL and the recipes as they are documented.

    .venv/bin/python scripts/bench_db.py --rows 2000000 --phones 2000

Everything in one run on one database (``many_keys.py``), each in turn with the others, round after round; medians.
"Of the best" is the ratio to the fastest of its table that gives the whole answer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from bench_support import machine
from many_keys import PHONES, ROWS, database
from psycopg.rows import dict_row

from wa_sessions.db.sql import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM = Path(sys.executable).with_name("wa-sessions")
OURS = queries("auth_keys")
KEY_TYPE = OURS.key_type.as_string()
CASES = (
    *("session", "pre-key", "sender-key-memory", "sender-key", "app-state-sync-version", "app-state-sync-key"),
    *("lid-mapping", "device-list", "tctoken", "identity-key"),
)
PLAIN_CASE = " ".join(
    [
        """CASE WHEN "key" = 'creds' THEN 'creds'""",
        *(f"""WHEN starts_with("key", '{name}-') THEN '{name}'""" for name in CASES),
        "ELSE 'other' END",
    ]
)
PHONE_COUNTS = 'SELECT "organizationId", "phoneJid", {type} AS type, count(*) FROM baileys_auth GROUP BY 1, 2, 3'
NUMBER = """split_part(split_part(p."phoneJid", '@', 1), ':', 1)"""
FILTERS = ", ".join(f"""count(*) FILTER (WHERE starts_with("key", '{name}-'))""" for name in CASES)
SCAN_TABLE = ("SET enable_indexscan = off", "SET enable_indexonlyscan = off", "SET enable_bitmapscan = off")
ONE_PROCESS = ("SET max_parallel_workers_per_gather = 0",)
LEFT = """
    SELECT organization, number, CASE
               WHEN start = 'creds' THEN start
               WHEN start IN ('session-', 'pre-key-', 'lid-mapping-', 'device-list-', 'identity-key-', 'tctoken-')
                   THEN rtrim(start, '-')
               WHEN starts_with(start, 'sender-key-m') THEN 'sender-key-memory'
               WHEN starts_with(start, 'sender-key-') THEN 'sender-key'
               WHEN starts_with(start, 'app-state-sync-v') THEN 'app-state-sync-version'
               WHEN starts_with(start, 'app-state-sync-k') THEN 'app-state-sync-key'
               ELSE 'other'
           END AS type, sum(rows)
    FROM (
        SELECT "organizationId" AS organization, "phoneJid" AS number, count(*) AS rows,
               left("key", CASE left("key", 2) WHEN 'se' THEN CASE left("key", 3) WHEN 'ses' THEN 8 ELSE 12 END
                   WHEN 'pr' THEN 8 WHEN 'li' THEN 12 WHEN 'de' THEN 12 WHEN 'id' THEN 13 WHEN 'tc' THEN 8 ELSE 16 END)
                   AS start
        FROM baileys_auth GROUP BY 1, 2, 4
    ) AS counted
    GROUP BY 1, 2, 3
"""

MINIMAL = """
from typing import Annotated
import psycopg, typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
@app.command()
def main(number: Annotated[str, typer.Argument()], url: Annotated[str, typer.Option("--url")]) -> None:
    with psycopg.connect(url) as conn:
        rows = conn.execute({statement!r}, {{"number": number}}).fetchall()
    print(*rows, sep=chr(10))
app()
"""
ONE_PHONE = (
    "SELECT * FROM \"OrganizationPhone\" WHERE split_part(split_part(\"phoneJid\", '@', 1), ':', 1) = %(number)s"
)


@dataclass(frozen=True)
class Try:
    """One way to an answer; ``partial``: it does not give all of it, so it is no yardstick."""

    name: str
    run: Callable[[], object]
    partial: bool = False


def table(title: str, tries: Sequence[Try], rounds: int) -> list[float]:
    """Run all in turn and print them."""
    times: list[list[float]] = [[] for _ in tries]
    for one in tries:
        one.run()  # what it reads is in memory then
    for _ in range(rounds):
        for one, taken in zip(tries, times, strict=True):
            started = time.perf_counter()
            one.run()
            taken.append(time.perf_counter() - started)
    medians = list(map(median, times))
    best = min(value for one, value in zip(tries, medians, strict=True) if not one.partial)
    print(f"\n| {title} | ms | of the best |\n| --- | ---: | ---: |")
    for one, value in zip(tries, medians, strict=True):
        print(f"| {one.name} | {value * 1000:{'.1f' if value < 0.02 else '.0f'}} | {value / best:.2f} |", flush=True)
    return medians


class Bench:
    """One connection a setting, and the commands as processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.environment = {**os.environ, "WA_SESSIONS_DATABASE_URL": url}

    def sql(
        self, name: str, statement: str, settings: Sequence[str] = (), *, partial: bool = False, **values: Any
    ) -> Try:
        """A statement on a connection with these settings, its rows fetched."""
        conn = psycopg.connect(self.url, autocommit=True, row_factory=dict_row, prepare_threshold=None)
        for setting in settings:
            conn.execute(setting.encode())
        return Try(name, lambda: conn.execute(statement.encode(), values or None).fetchall(), partial)

    def process(self, name: str, *arguments: str | Path) -> Try:
        """A program from its start to its end."""

        def run() -> None:
            subprocess.run(arguments, env=self.environment, check=True, stdin=subprocess.DEVNULL, capture_output=True)

        return Try(name, run)

    def minimal(self, name: str, statement: str, number: str) -> Try:
        """A typer + psycopg program that runs one statement and prints its rows."""
        return self.process(name, sys.executable, "-c", MINIMAL.format(statement=statement), number, "--url", self.url)


def ours(block: str) -> str:
    """The statement as the command runs it."""
    return str(
        getattr(OURS, block)
        .format(auth_table=psycopg.sql.Identifier("baileys_auth"), key_type=OURS.key_type)
        .as_string()
    )


def one_phone(bench: Bench, number: str, organization: int, rounds: int) -> None:
    where: dict[str, Any] = {"organization_id": organization, "number": number}
    plain = f'SELECT {PLAIN_CASE} AS type, count(*), sum(octet_length("value")) FROM baileys_auth WHERE {{}} GROUP BY 1'
    both = plain.format('"organizationId" = %(organization_id)s AND "phoneJid" = %(number)s')
    table(
        "keys of one phone, the query",
        [
            bench.sql("`keys`: count by type, and size", ours("sums"), **where),
            bench.sql("the same as a plain `CASE`", both, **where),
            bench.sql("recipe: count, without organization", recipe_count(), partial=True, number=number),
            bench.sql("the same without skip scan, as before Postgres 18", no_skip_scan(), partial=True, number=number),
            bench.sql("recipe: types, as it was meant", recipe_types(), partial=True, number=number),
        ],
        rounds,
    )
    with psycopg.connect(bench.url) as conn:
        plan = conn.execute(f"EXPLAIN {ours('sums')}".encode(), where).fetchall()
        print("\n" + "\n".join(line for (line,) in plan if "Scan" in line or "Index Cond" in line))
        try:
            conn.execute(documented_types().encode(), {"number": number})
        except psycopg.Error as error:
            print(f"\nrecipe: types, as it is documented: ERROR: {error.diag.message_primary}")


def recipe_count() -> str:
    return 'SELECT COUNT(*) FROM baileys_auth WHERE "phoneJid" = %(number)s'


def no_skip_scan() -> str:
    """The same count, written so that no index condition can come of it."""
    return recipe_count().replace('"phoneJid" =', """"phoneJid" || '' =""")


def documented_types() -> str:
    return (
        'SELECT SUBSTRING("key", 1, 20) as type, COUNT(*) FROM baileys_auth WHERE "phoneJid" = %(number)s '
        "GROUP BY type ORDER BY COUNT(*) DESC"
    )


def recipe_types() -> str:
    return documented_types().replace("GROUP BY type", "GROUP BY 1")


def all_phones(bench: Bench, rounds: int) -> None:
    plain, dispatch = PHONE_COUNTS.format(type=PLAIN_CASE), PHONE_COUNTS.format(type=KEY_TYPE)
    each = f"""SELECT p."id", t.* FROM "OrganizationPhone" AS p CROSS JOIN LATERAL (
                   SELECT {KEY_TYPE} AS type, count(*) FROM baileys_auth AS a
                   WHERE a."organizationId" = p."organizationId" AND a."phoneJid" = {NUMBER} GROUP BY 1) AS t"""
    filters = f'SELECT "organizationId", "phoneJid", count(*), {FILTERS} FROM baileys_auth GROUP BY 1, 2'
    table(
        "keys of all phones by type, the query",
        [
            bench.sql("`sessions`", ours("counts"), organization_id=None),
            bench.sql("our key types, one row a type", dispatch),
            bench.sql("our key types, hashed", dispatch, ("SET enable_sort = off",)),
            bench.sql("our key types, phone by phone (`LATERAL`)", each),
            bench.sql("our key types, one process", dispatch, ONE_PROCESS),
            bench.sql("plain `CASE`", plain),
            bench.sql("plain `CASE`, one process", plain, ONE_PROCESS),
            bench.sql("plain `CASE`, table scan", plain, SCAN_TABLE),
            bench.sql("a `FILTER` for each type", filters),
            bench.sql("`left(key, n)`, then mapped", LEFT),
            bench.sql("no types at all", 'SELECT "phoneJid", count(*) FROM baileys_auth GROUP BY 1', partial=True),
        ],
        rounds,
    )


def processes(bench: Bench, number: str, rounds: int) -> None:
    counts = (
        """SELECT p.*, k.* FROM "OrganizationPhone" AS p LEFT JOIN ("""
        + PHONE_COUNTS.format(type=KEY_TYPE)
        + f""") AS k
                ON k."organizationId" = p."organizationId" AND k."phoneJid" = {NUMBER}""".replace("%", "%%")
    )
    table(
        "all phones, the whole process",
        [
            bench.process("`wa-sessions sessions`", PROGRAM, "sessions"),
            bench.process("`wa-sessions sessions --json`", PROGRAM, "sessions", "--json"),
            bench.minimal("typer + psycopg, the phones and their counts", counts, number),
        ],
        rounds,
    )
    table(
        "one phone, the whole process",
        [
            bench.process("`wa-sessions stats PHONE`", PROGRAM, "stats", number),
            bench.process("`wa-sessions keys PHONE`", PROGRAM, "keys", number),
            bench.minimal("typer + psycopg, one query", ONE_PHONE, number),
        ],
        rounds * 3,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--phones", type=int, default=PHONES)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with database(options.rows, options.phones) as url:
        bench = Bench(url)
        with psycopg.connect(url) as conn:
            row = conn.execute(
                """SELECT "organizationId", "phoneJid", count(*), pg_size_pretty(pg_table_size('baileys_auth')),
                          (SELECT count(*) FROM baileys_auth)
                   FROM baileys_auth GROUP BY 1, 2 ORDER BY abs(count(*) - %s), 2 LIMIT 1""",
                (options.rows // options.phones,),
            ).fetchone()
        assert row
        organization, number, keys, size, rows = row
        print(f"{machine()}; {rows} keys ({size}) of {options.phones} phones, {keys} of them {number}'s")
        one_phone(bench, number, organization, options.rounds)
        all_phones(bench, options.rounds)
        processes(bench, number, options.rounds)


if __name__ == "__main__":
    main()
