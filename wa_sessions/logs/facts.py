"""What logs say of one phone after another, for its counters: each line and each failed copy once, in order."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from wa_sessions.health.backend_counters import BackendClose, CounterLine, FailedCopy
from wa_sessions.health.limits import ErrorKind
from wa_sessions.health.uncounted import Copy, NotCounted
from wa_sessions.logs.counters import AT_A_LIMIT, in_order
from wa_sessions.logs.messages import TOGETHER, classified_failures
from wa_sessions.logs.scan_result import Failures, Kind, ScanResult, SignalTrace
from wa_sessions.logs.times import NO_TIME

LONGEST_WAIT = 60_000
"""ms after which lines of a sender are taken as they are, even if its messages go on failing."""

_A_SECOND = timedelta(seconds=1)
_FIRST_MOMENT = 10**12
"""ms since 1970; places in a file are smaller numbers."""

_NOT_COUNTED = {
    Kind.INVALID_PREKEY: NotCounted.INVALID_PREKEY,
    Kind.NO_SESSION: NotCounted.NO_SESSION,
    Kind.GROUP: NotCounted.NO_SENDER_KEY,
    Kind.OTHER: NotCounted.OTHER,
}
_KINDS = {ErrorKind.BAD_MAC: Kind.BAD_MAC, ErrorKind.BAD_DECRYPT: Kind.BAD_DECRYPT}


def lines_of(
    files: Sequence[ScanResult],
    number: str,
    phone_id: int,
    standing: dict[ErrorKind, int],
    otherwise: Sequence[datetime],
) -> list[CounterLine | BackendClose]:
    """The backend's own lines about a phone, each kind's in order.

    ``standing``: its counters before. ``otherwise``: when lines without a time were written, in each file.
    """
    counted: dict[ErrorKind, list[CounterLine]] = {}
    resets = [found.resets.get(phone_id) for found in files]
    for kind, ours in _KINDS.items():
        counters = [found.counters.get((ours, number)) for found in files]
        ordered = in_order(counters, resets, standing[kind])
        counted[kind] = [CounterLine(_moment(line.time, otherwise[line.file]), kind, line.number) for line in ordered]
    lines: list[CounterLine | BackendClose] = [line for one in counted.values() for line in one]
    for found, moment in zip(files, otherwise, strict=True):
        for (owner, reason), rows in found.closes.items():
            if owner == number:
                lines += [_close(_moment(time, moment), reason, counted) for time in rows.times]
    return lines


def failed_copies(files: Sequence[ScanResult], now: datetime) -> dict[bytes, list[FailedCopy]]:
    """Copies of messages that are Bad MAC and have an id, by sender."""
    return {
        sender: [
            FailedCopy(_moment(time, now), message, sender.decode("utf-8", "replace"))
            for time, message, kind in rows
            if kind == Kind.BAD_MAC and message
        ]
        for sender, rows in classified_failures(files).items()
    }


def copies(files: Sequence[ScanResult], now: datetime) -> dict[bytes, list[Copy]]:
    """Copies of messages that did not decrypt and have an id, by sender, counted or not."""
    return {
        sender: [
            Copy(_moment(time, now), message, _NOT_COUNTED.get(Kind(kind)), timed=time != NO_TIME)
            for time, message, kind in rows
            if message and (kind == Kind.BAD_MAC or kind in _NOT_COUNTED)
        ]
        for sender, rows in classified_failures(files).items()
    }


def split_unsettled(files: Sequence[ScanResult], now: datetime) -> list[ScanResult]:
    """Take out of each file, and return, what may have its other half in a line that is not there yet.

    That is the last message of libsignal, whose stacks may go on, and what a sender's last messages have in two logs.
    """
    at = round(now.timestamp() * 1000)
    horizon = at - 2 * TOGETHER
    begins = _unsettled(files, horizon, at - LONGEST_WAIT)
    waiting = []
    for found in files:
        rest = ScanResult()
        if found.open is not None and found.open.time > horizon:
            rest.open, found.open = found.open, None
        found.finish()
        found.failures, rest.failures = _parted(found.failures, begins)
        found.console, rest.console = _parted(found.console, begins)
        waiting.append(rest)
    _keep_untimed(files, waiting, at)
    return waiting


def _keep_untimed(files: Sequence[ScanResult], waiting: Sequence[ScanResult], at: int) -> None:
    """Of console lines without a time as many stay as there are failures that they may explain, in order.

    The others wait, for a minute, as the failures that they are about may wait or not be written yet. A row that waits
    has in ``places`` when it was first seen.
    """
    open_ = Counter[bytes]()
    for rows in (found.failures for found in files):
        names = list(rows.names)
        kinds = zip(rows.senders, rows.kinds, strict=True)
        open_.update(names[sender] for sender, kind in kinds if kind == Kind.UNDETERMINED)
    for found, rest in zip(files, waiting, strict=True):
        stays, names = Failures(), list(found.console.names)
        columns = (found.console.senders, found.console.places, found.console.times, found.console.kinds)
        for sender, place, time, kind in zip(*columns, strict=True):
            name, seen = names[sender], place if place > _FIRST_MOMENT else at
            if time != NO_TIME or open_[name]:
                open_[name] -= time == NO_TIME
                stays.add(name, place, time, 0, kind)
            elif at - seen < LONGEST_WAIT:
                rest.console.add(name, seen, time, 0, kind)
        found.console = stays


def as_json(waiting: ScanResult) -> dict[str, Any]:
    """What waits for its other half, to be kept until the log is read on."""
    stacks = waiting.open
    return {
        "open": stacks and [stacks.time, stacks.bad_mac, stacks.duplicate, _text(stacks.sender), stacks.other],
        "failures": _rows(waiting.failures),
        "console": _rows(waiting.console),
    }


def from_json(data: dict[str, Any]) -> ScanResult:
    """The same again."""
    found = ScanResult()
    for name, rows in (("failures", found.failures), ("console", found.console)):
        for sender, place, time, message, kind in data.get(name) or []:
            rows.add(_bytes(sender), place, time, message, kind)
    if stacks := data.get("open"):
        time, bad_mac, duplicate, sender, *other = stacks
        found.open = SignalTrace(0, time, bad_mac, duplicate, any(other), _bytes(sender))
    return found


def _unsettled(files: Sequence[ScanResult], horizon: int, longest: int) -> dict[bytes, int]:
    """From which time on the lines of a sender wait; senders of whom none do are left out."""
    times: dict[bytes, list[int]] = {}
    for rows in [rows for found in files for rows in (found.failures, found.console)]:
        names = list(rows.names)
        for number, time in zip(rows.senders, rows.times, strict=True):
            if time > longest:
                times.setdefault(names[number], []).append(time)
    return {sender: _last_run(sorted(seen)) for sender, seen in times.items() if max(seen) > horizon}


def _last_run(times: list[int]) -> int:
    """Where the last run of times begins in which each is near the one before it."""
    begin = len(times) - 1
    while begin and times[begin] - times[begin - 1] <= TOGETHER:
        begin -= 1
    return times[begin]


def _parted(rows: Failures, begins: dict[bytes, int]) -> tuple[Failures, Failures]:
    if not begins:
        return rows, Failures()
    both = Failures(), Failures()
    names = list(rows.names)
    columns = (rows.senders, rows.places, rows.times, rows.ids, rows.kinds)
    for sender, place, time, message, kind in zip(*columns, strict=True):
        waits = names[sender] in begins and time >= begins[names[sender]]
        both[waits].add(names[sender], place, time, message, kind)
    return both


def _close(at: datetime, reason: str, counted: dict[ErrorKind, list[CounterLine]]) -> BackendClose:
    """At a limit, with what the counter of that kind stood at."""
    if not reason.startswith(AT_A_LIMIT):
        return BackendClose(at, reason)
    kind = next((kind for kind in ErrorKind if kind.label.lower() in reason.lower()), None)
    numbers = [line for line in counted.get(kind, []) if line.number] if kind else []
    last = bisect_right([line.at for line in numbers], at + _A_SECOND) - 1
    return BackendClose(at, reason, kind, numbers[last].number if last >= 0 else None)


def _moment(time: int, now: datetime) -> datetime:
    return now if time == NO_TIME else datetime.fromtimestamp(time / 1000, UTC)


def _rows(failures: Failures) -> list[list[Any]]:
    names = [_text(name) for name in failures.names]
    columns = (failures.senders, failures.places, failures.times, failures.ids, failures.kinds)
    return [[names[sender], *row] for sender, *row in zip(*columns, strict=True)]


def _text(name: bytes) -> str:
    return name.decode("latin-1")


def _bytes(name: str) -> bytes:
    return name.encode("latin-1")
