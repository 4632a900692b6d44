"""What logs say about each phone, put together from all of them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wa_sessions.logs.counters import counted_messages, last_counter, phones_of_resets, retried
from wa_sessions.logs.found import Counted, Found, Kind
from wa_sessions.logs.messages import Messages
from wa_sessions.logs.times import NO_TIME

LIBRARY = (
    *(Kind.BAD_MAC, Kind.BAD_DECRYPT, Kind.MISSING_KEY, Kind.DUPLICATE),
    *(Kind.NO_SESSION, Kind.INVALID_PREKEY, Kind.GROUP, Kind.OTHER),
)

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
    bad_mac: Errors
    bad_decrypt: Errors
    resets: int | None
    closes: dict[str, int]
    library: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "phone": self.phone,
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
    """

    phones: list[PhoneLog]
    library: dict[str, int]
    unattributed: dict[str, int]
    candidates: list[tuple[tuple[str, ...], int]]
    unknown_resets: dict[int, int]
    undetermined: int
    secrets_seen: int
    unread: list[tuple[str, int, str]]

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
            "unread": [dict(zip(("form", "lines", "example"), one, strict=True)) for one in self.unread],
        }


def report(
    files: Sequence[Found],
    senders: Mapping[bytes, Messages],
    numbers: Mapping[int, str],
    holders: Mapping[bytes, frozenset[str]],
    only: Collection[str] | None = None,
) -> LogReport:
    """Put all files together; ``numbers`` by phone id and ``holders`` of a sender's rows are empty without a database.

    ``only``: the phones to tell of; None for all.
    """
    numbers = phones_of_resets(files) | dict(numbers)
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
    repeated = [retried(found) for found in files]
    named = {number for found in files for _, number in found.counters} | {n for f in files for n, _ in f.closes}
    named |= {numbers[phone_id] for found in files for phone_id in found.resets if phone_id in numbers} | mine.keys()
    named &= set(only) if only is not None else named
    return LogReport(
        phones=[
            _phone(number, files, repeated, numbers, mine.get(number, []), known=number in known)
            for number in sorted(named)
        ],
        library=_by_name(total),
        unattributed=_by_name(left),
        candidates=sorted(shared.items(), key=lambda item: (-item[1], item[0])),
        unknown_resets=_unknown_resets(files, numbers),
        undetermined=total[Kind.UNDETERMINED],
        secrets_seen=sum(found.secrets for found in files),
        unread=unread(files),
    )


def _phone(
    number: str,
    files: Sequence[Found],
    repeated: Sequence[Retried],
    numbers: Mapping[int, str],
    messages: list[Messages],
    *,
    known: bool,
) -> PhoneLog:
    ids = [phone_id for phone_id, owner in numbers.items() if owner == number]
    unknown = bool(_unknown_resets(files, numbers)) and not known
    closes: Counter[str] = Counter()
    for found in files:
        closes.update({reason: len(rows.places) for (owner, reason), rows in found.closes.items() if owner == number})
    resets = [_joined([rows for phone_id in ids if (rows := found.resets.get(phone_id))]) for found in files]
    kinds = sum((one.kinds for one in messages), Counter[Kind]())
    counted = {
        kind: [found.counters.get((kind, number)) for found in files] for kind in (Kind.BAD_MAC, Kind.BAD_DECRYPT)
    }
    return PhoneLog(
        phone=number,
        bad_mac=_errors(counted[Kind.BAD_MAC], repeated, resets, messages, unknown=unknown),
        bad_decrypt=_errors(counted[Kind.BAD_DECRYPT], [{}] * len(files), resets, [], unknown=unknown),
        resets=None if unknown else sum(len(rows.places) for rows in resets if rows),
        closes=dict(closes.most_common()),
        library=_by_name(kinds),
    )


def _errors(
    counted: list[Counted | None],
    repeated: Sequence[Retried],
    resets: list[Counted | None],
    messages: list[Messages],
    *,
    unknown: bool,
) -> Errors:
    rows = [one for one in counted if one]
    lines = sum(len(one.places) for one in rows)
    times = [time for one in rows for time in one.times if time != NO_TIME]
    times += [time for one in messages for time in (one.first, one.last) if time is not None]
    about = sum(counted_messages(one, again) for one, again in zip(counted, repeated, strict=True) if one)
    return Errors(
        counter_lines=lines,
        max_counter=max((max(one.numbers) for one in rows), default=0),
        last_counter=None if unknown and lines else last_counter(counted, resets),
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


def unread(files: Sequence[Found]) -> list[tuple[str, int, str]]:
    """What could not be read of all files: forms, how many lines, and one of them; the most frequent first."""
    whole = Found()
    for found in files:
        for form, rows in found.unread.items():
            whole.not_read(form, rows.example, rows.lines)
    every = [(form, rows.lines, rows.example) for form, rows in whole.unread.items()]
    return sorted(every, key=lambda row: (-row[1], row[0]))


def _collections(files: Sequence[Found]) -> Counter[Kind]:
    return sum((found.collections for found in files), Counter[Kind]())


def _unknown_resets(files: Sequence[Found], numbers: Mapping[int, str]) -> dict[int, int]:
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
