"""Sends alerts from the outbox: each target on a thread of its own, so that neither sessions nor other targets wait."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random

from wa_sessions.db import alerts
from wa_sessions.db.gateway import DEADLINE, Database
from wa_sessions.errors import WaSessionsError
from wa_sessions.health.alerting import Pace
from wa_sessions.worker import log
from wa_sessions.worker.alert_targets import AlertTarget, NotDelivered

LOOK_EVERY = 1.0  # seconds between looks at the outbox
REST = 10.0  # seconds without a look after the database or we have failed
FORGET_EVERY = 3600.0  # seconds
REFUSALS = 5  # attempts after which a message that a target refuses (HTTP 400, 413, 422) is given up
END_WITHIN = 1.0  # seconds that a worker's end waits for a message that is on its way


@dataclass(frozen=True, slots=True)
class Attempt:
    """One message to one target: how many alerts it had, and why it did not arrive, if it did not."""

    target: str
    alerts: int
    error: str | None = None
    given_up: bool = False


def send_next(database: Database, target: AlertTarget, pace: Pace) -> Attempt | None:
    """Send the next message to a target, if one is due. Raises DatabaseError, SchemaMissing."""
    with database.transaction() as conn:
        claimed = alerts.claim(conn, target.name, pace.gather)
    if claimed is None:
        return None
    try:
        target.send(claimed.key, claimed.alerts)
    except NotDelivered as error:
        give_up = error.refused and claimed.attempts + 1 >= REFUSALS
        pause = max(_pause(claimed.failures + 1, pace), error.retry_after)
        with database.transaction() as conn:
            alerts.failed(conn, claimed, pause, str(error), give_up=give_up)
        return Attempt(target.name, len(claimed.alerts), str(error), give_up)
    with database.transaction() as conn:
        alerts.sent(conn, claimed, pace.interval)
    return Attempt(target.name, len(claimed.alerts))


class Senders:
    """A thread a target that sends until ``stop``. It has connections of its own: sessions never wait for one."""

    def __init__(self, database: Database, targets: Sequence[AlertTarget], pace: Pace) -> None:
        self._database = Database(
            database.target, len(targets) + 1, deadline=DEADLINE, writable=True, name=database.name
        )
        self._pace = pace
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(target,), name=f"alerts-{target.name}", daemon=True)
            for target in targets
        ]
        if targets:
            self._threads.append(threading.Thread(target=self._forget, name="alerts-forget", daemon=True))

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; a message that hangs on its way is left to the next sender, under the same key."""
        self._stopping.set()
        deadline = time.monotonic() + END_WITHIN
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        self._database.close()

    def _serve(self, target: AlertTarget) -> None:
        while not self._stopping.is_set():
            attempt = None
            try:
                attempt = send_next(self._database, target, self._pace)
            except WaSessionsError as error:
                log.warn(f"alerts wait: {error}", event="alerts_wait", target=target.name)
                self._stopping.wait(REST)
            except Exception as error:  # noqa: BLE001  # a fault of ours must not end the alerts
                log.error(f"alerts wait: {type(error).__name__}: {error}", event="alerts_wait", target=target.name)
                self._stopping.wait(REST)
            if attempt:
                _tell(attempt)
            else:
                self._stopping.wait(LOOK_EVERY)

    def _forget(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._database.transaction() as conn:
                    alerts.forget_old(conn)
            except WaSessionsError as error:
                log.warn(f"old alerts are kept: {error}", event="alerts_wait")
            self._stopping.wait(FORGET_EVERY)


def _tell(attempt: Attempt) -> None:
    what = "1 alert" if attempt.alerts == 1 else f"{attempt.alerts} alerts"
    if attempt.error is None:
        message = f"{what} sent to {attempt.target}"
        log.info(message, event="alerts_sent", target=attempt.target, alerts=attempt.alerts)
        return
    ending = "given up" if attempt.given_up else "it is tried again"
    message = f"{what} not sent to {attempt.target}: {attempt.error}; {ending}"
    log.warn(message, event="alerts_failed", target=attempt.target, alerts=attempt.alerts, error=attempt.error)


def _pause(failures: int, pace: Pace) -> float:
    """Seconds to wait after so many failures in a row: exponential, with jitter."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = failures
    wait = wait_exponential(multiplier=pace.first_retry, max=pace.longest_retry) + wait_random(0, pace.first_retry)
    return float(wait(state))
