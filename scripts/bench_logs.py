"""How fast ``wa-sessions logs`` reads, beside grep on the same file.

    .venv/bin/python scripts/bench_logs.py --mb 1000 --rounds 5

Makes two logs (``scripts/log_generator.py``) and reads each in pairs, grep first, round after round. Memory is that of
the command and all its processes together, sampled (PSS).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import log_generator
import psutil
from stage import machine

PROGRAM = Path(sys.executable).with_name("wa-sessions")
LOGS = {"dense": 190, "few": 1}


def seconds(command: list[str | Path], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def megabytes(command: list[str | Path], environment: dict[str, str]) -> float:
    """The most memory that a command and its processes have at one time."""
    most = 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                most = max(most, sum(one.memory_full_info().pss for one in [root, *root.children(recursive=True)]))
            except psutil.Error:
                continue
            time.sleep(0.02)
    return most / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the logs are made; those that stand there are read again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = options.folder or Path(own)
        environment = {**os.environ, "WA_SESSIONS_DATA_DIR": f"{own}/none"}
        print(f"{machine()}; {options.rounds} rounds\n")
        print("| log | grep, s | `wa-sessions logs`, s | ratio | MB |\n| --- | ---: | ---: | ---: | ---: |")
        for name, errors in LOGS.items():
            path = folder / f"{name}-{options.mb}.log"
            if not path.exists():
                log_generator.write(path, options.mb, errors)
            grep = ["grep", "-cE", "Bad MAC|bad decrypt", path]
            ours = [PROGRAM, "logs", path, "--json"]
            pairs = [(seconds(grep, environment), seconds(ours, environment)) for _ in range(options.rounds + 1)][1:]
            theirs, mine = (median(column) for column in zip(*pairs, strict=True))
            ratio = median(b / a for a, b in pairs)
            memory = megabytes(ours, environment)
            print(f"| {name} | {theirs:.2f} | {mine:.2f} | {ratio:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
