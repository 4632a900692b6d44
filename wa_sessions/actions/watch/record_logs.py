"""Feeding the counters of a Node backend's phones from its logs: each line once, all of a run or nothing of it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.limits import configured_limits
from wa_sessions.actions.watch.log_evidence import Evidence, moment
from wa_sessions.actions.watch.log_habits import learn
from wa_sessions.actions.watch.log_names import Names, names_in
from wa_sessions.actions.watch.logs import holders_of
from wa_sessions.actions.watch.recorded import Recorded
from wa_sessions.actions.watch.stats import still_closed
from wa_sessions.db import alerts, health, log_reading, migrate, phones
from wa_sessions.db.gateway import Connection
from wa_sessions.db.health import HealthRow
from wa_sessions.db.log_reading import LogWatch, ReadLog
from wa_sessions.db.phones import Phone
from wa_sessions.errors import UsageError
from wa_sessions.health.alerting import after_event, node_logged_out, standing_at
from wa_sessions.health.backend_counters import Counters, FailedCopy, LogEvent, Observed, observe
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.limits import ErrorKind, Limits
from wa_sessions.health.reconnect import State, Status
from wa_sessions.health.uncounted import STANDS, Copy, failing
from wa_sessions.health.unknown import FRESH
from wa_sessions.logs import facts, files
from wa_sessions.logs.doubts import IN_TWO_ORGANIZATIONS, Doubt, not_there
from wa_sessions.logs.following import finished, growth
from wa_sessions.logs.messages import left_open
from wa_sessions.logs.numbers import as_registered
from wa_sessions.logs.positions import Position, holds
from wa_sessions.logs.scan_result import ScanResult
from wa_sessions.wording.reasons import uncounted_reason

NEWS = timedelta(hours=1)
"""What happened earlier is worth an entry in the history, but no alert."""

REMEMBERED = timedelta(days=1)

EVERYBODY = 0
"""Logs that are read for all organizations."""


def follow_and_record(
    opened: Opened, names: Sequence[str], organization_id: int | None = None, *, forget_habits: bool = False
) -> Iterator[Recorded]:
    """Record now, as logs grow, and at least every ``LOOK_EVERY`` seconds. Raises what ``record`` raises."""
    for _ in growth(names):
        yield record(opened, names, organization_id, forget_habits=forget_habits)
        forget_habits = False


def record(
    opened: Opened, names: Sequence[str], organization_id: int | None = None, *, forget_habits: bool = False
) -> Recorded:
    """Read logs on from where the last run ended, and write what they say into the phones' counters and history.

    Whoever reads a process's logs observes the phones that it runs: all ``baileys`` phones, or those of an
    organization. ``forget_habits``: how often lines used to name each phone is learned anew. Raises OSError,
    UsageError, Busy, SchemaMissing, PermissionMissing, DatabaseError.
    """
    paths = {str(Path(name).absolute()): name for name in names}
    scope = organization_id or EVERYBODY
    with opened.database.transaction() as conn:
        migrate.require_current(conn)
        known = _known(log_reading.positions(conn, list(paths)), scope)
    steps = files.read_on(list(paths), {path: _position(log) for path, log in known.items()}, naming=True)
    now = datetime.now(UTC)
    with opened.database.transaction() as conn:
        whole = [_with_waiting(step.found, known.get(path)) for path, step in steps.items()]
        waiting = facts.split_unsettled(whole, now)
        for (path, step), rest in zip(steps.items(), waiting, strict=True):
            log_reading.advance(conn, _read(path, scope, step.position, known.get(path), rest))
        everybody = phones.list_phones(conn, opened.backend)
        listed = [phone for phone in everybody if organization_id in (None, phone.organization_id)]
        as_registered(whole, {phone.number for phone in listed})
        untimed = [_untimed(path, now, first=path not in known) for path in steps]
        lost = [paths.get(path, path) for path, step in steps.items() if step.lost]
        missing = not_there(list(paths), [path for path, step in steps.items() if step.gone])
        run = _Run(conn, opened, organization_id, whole, untimed, now, missing)
        numbers = Counter(phone.number for phone in listed)
        ours = [phone for phone in listed if phone.connection_type == ConnectionType.BAILEYS]
        watched = [phone for phone in ours if numbers[phone.number] == 1]
        if forget_habits:
            log_reading.forget_habits(conn, [phone.id for phone in watched])
        named = names_in(whole, untimed, listed, everybody, now)
        run.listen(watched, named, cut=bool(lost))
        for phone in watched:
            run.observe(phone)
        run.leave_open([phone for phone in ours if numbers[phone.number] > 1])
        log_reading.forget_failures(conn, now - REMEMBERED)
        failing_now = _failing_now(conn, watched)
    found = [finished(step.found) for step in steps.values()]
    return Recorded(found, run.observed, dict(run.written), lost, run.doubts, failing_now, named.strangers)


def _failing_now(conn: Connection, watched: Sequence[Phone]) -> dict[str, list[str]]:
    again, found = log_reading.failing_again(conn), defaultdict[str, list[str]](list)
    for phone in watched:
        if phone.id in again:
            found[uncounted_reason(again[phone.id])].append(phone.number)
    return found


def _untimed(path: str, now: datetime, *, first: bool) -> datetime:
    """When lines without a time were written: just now, but for those of a log that was never read before."""
    if not first:
        return now
    try:
        return min(datetime.fromtimestamp(Path(path).stat().st_mtime, UTC), now - NEWS)
    except OSError:
        return now - NEWS


def _known(logs: Sequence[ReadLog], scope: int) -> dict[str, ReadLog]:
    """Where to read on. A container's machine has another name each time, but the log has what was read of it.

    Raises UsageError where the same log is read for an organization and for all: each line would count twice.
    """
    known: dict[str, ReadLog] = {}
    for log in logs:
        if not (log.ours or holds(log.path, _position(log))):
            continue
        if log.scope != scope and EVERYBODY in (log.scope, scope):
            whom = f"organization {log.scope}" if log.scope else "all organizations"
            raise UsageError(f"{log.path} is recorded for {whom} already: each line would count twice")
        if log.scope == scope:
            known.setdefault(log.path, log)
    return known


class _Run:
    """One run over all phones."""

    def __init__(
        self,
        conn: Connection,
        opened: Opened,
        organization_id: int | None,
        found: list[ScanResult],
        untimed: list[datetime],
        now: datetime,
        missing: Doubt | None,
    ) -> None:
        self.written = Counter[str]()
        self.observed = 0
        self.doubts = defaultdict[str, list[str]](list)
        self._silent: dict[int, str] = {}
        self._conn, self._found, self._untimed, self._now = conn, found, untimed, now
        self._limits = configured_limits()
        self._rows, self._watches = health.load_all(conn), log_reading.watches(conn)
        self._closed_at = health.closed_in_logs(conn)
        self._failing_again = log_reading.failing_again(conn)
        copies, every = facts.failed_copies(found, now), facts.copies(found, now)
        self._copies: dict[str, list[FailedCopy]] = defaultdict(list)
        self._every: dict[str, list[Copy]] = defaultdict(list)
        whose = holders_of(conn, opened.backend, every.keys() | left_open(found).keys(), organization_id)
        for sender, numbers in whose.items():
            if len(numbers) == 1:
                self._copies[next(iter(numbers))] += copies.get(sender, [])
                self._every[next(iter(numbers))] += every.get(sender, [])
        self._evidence = Evidence.of(found, whose, untimed, now, missing)

    def listen(self, watched: Sequence[Phone], named: Names, *, cut: bool) -> None:
        """Find the phones that are silent. ``cut``: lines that were written since the last run may be lost."""
        self._silent = learn(self._conn, watched, named, self._watches, self._now, cut=cut)

    def observe(self, phone: Phone) -> None:
        """Fold what the logs say into one phone's counters."""
        row, watch = self._rows.get(phone.id), self._watches.get(phone.id)
        before = _counters(row, watch)
        standing = {kind: before.errors(kind) for kind in ErrorKind}
        lines = facts.lines_of(self._found, phone.number, phone.id, standing, self._untimed)
        copies = self._copies[phone.number]
        known = log_reading.failures(self._conn, phone.id, {copy.message for copy in copies}) if copies else {}
        observed = observe(before, lines, copies, known, self._limits, phone.last_connected_at)
        failing_again = self._remember_uncounted(phone)
        self._save(phone, row, before, observed)
        doubtful = self._watch(phone, observed.counters, watch)
        self._alert(phone, observed, known_before=row is not None, open_=doubtful or failing_again)
        self.observed += 1

    def leave_open(self, twins: Sequence[Phone]) -> None:
        """Say of phones of one number that no line tells which it is of, unless logs of their organization are read."""
        for phone in twins:
            watch = self._watches.get(phone.id)
            if watch and watch.doubt != IN_TWO_ORGANIZATIONS and self._now - watch.read_at < FRESH:
                continue
            self.doubts[IN_TWO_ORGANIZATIONS].append(phone.number)
            _, seen_at = self._evidence.of_phone(phone.number, watch, None, counts=True)
            log_reading.watch(
                self._conn, phone.id, watch.own_lines_at if watch else None, IN_TWO_ORGANIZATIONS, seen_at=seen_at
            )

    def _save(self, phone: Phone, row: HealthRow | None, before: Counters, observed: Observed) -> None:
        counters = observed.counters
        self._enter(phone, observed.entries)
        young = {
            message: (copy.at, counted)
            for message, (copy, counted) in observed.messages.items()
            if copy.at > self._now - REMEMBERED
        }
        if young:
            log_reading.save_failures(self._conn, phone.id, young)
        if replace(counters, own_lines_at=before.own_lines_at) != before:
            health.save(self._conn, _health_row(phone, row, counters, self._limits, self._now))

    def _remember_uncounted(self, phone: Phone) -> bool:
        """Messages that fail for reasons that count towards no limit; returns whether any fails again and again."""
        copies, before = self._every[phone.number], phone.id in self._failing_again
        if not copies:
            return before
        messages = {copy.message for copy in copies}
        bad_mac = log_reading.failures(self._conn, phone.id, messages)
        found = failing(copies, log_reading.uncounted(self._conn, phone.id, messages), bad_mac)
        young = {message: one for message, one in found.items() if one.at > self._now - REMEMBERED}
        log_reading.save_uncounted(self._conn, phone.id, young)
        return before or any(one.again and one.at > self._now - STANDS for one in young.values())

    def _watch(self, phone: Phone, counters: Counters, earlier: LogWatch | None) -> bool:
        """Say that the phone's logs were read; returns whether they leave open how it is."""
        counts = counters.own_lines_at is not None
        silent = self._silent.get(phone.id)
        doubt, seen_at = self._evidence.of_phone(phone.number, earlier, silent, counts=counts)
        if doubt:
            self.doubts[doubt.reason].append(phone.number)
        log_reading.watch(
            *(self._conn, phone.id, counters.own_lines_at, doubt.reason if doubt else None),
            doubt_at=moment(doubt.at) if doubt else None,
            seen_at=seen_at,
        )
        return doubt is not None

    def _alert(self, phone: Phone, observed: Observed, *, known_before: bool, open_: bool) -> None:
        """Tell of trouble that stands now, however old its lines are, and of its end.

        ``open_``: no counter says that all is well.
        """
        counters = observed.counters
        closed = still_closed(phone, self._closed_at.get(phone.id)) is not None
        closed = closed or any(
            entry.kind in (EventKind.SESSION_CLOSED, EventKind.BACKEND_CLOSED) for entry in observed.entries
        )
        for kind in ErrorKind:
            if alert := standing_at(kind, counters.errors(kind), self._limits.of(kind)):
                alerts.leave(self._conn, phone, alert)
        if phone.status == Status.LOGGED_OUT and phone.updated_at and phone.updated_at > self._now - NEWS:
            alerts.leave(self._conn, phone, node_logged_out())
        healthy = not (counters.bad_mac or counters.bad_decrypt or closed or open_)
        if known_before and healthy and phone.status == Status.CONNECTED:
            alerts.clear(self._conn, phone)

    def _enter(self, phone: Phone, entries: Sequence[LogEvent]) -> None:
        """Into the history; a close that is news is told too."""
        rows = [(min(entry.at, self._now), entry.detail) for entry in entries]
        health.record_events(self._conn, phone.id, phone.organization_id, rows)
        self.written.update(entry.kind for entry in entries)
        for entry in entries:
            news = entry.at > self._now - NEWS and entry.kind is EventKind.SESSION_CLOSED
            if news and (alert := after_event(entry.detail, phone.number)):
                alerts.leave(self._conn, phone, alert)


