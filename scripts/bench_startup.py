"""How long a command takes to start.

    .venv/bin/python scripts/bench_startup.py

Each command runs in turn with the others, round after round, so that a busy machine slows them all. ``stats``, ``keys``
and ``sessions`` ask a private embedded database that has one phone. Below the table: ``stats`` as a multiple of the
least that a typer + psycopg program with one query takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from stage import Stage, machine

NUMBER = "77051000001"
PROGRAM = Path(sys.executable).with_name("wa-sessions")
MINIMAL = """
import os
import psycopg
import typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
@app.command()
def main(number: str) -> None:
    with psycopg.connect(os.environ["WA_SESSIONS_DATABASE_URL"]) as conn:
        typer.echo(conn.execute('SELECT * FROM "OrganizationPhone" WHERE "phoneJid" = %s', (number,)).fetchall())
app()
"""
LEAST, STATS = "typer + psycopg, one query", "wa-sessions stats PHONE"
COMMANDS: dict[str, tuple[str | Path, ...]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "python -c 'import neonize'": (sys.executable, "-c", "import pylibmagic, neonize.client"),
    "wa-sessions --version": (PROGRAM, "--version"),
    "wa-sessions --help": (PROGRAM, "--help"),
    LEAST: (sys.executable, "-c", MINIMAL, f"{NUMBER}@s.whatsapp.net"),
    STATS: (PROGRAM, "stats", NUMBER),
    "wa-sessions keys PHONE": (PROGRAM, "keys", NUMBER),
    "wa-sessions sessions": (PROGRAM, "sessions"),
}


def seconds(command: tuple[str | Path, ...], environment: dict[str, str]) -> float:
    """One start, from the fork to the end. Raises CalledProcessError."""
    started = time.perf_counter()
    subprocess.run(
        command,
        env=environment,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    return time.perf_counter() - started


def measure(rounds: int) -> dict[str, list[float]]:
    with Stage() as stage:
        stage.add(NUMBER)
        environment = {**os.environ, "WA_SESSIONS_DATABASE_URL": stage.url}
        for command in COMMANDS.values():
            seconds(command, environment)  # what it reads is in the page cache, what it compiles is compiled
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                times[name].append(seconds(command, environment))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time as JSON")
    options = parser.parse_args()
    times = measure(options.rounds)
    print(f"{machine()}; {options.rounds} rounds\n")
    print("| command | median, ms | fastest, ms |\n| --- | ---: | ---: |")
    for name, all_of in times.items():
        print(f"| `{name}` | {median(all_of) * 1000:.0f} | {min(all_of) * 1000:.0f} |")
    print(f"\n`{STATS}` takes {median(times[STATS]) / median(times[LEAST]):.2f} times the least")
    if options.json:
        found: dict[str, Any] = {"machine": machine(), "seconds": times}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
