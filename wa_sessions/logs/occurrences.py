"""What logs say as it happened: one event after another, each of one phone if that is known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wa_sessions.logs.messages import classified_failures, told_of_console_alone
from wa_sessions.logs.scan_result import Counted, Kind, ScanResult

WORDS = {
    Kind.BAD_MAC: "a message with Bad MAC",
    Kind.BAD_DECRYPT: "a collection with Bad Decrypt",
    Kind.MISSING_KEY: "a collection without its key",
    Kind.DUPLICATE: "a message that came twice",
    Kind.NO_SESSION: "a message without a session",
    Kind.INVALID_PREKEY: "a message for a pre-key that is not there",
    Kind.GROUP: "a group message without its sender key",
    Kind.OTHER: "a message that failed otherwise",
    Kind.UNDETERMINED: "a message that failed; the other log says why",
}


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event, and when (ms, or NO_TIME). ``phones`` are those that it may be of: mostly one, or none."""

    time: int
    phones: tuple[str, ...]
    text: str


def occurrences(
    files: Sequence[ScanResult], numbers: Mapping[int, str], holders: Mapping[bytes, frozenset[str]]
) -> list[Occurrence]:
    """All events in order of time. What libsignal and Baileys say of one message is one."""
    events = [event for found in files for event in _own(found, numbers)]
    counting = {phone for event in events for phone in event.phones if "#" in event.text}
    alone = told_of_console_alone(files)
    for sender, rows in classified_failures(files).items():
        events += _failures([(time, kind) for time, _, kind in rows] + alone.pop(sender, []), sender, holders, counting)
    for sender, left in alone.items():
        events += _failures(left, sender, holders, counting)
    for found in files:
        kinds = zip(found.collected.times, found.collected.numbers, strict=True)
        events += [Occurrence(time, (), WORDS[Kind(kind)]) for time, kind in kinds]
    return sorted(events, key=lambda event: event.time)


def _own(found: ScanResult, numbers: Mapping[int, str]) -> Iterator[Occurrence]:
    for (kind, number), rows in found.counters.items():
        name = "Bad MAC" if kind is Kind.BAD_MAC else "Bad Decrypt"
        yield from (Occurrence(time, (number,), f"{name} #{count}") for time, count in _lines(rows))
    for phone_id, rows in found.resets.items():
        who = (numbers[phone_id],) if phone_id in numbers else ()
        text = "counters reset" if who else f"counters of #{phone_id} reset"
        yield from (Occurrence(time, who, text) for time, _ in _lines(rows))
    for (number, reason), rows in found.closes.items():
        yield from (Occurrence(time, (number,), f"closed: {reason}") for time, _ in _lines(rows))


def _lines(rows: Counted) -> Iterator[tuple[int, int]]:
    return zip(rows.times, rows.numbers, strict=True)


def _failures(
    rows: Sequence[tuple[int, int]], sender: bytes, holders: Mapping[bytes, frozenset[str]], counting: set[str]
) -> Iterator[Occurrence]:
    """Failures of one sender; those that the backend counts beside them are told by its own lines."""
    phones = tuple(sorted(holders.get(sender, ())))
    for time, kind in rows:
        if not (kind == Kind.BAD_MAC and counting.intersection(phones)):
            yield Occurrence(time, phones, WORDS[Kind(kind)])
