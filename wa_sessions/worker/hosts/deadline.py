"""When a host has to be gone, as nobody renews its worker's leases; the clock goes on while the machine sleeps."""

import os
import signal
import threading
import time

from wa_sessions.worker.hosts import protocol

FIRST_DEADLINE = 60.0  # seconds that a host lives before anybody told it of a deadline
ALARM_AFTER = 0.25  # seconds later the kernel ends the process, if the thread that watches does not get the GIL
LOOK_EVERY = 0.5  # seconds: no wait of a thread is told that the machine slept


def now() -> float:
    """Seconds since the boot, with those that the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """The end of this process, by a thread and, where that does not get the GIL, by SIGALRM."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._set(now() + FIRST_DEADLINE)
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def extend(self, until: float) -> None:
        """Live until ``until``, unless the deadline is over: another worker may have the sessions by now."""
        with self._changed:
            if now() >= self._until:
                os._exit(protocol.LEASE_RAN_OUT)
            self._set(until)
            self._changed.notify()

    def _set(self, until: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(0.2, until - now() + ALARM_AFTER))
        self._until = until

    def _watch(self) -> None:
        with self._changed:
            while (left := self._until - now()) > 0:
                self._changed.wait(min(left, LOOK_EVERY))
        os._exit(protocol.LEASE_RAN_OUT)
