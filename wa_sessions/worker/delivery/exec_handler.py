"""The program that runs a command for each message: ``python -P -m …delivery.exec_handler <socket> CMD``.

It has no keys and no threads. The command gets one JSON object on its standard input; its stdout is dropped, its stderr
goes to the worker's log. Each command has a process group of its own, which is killed when the worker gives it up or is
gone; what a command left running in the background is never waited for. A command that cannot be started is no
message's fault: the handler is broken, and looked at again before it gets another message.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from wa_sessions.worker.delivery.frames import Failed, Taken, status_words
from wa_sessions.worker.delivery.serving import die_first, die_with_parent, refuse, serve
from wa_sessions.worker.message import IncomingMessage

_END = {signal.SIGTERM}


def _begin() -> None:
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _END)


class CommandRunner:
    """Runs one command after another."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._running: subprocess.Popen[bytes] | None = None

    def run(self, message: IncomingMessage) -> Taken | Failed:
        """Run the command for one message, and wait until it (but nothing that it started) has ended."""
        try:
            process = self._running = self._started()
        except OSError as error:
            return Failed(type(error).__name__, broken=True)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _END)
        process.communicate(message.as_json().encode(errors="surrogatepass") + b"\n")
        self._running = None
        return Taken() if process.returncode == 0 else Failed(status_words(process.returncode))

    def _started(self) -> subprocess.Popen[bytes]:
        """The command, begun while no end is heard of: one in between would not know whom to kill."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _END)
        return subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_begin,
        )

    def kill(self, _signal: int, _frame: FrameType | None) -> None:
        """End the command with its process group, and then this process."""
        if self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
        os._exit(0)


def not_there(program: str) -> str | None:
    """Why there is nothing that could be started by this name, if so."""
    if shutil.which(program) is not None:
        return None
    if "/" in program and Path(program).is_file():
        return f"{program!r} may not be run: chmod +x"
    return f"there is no program {program!r}"


def why_not(program: str) -> str | None:
    """Why the program cannot be started now, as far as can be seen without starting it."""
    if missing := not_there(program):
        return missing
    path = shutil.which(program) or program
    try:
        with Path(path).open("rb") as file:
            first_line = file.readline(256)
    except OSError:  # it may be run, and not read
        first_line = b""
    words = first_line[2:].split() if first_line.startswith(b"#!") else []
    if words and not os.access(words[0], os.X_OK):
        return f"{program!r} is to be run by {os.fsdecode(words[0])!r}, which is not there or may not be run"
    try:
        if (child := os.fork()) == 0:
            os._exit(0)
    except OSError as error:
        return f"no process can be made: {error.strerror}"
    os.waitpid(child, 0)
    return None


def main() -> None:
    """Take messages until the worker closes the socket or is gone."""
    link, words = int(sys.argv[1]), shlex.split(sys.argv[2])
    if error := why_not(words[0]):
        refuse(link, f"--on-message-exec cannot be started: {error}")
        return
    runner = CommandRunner(words)
    signal.signal(signal.SIGTERM, runner.kill)
    die_with_parent(signal.SIGTERM)
    die_first()
    serve(link, runner.run)


if __name__ == "__main__":
    main()
