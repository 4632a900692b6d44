"""How much of a command reading the settings takes: importing the table, finding the files, and reading one.

    .venv/bin/python scripts/bench_settings.py

Processor time, as a busy machine stretches all other; each round is a process of its own, which has imported before
what every command does anyway. The fastest round is the one that was disturbed least.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

PROGRAM = """
import time
import typer, typer.core, typer.models
import wa_sessions.errors, wa_sessions.plain_text
began = time.process_time()
from wa_sessions import config
from wa_sessions.config import table
configured = config.current()
for setting in (table.DATABASE_URL, table.STORE_URL, table.MAX_BAD_MAC, table.LEASE, table.NO_COLOR):
    configured.value(setting)
print(time.process_time() - began)
"""
FILE = """
database_url = "postgresql://wa@db/messenger_db"
max_bad_mac = 5
max_bad_decrypt = 9
lease = "6s"
keep_history = "30d"
stop_command = "pm2 stop messenger-backend"
start_command = "pm2 start messenger-backend"
handlers = 4
alert_interval = 20
[test]
database_url = "postgresql:///messenger_test"
"""


def milliseconds(folder: Path, rounds: int) -> list[float]:
    """What it takes in each round, with ``folder`` as the user's."""
    ours = ("WA_SESSIONS_", "PG", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment = kept | {"XDG_CONFIG_HOME": str(folder)}
    command = [sys.executable, "-c", PROGRAM]
    runs = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(rounds + 1)
    ]
    return [float(run.stdout) * 1000 for run in runs[1:]]  # the first compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "has", "wa-sessions", "config.toml")
        file.parent.mkdir(parents=True)
        file.write_text(FILE)
        file.chmod(0o600)
        print(
            f"load {os.getloadavg()[0]:.0f}; {rounds} rounds\n\n| | fastest, ms | median, ms |\n| --- | ---: | ---: |"
        )
        for name, place in (("no config file", "none"), ("a config file with ten settings", "has")):
            times = milliseconds(Path(folder, place), rounds)
            print(f"| {name} | {min(times):.1f} | {median(times):.1f} |")


if __name__ == "__main__":
    main()
