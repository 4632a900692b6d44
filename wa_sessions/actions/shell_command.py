"""Shell commands of the operator's, as those that stop and start the Node process: run, and how they ended in words."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

GRACE = 5.0
"""Seconds that a command has to end after SIGTERM, before it is killed."""

_NOT_FOUND = 127
_NO_PROGRAM = (126, _NOT_FOUND)
"""How a shell ends that cannot run a program, or does not find it."""

_left_running: list["subprocess.Popen[bytes]"] = []


def run(command: str, seconds: int, *, leave: bool = False) -> int | None:
    """The status with which a command ends; what it says goes to stderr.

    None where it does not end within so many seconds: it is ended then, with all that it began, or left running.
    """
    shell = ["/bin/sh", "-c", command]
    process = subprocess.Popen(shell, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        if leave:
            _left_running.append(process)
        else:
            _end(process)
        return None
    except BaseException:
        _end(process)
        raise


def missing(command: str, status: int | None) -> str | None:
    """What to tell of a command whose very program was not found; None where the command had begun, or may have."""
    try:
        words = [word for word in shlex.split(command) if not re.match(r"\w+=", word)]
    except ValueError:
        return None
    if status not in _NO_PROGRAM or not words or re.search(r"[;&|()`$<>\n]", command) or shutil.which(words[0]):
        return None
    if "/" in words[0]:
        what = "cannot be executed" if Path(words[0]).exists() else "does not exist"
        return f"{words[0]} {what} (exit {status}: {command})"
    return (
        f"there is no program {words[0]} in PATH (exit {status}: {command}); "
        "name it with its whole path: cron and sudo have a shorter PATH than a terminal"
    )


def failed(command: str, status: int) -> str:
    """How a command ended that had begun, or may have; a signal has a name, and a program of it may be missing."""
    if status < 0:
        return f"failed (ended by {_signal_name(-status)}: {command})"
    hint = "; a program that it needs is not in PATH, which cron and sudo have shorter than a terminal"
    return f"failed (exit {status}: {command}{hint if status == _NOT_FOUND else ''})"


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
