"""Metrics for Prometheus: the fleet as the database has it, and what a worker measures itself."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from wa_sessions.actions import atomic_file
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.sessions import Session, fleet
from wa_sessions.db import monitoring
from wa_sessions.db.monitoring import Total
from wa_sessions.errors import PermissionMissing, SchemaMissing, WaSessionsError
from wa_sessions.health.backend_words import UnknownWord
from wa_sessions.health.event_kinds import CLOSES, ENDS, REPAIRED
from wa_sessions.health.limits import ErrorKind
from wa_sessions.worker.metrics import Figure, Timing, Work, figures, timings

PREFIX = "wa_sessions_"
PHONE = ("phone", "organization", "id")
OTHER = "other"
KEYS_EVERY = 300.0  # seconds between counts of all keys by a worker
_BOUNDED = {
    "errors": tuple(kind.value for kind in ErrorKind),
    "repairs": tuple(kind.removesuffix("_quarantined") for kind in REPAIRED),
    "closes": tuple(CLOSES.values()),
    "ends": tuple(map(str, ENDS)),
}
"""Sums that begin at 0, so that the first error counts as an increase."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the database has; ``seconds`` is how long each part took to read."""

    sessions: list[Session]
    ages: dict[int, timedelta]
    totals: list[Total]
    seconds: dict[str, float] = field(default_factory=dict)


def snapshot(opened: Opened, *, with_keys: bool = True) -> Snapshot:
    """Read all that is told of the fleet; our schema may be missing. Raises DatabaseError."""
    began = time.perf_counter()
    sessions = fleet(opened, with_keys=with_keys)
    read = time.perf_counter()
    try:
        with opened.database.transaction() as conn:
            ages, totals = monitoring.ages(conn), monitoring.totals(conn)
    except (SchemaMissing, PermissionMissing):
        ages, totals = {}, []
    part = "sessions_and_keys" if with_keys else "sessions"
    return Snapshot(sessions, ages, totals, {part: read - began, "history": time.perf_counter() - read})


def families(found: Snapshot) -> Iterator[Metric]:
    """All metrics of the fleet. No label holds a peer, and each has a bounded set of values."""
    yield from _sessions(found)
    yield from _counters(found.sessions)
    yield from _keys(found.sessions)
    yield from _history(found)
    yield _gauge("database_up", "Whether the database answered.", (), {(): 1})
    taken: dict[Labels, float] = {(part,): seconds for part, seconds in found.seconds.items()}
    yield _gauge("database_read_seconds", "How long reading these metrics took.", ("part",), taken)


def registry(found: Snapshot) -> CollectorRegistry:
    """The fleet's metrics alone."""
    return _registry(lambda: [*families(found), _build()])


def text(found: Snapshot) -> str:
    """The metrics in Prometheus's text format."""
    return generate_latest(registry(found)).decode()


def write(found: Snapshot, path: str) -> None:
    """Replace a file for node_exporter's textfile collector, which is another user, in one step."""
    content = generate_latest(registry(found))
    atomic_file.write(Path(path), content, force=True, otherwise="no metrics were written", mode=0o666)