def _with_waiting(found: ScanResult, known: ReadLog | None) -> ScanResult:
    whole = facts.from_json(dict(known.waiting)) if known else ScanResult()
    whole.extend(found)
    return whole


def _position(log: ReadLog) -> Position:
    return Position(log.device, log.inode, log.read_to, log.tail, log.zone)


def _read(path: str, scope: int, position: Position, known: ReadLog | None, waiting: ScanResult) -> ReadLog:
    log = ReadLog(
        path=path,
        scope=scope,
        device=position.device,
        inode=position.inode,
        read_to=position.read_to,
        tail=position.tail,
        zone=position.zone,
        waiting=facts.as_json(waiting),
    )
    return replace(log, host=known.host, version=known.version) if known else log


def _counters(row: HealthRow | None, watch: LogWatch | None) -> Counters:
    own_lines_at = watch.own_lines_at if watch else None
    if row is None:
        return Counters(own_lines_at=own_lines_at)
    return Counters(
        bad_mac=row.bad_mac_errors,
        bad_decrypt=row.bad_decrypt_errors,
        counted_senders=frozenset(row.counted_senders),
        last_error_at=row.last_error_at,
        last_error_kind=ErrorKind(row.last_error_kind) if row.last_error_kind else None,
        own_lines_at=own_lines_at,
    )


def _health_row(phone: Phone, row: HealthRow | None, counters: Counters, limits: Limits, now: datetime) -> HealthRow:
    row = row or HealthRow(
        phone_id=phone.id,
        organization_id=phone.organization_id,
        bad_mac_errors=0,
        bad_decrypt_errors=0,
        counted_senders=(),
        last_error_at=None,
        last_error_kind=None,
        messages_recovered=0,
        messages_lost=0,
        state=State.IDLE,
        state_detail=None,
        state_since=now,
        retry_at=None,
        closing=None,
    )
    return replace(
        row,
        bad_mac_errors=counters.bad_mac,
        bad_decrypt_errors=counters.bad_decrypt,
        counted_senders=tuple(sorted(counters.counted_senders)),
        last_error_at=counters.last_error_at,
        last_error_kind=counters.last_error_kind.value if counters.last_error_kind else None,
        max_bad_mac=limits.bad_mac,
        max_bad_decrypt=limits.bad_decrypt,
    )
