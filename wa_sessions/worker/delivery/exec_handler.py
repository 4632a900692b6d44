"""The program that runs a command for each message: ``python -P -m …delivery.exec_handler <socket> CMD``.

It has no keys and no threads. The command gets one JSON object on its standard input; its stdout is dropped, its stderr
goes to the worker's log. Each command has a process group of its own, which is killed when the worker gives it up or is
gone; what a command left running in the background is never waited for.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from types import FrameType

from wa_sessions.worker.delivery.frames import Failed, Taken, status_words
from wa_sessions.worker.delivery.serving import die_first, die_with_parent, serve
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
            return Failed(type(error).__name__)
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


def main() -> None:
    """Take messages until the worker closes the socket or is gone."""
    runner = CommandRunner(shlex.split(sys.argv[2]))
    signal.signal(signal.SIGTERM, runner.kill)
    die_with_parent(signal.SIGTERM)
    die_first()
    serve(int(sys.argv[1]), runner.run)


if __name__ == "__main__":
    main()
