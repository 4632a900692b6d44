"""How long a command takes to start.

    .venv/bin/python scripts/bench_startup.py

Each command runs in turn with the others, round after round, so that a busy machine slows them all. ``stats``, ``keys``
and ``sessions`` ask a private embedded database that has one phone. Below the table: ``stats`` as a multiple of the
least that a typer + psycopg program with one query takes. ``--beside PROGRAM`` runs the ``wa-sessions`` of another
version in turn with ours, where it needs no database.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench_support import Stage, machine

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
    "wa-sessions stats --help": (PROGRAM, "stats", "--help"),
    LEAST: (sys.executable, "-c", MINIMAL, f"{NUMBER}@s.whatsapp.net"),
    STATS: (PROGRAM, "stats", NUMBER),
    "wa-sessions keys PHONE": (PROGRAM, "keys", NUMBER),
    "wa-sessions sessions": (PROGRAM, "sessions"),
}


def seconds(command: tuple[str | Path, ...], environment: dict[str, str]) -> tuple[float, float]:
    """One start, from the fork to the end, and the processor time that it took. Raises CalledProcessError."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command,
        env=environment,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def beside(program: Path) -> dict[str, tuple[str | Path, ...]]:
    """What needs no database, by another version's program."""
    return {
        f"{name}, the other version": (program, *words)
        for name, (ours, *words) in COMMANDS.items()
        if ours == PROGRAM and str(words[-1]).startswith("-")
    }


def measure(commands: dict[str, tuple[str | Path, ...]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    with Stage() as stage:
        stage.add(NUMBER)
        environment = {**os.environ, "WA_SESSIONS_DATABASE_URL": stage.url}
        for command in commands.values():
            seconds(command, environment)  # what it reads is in the page cache, what it compiles is compiled
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(seconds(command, environment))
    return times


def _median(times: list[tuple[float, float]]) -> float:
    return median(took for took, _ in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every time, and its processor time, as JSON")
    parser.add_argument("--beside", type=Path, metavar="PROGRAM", help="another version's wa-sessions")
    options = parser.parse_args()
    others = beside(options.beside) if options.beside else {}
    times = measure(COMMANDS | others, options.rounds)
    print(f"{machine()}; {options.rounds} rounds\n")
    print("| command | median, ms | fastest, ms | processor, median, ms |\n| --- | ---: | ---: | ---: |")
    for name, all_of in times.items():
        took, worked = ([one * 1000 for one in part] for part in zip(*all_of, strict=True))
        print(f"| `{name}` | {median(took):.0f} | {min(took):.0f} | {median(worked):.0f} |")
    print(f"\n`{STATS}` takes {_median(times[STATS]) / _median(times[LEAST]):.2f} times the least")
    if options.json:
        found: dict[str, Any] = {"machine": machine(), "seconds": times}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
