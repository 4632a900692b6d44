"""How fast ``wa-sessions logs`` reads, beside grep on the same file.

    .venv/bin/python scripts/bench_logs.py --mb 1000 --rounds 5
    .venv/bin/python scripts/bench_logs.py --mb 100 --rounds 5 --record

Makes two logs (``scripts/log_generator.py``) and reads each in pairs, grep first, round after round. Memory is that of
the command and all its processes together, sampled (PSS). ``--record``: what it costs, in processor time of one
process, to look whom lines name, as only recording does; also of a log whose lines name nobody.
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
from bench_support import machine

from wa_sessions.logs.scanner import Scanner

PROGRAM = Path(sys.executable).with_name("wa-sessions")
LOGS = {"dense": 190, "few": 1}
NAMES = {'"organizationPhoneId"': '"organizationPlanNr"', "✅ Сообщение отправлено": "✅ Сообщение сохраненоо"}
"""What names a phone in these logs, and what does not, of the same length."""
BLOCK = 2**20


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


def processor(path: Path, *, naming: bool) -> float:
    """Processor time to read a log."""
    scanner, started = Scanner(naming=naming), time.process_time()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            scanner.feed(block)
    scanner.finish()
    return time.process_time() - started


def without_names(path: Path) -> Path:
    """The same log with lines that name no phone."""
    nameless = path.with_name(f"nameless-{path.name}")
    if not nameless.exists():
        content = path.read_bytes()
        for name, other in NAMES.items():
            content = content.replace(name.encode(), other.encode())
        nameless.write_bytes(content)
    return nameless


def bench_recording(logs: dict[str, Path], rounds: int) -> None:
    """Reading beside recording, round after round."""
    print("| log | reading, CPU s | recording, CPU s |\n| --- | ---: | ---: |")
    for name, path in {**logs, "few, no names": without_names(logs["few"])}.items():
        pairs = [(processor(path, naming=False), processor(path, naming=True)) for _ in range(rounds + 1)][1:]
        reading, recording = (median(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {reading:.2f} | {recording:.2f} |")


def bench_reading(logs: dict[str, Path], rounds: int, environment: dict[str, str]) -> None:
    """grep beside our command, round after round."""
    print("| log | grep, s | `wa-sessions logs`, s | ratio | MB |\n| --- | ---: | ---: | ---: | ---: |")
    for name, path in logs.items():
        grep: list[str | Path] = ["grep", "-cE", "Bad MAC|bad decrypt", path]
        ours: list[str | Path] = [PROGRAM, "logs", path, "--json"]
        pairs = [(seconds(grep, environment), seconds(ours, environment)) for _ in range(rounds + 1)][1:]
        theirs, mine = (median(column) for column in zip(*pairs, strict=True))
        ratio = median(b / a for a, b in pairs)
        print(f"| {name} | {theirs:.2f} | {mine:.2f} | {ratio:.2f} | {megabytes(ours, environment):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the logs are made; those that stand there are read again")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        folder = options.folder or Path(own)
        print(f"{machine()}; {options.rounds} rounds\n")
        logs = {name: folder / f"{name}-{options.mb}.log" for name in LOGS}
        for name, path in logs.items():
            if not path.exists():
                log_generator.write(path, options.mb, LOGS[name])
        if options.record:
            bench_recording(logs, options.rounds)
        else:
            bench_reading(logs, options.rounds, {**os.environ, "WA_SESSIONS_DATA_DIR": f"{own}/none"})


if __name__ == "__main__":
    main()
