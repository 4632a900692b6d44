"""A worker in a process of its own, watched through its log."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wa_sessions.errors import WaSessionsError

HANDLER = "wa_sessions.actions.setup.demo.handler:serve"
STOP_TIMEOUT = 12.0  # seconds


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of the worker's log; ``seconds`` since the demo began."""

    seconds: float
    phone: str | None
    event: str
    text: str
    fields: Mapping[str, Any]


class WatchedWorker:
    """``wa-sessions run``, for all phones. Every moment goes to ``tell`` as it comes."""

    def __init__(self, environment: Mapping[str, str], began: float, tell: Callable[[Moment], None]) -> None:
        self._began = began
        self._tell = tell
        self._moments: list[Moment] = []
        self._come = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wa_sessions", "run", "--log-format", "json", "--on-message", HANDLER],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="worker log", daemon=True)
        self._reader.start()

    def mark(self) -> int:
        """A place in the log, to await what comes after it."""
        with self._come:
            return len(self._moments)

    def expect(self, event: str, phone: str | None, timeout: float, *, after: int = 0, containing: str = "") -> Moment:
        """The first such moment after a mark. Raises WaSessionsError if it does not come in ``timeout`` seconds."""
        end, place = time.monotonic() + timeout, after
        with self._come:
            while True:
                for moment in self._moments[place:]:
                    if moment.event == event and moment.phone == phone and containing in moment.text:
                        return moment
                place = len(self._moments)
                left = end - time.monotonic()
                if left <= 0 or (self._process.poll() is not None and not self._reader.is_alive()):
                    last = self._moments[-1].text if self._moments else "nothing"
                    raise WaSessionsError(
                        f"{event} of {phone or 'a worker'} did not come; the worker's last words: {last}"
                    )
                self._come.wait(left)

    def texts(self, phone: str) -> list[str]:
        """What the handler said of a phone's messages so far."""
        with self._come:
            return [moment.text for moment in self._moments if (moment.event, moment.phone) == ("output", phone)]

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(STOP_TIMEOUT)

    def stop(self) -> int:
        """End the worker gracefully; its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._reader.join(STOP_TIMEOUT)
            if self._process.stderr:
                self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            moment = self._moment(line)
            with self._come:
                self._moments.append(moment)
                self._come.notify_all()
            self._tell(moment)
        with self._come:
            self._come.notify_all()

    def _moment(self, line: str) -> Moment:
        seconds = time.monotonic() - self._began
        try:
            entry = json.loads(line)
        except ValueError:
            return Moment(seconds, None, "output", line.rstrip(), {})
        return Moment(seconds, entry.get("phone"), entry.get("event", ""), entry["message"], entry)
