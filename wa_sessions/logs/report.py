"""What logs say about each phone, put together from all of them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from wa_sessions.logs.counters import counted_messages, last_counter, phones_of_resets, retried
from wa_sessions.logs.messages import Messages
from wa_sessions.logs.scan_result import Counted, Form, Kind, ScanResult, keep_latest
from wa_sessions.logs.times import NO_TIME

LIBRARY = (
    *(Kind.BAD_MAC, Kind.BAD_DECRYPT, Kind.MISSING_KEY, Kind.DUPLICATE),
    *(Kind.NO_SESSION, Kind.INVALID_PREKEY, Kind.GROUP, Kind.OTHER),
)

_Key = TypeVar("_Key")

Retried = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Errors:
    """One phone's errors of one kind.

    ``counter_lines``, ``max_counter`` and ``last_counter`` are of the backend's own lines; ``last_counter`` is None
    where the logs do not say which line was the last. ``messages``: those lines without the ones that are about a
    message again, or, where the backend writes none, the library's failed messages.
    """

    counter_lines: int
    max_counter: int
    last_counter: int | None
    messages: int
    first_at: datetime | None
    last_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "counter_lines": self.counter_lines,
            "max_counter": self.max_counter,
            "last_counter": self.last_counter,
            "messages": self.messages,
            "first_at": _iso(self.first_at),
            "last_at": _iso(self.last_at),
        }


@dataclass(frozen=True, slots=True)
class PhoneLog:
    """What stands about one phone; ``resets`` is None where a reset's phone id is of nobody known."""

    phone: str
    name: str | None
    bad_mac: Errors
    bad_decrypt: Errors
    resets: int | None
    closes: dict[str, int]
    library: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "phone": self.phone,
            "name": self.name,
            "bad_mac": self.bad_mac.as_dict(),
            "bad_decrypt": self.bad_decrypt.as_dict(),
            "resets": self.resets,
            "closes": self.closes,
            "library": self.library,
        }


@dataclass(frozen=True, slots=True)
class LogReport:
    """All phones; ``unattributed`` has the library's messages of no certain phone, by kind, and who they may be of.

    ``candidates``: phones that hold the sender's session, and messages. ``unknown_resets``: by phone ids of no known
    phone. ``undetermined``: messages whose reason stands in the other log, which was not read.
    ``unread``: forms in which the library's words stand that could not be read, how many lines, and an example.
    ``recognized``: whether any line is known to be the backend's or its library's.
    """

    phones: list[PhoneLog]
    library: dict[str, int]
    unattributed: dict[str, int]
    candidates: list[tuple[tuple[str, ...], int]]
    unknown_resets: dict[int, int]
    undetermined: int
    secrets_seen: int
    unread: list[tuple[str, int, str]]
    left_out: list[tuple[str, str]]
    recognized: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values in one object."""
        return {
            "phones": [phone.as_dict() for phone in self.phones],
            "library": self.library,
            "unattributed": {
                **self.unattributed,
                "candidates": [{"phones": list(phones), "messages": count} for phones, count in self.candidates],
                "resets": {str(phone_id): count for phone_id, count in self.unknown_resets.items()},
            },
            "undetermined": self.undetermined,
            "secrets_seen": self.secrets_seen,
            "left_out": [{"phone": phone, "reason": reason} for phone, reason in self.left_out],
            "unread": [dict(zip(("form", "lines", "example"), one, strict=True)) for one in self.unread],
        }


def report(
    files: Sequence[ScanResult],
    senders: Mapping[bytes, Messages],
    numbers: Mapping[int, str],
    holders: Mapping[bytes, frozenset[str]],
    only: Collection[str] | None = None,
    names: Mapping[str, str | None] | None = None,
    left_out: Sequence[tuple[str, str]] = (),
    since: int = NO_TIME,
) -> LogReport:
    """Put all files together; ``numbers`` by phone id and ``holders`` of a sender's rows are empty without a database.

    ``only``: the phones to tell of; None for all. ``names``: what they are called. ``left_out``: phones of which these
    logs cannot tell, and why. ``since``: only what was written since then counts, in ms; what has no time does not.
    """
    numbers = phones_of_resets(files) | dict(numbers)
    whole, files = files, [after(found, since) for found in files]
    mine: dict[str, list[Messages]] = {}
    shared: Counter[tuple[str, ...]] = Counter()
    total, left = _collections(files), _collections(files)
    for sender, messages in senders.items():
        total += messages.kinds
        phones = holders.get(sender, frozenset())
        if len(phones) == 1:
            mine.setdefault(next(iter(phones)), []).append(messages)
            continue
        left += messages.kinds
        if phones:
            shared[tuple(sorted(phones))] += messages.kinds.total()
    known = set(numbers.values())
    logs = _Logs(files, whole, [retried(found) for found in whole], numbers)
    named = {number for found in files for _, number in found.counters} | {n for f in files for n, _ in f.closes}
    named |= {numbers[phone_id] for found in files for phone_id in found.resets if phone_id in numbers} | mine.keys()
    recognized = bool(named or total or any(found.resets or found.secrets or found.seen != NO_TIME for found in whole))
    named &= set(only) if only is not None else named
    return LogReport(
        phones=[
            _phone(number, (names or {}).get(number), logs, mine.get(number, []), known=number in known)
            for number in sorted(named)
        ],
        library=_by_name(total),
        unattributed=_by_name(left),
        candidates=sorted(shared.items(), key=lambda item: (-item[1], item[0])),
        unknown_resets=_unknown_resets(files, numbers),
        undetermined=total[Kind.UNDETERMINED],
        secrets_seen=sum(found.secrets for found in whole),
        unread=unread(whole),
        left_out=sorted(left_out),
        recognized=recognized,
    )


@dataclass(frozen=True, slots=True)
class _Logs:
    """All files, and ``young``: what of them is to be told."""

    young: Sequence[ScanResult]
    whole: Sequence[ScanResult]
    repeated: Sequence[Retried]
    numbers: Mapping[int, str]

    def resets(self, files: Sequence[ScanResult], number: str) -> list[Counted | None]:
        """The resets of a phone in each of some files."""
        ids = [phone_id for phone_id, owner in self.numbers.items() if owner == number]
        return [_joined([rows for phone_id in ids if (rows := found.resets.get(phone_id))]) for found in files]

    def standing(self, kind: Kind, number: str) -> int | None:
        """What a phone's counter stands at in the end, whenever that was written."""
        counted = [found.counters.get((kind, number)) for found in self.whole]
        return last_counter(counted, self.resets(self.whole, number))