class Exposition:
    """A worker's metrics: the fleet's, read at each scrape, and its own. Keys are counted every five minutes."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._keys: dict[int, dict[str, int] | None] = {}
        self._keys_at = float("-inf")
        self._one = threading.Lock()
        self._registry = _registry(self._families)
        ProcessCollector(registry=self._registry)

    def render(self) -> tuple[str, bytes]:
        """Content type and body; ``wa_sessions_database_up`` is 0 while the database does not answer."""
        with self._one:
            return CONTENT_TYPE_LATEST, generate_latest(self._registry)

    def _families(self) -> Iterable[Metric]:
        try:
            found = list(families(self._read()))
        except WaSessionsError:
            found = [_gauge("database_up", "Whether the database answered.", (), {(): 0})]
        return [*found, _build(), *_own(timings()), *map(_figure, figures())]

    def _read(self) -> Snapshot:
        due = time.monotonic() - self._keys_at >= KEYS_EVERY
        found = snapshot(self._opened, with_keys=due)
        if due:
            self._keys = {one.stats.phone_id: one.keys_by_type for one in found.sessions}
            self._keys_at = time.monotonic()
            return found
        sessions = [replace(one, keys_by_type=self._keys.get(one.stats.phone_id)) for one in found.sessions]
        return replace(found, sessions=sessions)


# ------------------------------------------------------------------------------------------------ the families


def _sessions(found: Snapshot) -> Iterator[Metric]:
    counted: Counter[Labels] = Counter()
    infos: dict[Labels, float] = {}
    seen: dict[Labels, float] = {}
    for one in found.sessions:
        stats = one.stats
        kind = OTHER if isinstance(stats.connection_type, UnknownWord) else stats.connection_type
        status = OTHER if isinstance(stats.status, UnknownWord) else stats.status
        counted[kind, status, stats.severity] += 1
        because = stats.unknown_because or ""
        infos[(*_phone(one), kind, status, stats.severity, because, stats.state or "")] = 1
        if stats.phone_id in found.ages:
            seen[_phone(one)] = found.ages[stats.phone_id].total_seconds()
    labels, more = ("connection_type", "status", "severity"), ("unknown_because", "state")
    yield _gauge("sessions", "Phones by connection type, status and severity.", labels, counted)
    yield _gauge("session_info", "1 for each phone, with what it is doing.", (*PHONE, *labels, *more), infos)
    yield _gauge("observed_age_seconds", "Seconds since the phone's observer gave a sign of life.", PHONE, seen)


def _counters(sessions: list[Session]) -> Iterator[Metric]:
    errors: dict[Labels, float] = {}
    limits: dict[Labels, float] = {}
    for one in sessions:
        if one.store is None:
            continue
        stats, labels = one.stats, _phone(one)
        errors[(*labels, ErrorKind.BAD_MAC.value)] = stats.bad_mac_errors
        errors[(*labels, ErrorKind.BAD_DECRYPT.value)] = stats.bad_decrypt_errors
        limits[(*labels, ErrorKind.BAD_MAC.value)] = stats.max_bad_mac_errors
        limits[(*labels, ErrorKind.BAD_DECRYPT.value)] = stats.max_bad_decrypt_errors
    watched = {_phone(one): one.stats for one in sessions if one.store is not None}
    pending = {labels: stats.messages_pending for labels, stats in watched.items()}
    recovered = {labels: stats.messages_recovered for labels, stats in watched.items()}
    lost = {labels: stats.messages_lost for labels, stats in watched.items()}
    yield _gauge("errors", "Counted errors in a row.", (*PHONE, "kind"), errors)
    yield _gauge("error_limit", "At so many errors in a row the session is closed.", (*PHONE, "kind"), limits)
    yield _gauge("messages_pending", "Messages whose sender was asked again.", PHONE, pending)
    waiting = {(*labels, "waiting"): stats.inbox_waiting for labels, stats in watched.items()}
    dead = {(*labels, "dead"): stats.inbox_dead for labels, stats in watched.items()}
    oldest = {labels: stats.inbox_oldest_seconds or 0.0 for labels, stats in watched.items()}
    yield _gauge(
        "inbox_messages", "Messages in the inbox: waiting for their handler, or dead.", (*PHONE, "what"), waiting | dead
    )
    yield _gauge("inbox_oldest_seconds", "How long the oldest message has waited for its handler.", PHONE, oldest)
    yield _counter("messages_recovered", "Messages of which a later copy decrypted.", PHONE, recovered)
    yield _counter("messages_lost", "Messages of which no copy decrypted.", PHONE, lost)


def _keys(sessions: list[Session]) -> Iterator[Metric]:
    counts = {(*_phone(one), kind): n for one in sessions for kind, n in (one.keys_by_type or {}).items()}
    yield _gauge("keys", "Auth keys by type.", (*PHONE, "type"), counts)


def _history(found: Snapshot) -> Iterator[Metric]:
    phones = {one.stats.phone_id: _phone(one) for one in found.sessions}
    sums = {name: _zeros(found.sessions, values) for name, values in _BOUNDED.items()}
    connections: dict[Labels, float] = {_phone(one): 0 for one in found.sessions if one.store is not None}
    recovery = SummaryMetricFamily(
        f"{PREFIX}message_recovery_seconds", "From a message's first failure to a copy that decrypted.", labels=PHONE
    )
    for total in found.totals:
        labels = phones.get(total.phone_id)
        if labels is None:  # the phone was removed
            continue
        name, _, error_kind = total.kind.partition(".")
        if name == "error_counted":
            sums["errors"][(*labels, error_kind)] = total.times
        elif name in REPAIRED:
            sums["repairs"][(*labels, name.removesuffix("_quarantined"))] = total.times
        elif total.kind in CLOSES:
            sums["closes"][(*labels, CLOSES[total.kind])] = total.times
        elif name == "connected":
            connections[labels] = total.times
        elif name in ENDS:
            sums["ends"][(*labels, name)] = total.times
        elif name == "message_recovered":
            recovery.add_metric(labels, total.times, total.seconds or 0)
    yield _counter("counted_errors", "Errors that were counted.", (*PHONE, "kind"), sums["errors"])
    yield _counter("repairs", "Repairs that took keys.", (*PHONE, "what"), sums["repairs"])
    yield _counter(
        "closes",
        "Sessions closed at a limit, by force-close, or by the Node backend.",
        (*PHONE, "kind"),
        sums["closes"],
    )
    yield _counter("connections", "Logins.", PHONE, connections)
    yield _counter("connection_ends", "Connections that ended.", (*PHONE, "reason"), sums["ends"])
    yield recovery


def _zeros(sessions: list[Session], values: Iterable[str]) -> dict[Labels, float]:
    return {(*_phone(one), value): 0 for one in sessions for value in values if one.store is not None}


def _own(measured: Mapping[Work, Timing]) -> Iterator[Metric]:
    told = {
        Work.TRANSACTION: ("database_transaction_seconds", "Transactions of this worker's sessions."),
        Work.REPAIR: ("repair_seconds", "Repairs that this worker made."),
        Work.CLOSE: ("close_seconds", "Closes at a limit, from the closing of the socket to the commit."),
    }
    for work, (name, meaning) in told.items():
        timing = measured[work]
        yield SummaryMetricFamily(f"{PREFIX}{name}", meaning, count_value=timing.count, sum_value=timing.seconds)


def _figure(figure: Figure) -> Metric:
    kind = CounterMetricFamily if figure.total else GaugeMetricFamily
    return kind(f"{PREFIX}{figure.name}", figure.meaning, value=figure.value())


def _build() -> Metric:
    return InfoMetricFamily(f"{PREFIX}build", "The program.", value={"version": version("wa-sessions")})


def _gauge(name: str, meaning: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, meaning: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}{name}", meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _phone(one: Session) -> Labels:
    return one.stats.phone, str(one.stats.organization_id), str(one.stats.phone_id)


def _registry(read: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    made = CollectorRegistry()

    class Fleet(Collector):
        def collect(self) -> Iterable[Metric]:
            return read()

        def describe(self) -> Iterable[Metric]:
            """Nothing is read when it is registered."""
            return ()

    made.register(Fleet())
    return made