def _phone(number: str, name: str | None, logs: _Logs, messages: list[Messages], *, known: bool) -> PhoneLog:
    unknown = bool(_unknown_resets(logs.whole, logs.numbers)) and not known
    closes: Counter[str] = Counter()
    for found in logs.young:
        closes.update({reason: len(rows.places) for (owner, reason), rows in found.closes.items() if owner == number})
    resets = logs.resets(logs.young, number)
    kinds = sum((one.kinds for one in messages), Counter[Kind]())
    return PhoneLog(
        phone=number,
        name=name,
        bad_mac=_errors(Kind.BAD_MAC, number, logs, messages, unknown=unknown),
        bad_decrypt=_errors(Kind.BAD_DECRYPT, number, logs, [], unknown=unknown),
        resets=None if unknown else sum(len(rows.places) for rows in resets if rows),
        closes=dict(closes.most_common()),
        library=_by_name(kinds),
    )


def _errors(kind: Kind, number: str, logs: _Logs, messages: list[Messages], *, unknown: bool) -> Errors:
    counted = [found.counters.get((kind, number)) for found in logs.young]
    repeated = logs.repeated if kind is Kind.BAD_MAC else [{}] * len(counted)
    rows = [one for one in counted if one]
    lines = sum(len(one.places) for one in rows)
    times = [time for one in rows for time in one.times if time != NO_TIME]
    times += [time for one in messages for time in (one.first, one.last) if time is not None]
    about = sum(counted_messages(one, again) for one, again in zip(counted, repeated, strict=True) if one)
    return Errors(
        counter_lines=lines,
        max_counter=max((max(one.numbers) for one in rows), default=0),
        last_counter=None if unknown and lines else logs.standing(kind, number),
        messages=about if lines else sum(one.kinds[Kind.BAD_MAC] for one in messages),
        first_at=_moment(min(times, default=None)),
        last_at=_moment(max(times, default=None)),
    )


def _joined(rows: list[Counted]) -> Counted | None:
    """Resets of one phone in one file, which one id has (two after it was added anew)."""
    if len(rows) < 2:
        return rows[0] if rows else None
    both = Counted()
    for place, time in sorted((p, t) for one in rows for p, t in zip(one.places, one.times, strict=True)):
        both.add(place, time, 0)
    return both


def after(found: ScanResult, since: int) -> ScanResult:
    """What of a file was written since a time (ms); all of it for NO_TIME."""
    if since == NO_TIME:
        return found
    young = ScanResult(collected=found.collected.since(since))
    young.counters = _since(found.counters, since)
    young.resets = _since(found.resets, since)
    young.closes = _since(found.closes, since)
    return young


def _since(rows: Mapping[_Key, Counted], since: int) -> dict[_Key, Counted]:
    return {name: young for name, one in rows.items() if (young := one.since(since)).places}


def unread(files: Sequence[ScanResult]) -> list[tuple[str, int, str]]:
    """What could not be read of all files: forms, how many lines, and one of them; the most frequent first."""
    whole = ScanResult()
    for found in files:
        keep_latest(whole.prefixes, found.prefixes)
        for key, rows in found.unread.items():
            whole.not_read(*key, rows.example, rows.lines)
    every: dict[str, Form] = {}
    for form, rows in whole.not_understood():
        every.setdefault(form, Form(0, rows.example)).lines += rows.lines
    return sorted(((form, rows.lines, rows.example) for form, rows in every.items()), key=lambda row: (-row[1], row[0]))


def _collections(files: Sequence[ScanResult]) -> Counter[Kind]:
    return sum((found.collections for found in files), Counter[Kind]())


def _unknown_resets(files: Sequence[ScanResult], numbers: Mapping[int, str]) -> dict[int, int]:
    counts: Counter[int] = Counter()
    for found in files:
        counts.update(
            {phone_id: len(rows.places) for phone_id, rows in found.resets.items() if phone_id not in numbers}
        )
    return dict(sorted(counts.items()))


def _by_name(kinds: Counter[Kind]) -> dict[str, int]:
    return {kind.name.lower(): kinds[kind] for kind in LIBRARY}


def _moment(time: int | None) -> datetime | None:
    return None if time is None else datetime.fromtimestamp(time / 1000, UTC)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
