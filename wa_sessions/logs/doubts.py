"""Why logs that were read do not tell how a phone is: what in them is open, or of nobody, or not there."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePath

from wa_sessions.health.uncounted import STANDS as STANDS_FOR
from wa_sessions.logs.messages import Open, left_open
from wa_sessions.logs.scan_result import Kind, ScanResult
from wa_sessions.logs.times import NO_TIME
from wa_sessions.wording.numbers import aged

STANDS = STANDS_FOR // timedelta(milliseconds=1)
"""ms for which a doubt stands, and for which a line tells that somebody writes the log."""

IN_TWO_ORGANIZATIONS = "its number stands in two organizations, and lines of logs do not say which"

_STREAMS = re.compile(r"(|.*[-._])(out|err|error|stdout|stderr)((?:[-._]\d+)?\.(?:log|txt))")
_OTHER = {"out": ("error", "err"), "err": ("out",), "error": ("out",), "stdout": ("stderr",), "stderr": ("stdout",)}


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason, and when that was written which makes it (ms); None where it is that nothing was."""

    reason: str
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Doubts:
    """Of phones by number, and of everybody whose logs these are."""

    phones: Mapping[str, Doubt]
    everybody: Doubt | None = None


def doubts(files: Sequence[ScanResult], whose: Mapping[bytes, frozenset[str]], otherwise: int) -> Doubts:
    """What failed and is not in any phone's counters. ``otherwise``: the time of lines that have none, in ms."""
    phones: dict[str, Doubt] = {}
    everybody = list[Doubt]()
    for sender, rows in left_open(files).items():
        holders = whose.get(sender, frozenset())
        doubt = _of_sender(rows, otherwise, certain=len(holders) == 1)
        if doubt is None:
            continue
        if not sender:
            everybody.append(
                Doubt(f"{_counted(len(rows.all), 'failed message')} without the name of a sender", doubt.at)
            )
        for number in holders:
            if number not in phones or (phones[number].at or 0) < (doubt.at or 0):
                phones[number] = doubt
    if collections := sum(found.collections[Kind.BAD_DECRYPT] for found in files):
        words = f"{_counted(collections, 'collection')} that did not decrypt, in lines that name no phone"
        everybody.append(Doubt(words, max(found.seen for found in files)))
    return Doubts(phones, everybody[0] if everybody else None)


def not_there(names: Sequence[str], gone: Sequence[str]) -> Doubt | None:
    """Why one of the backend's logs is not read, if that is so. ``gone``: those that there were, and are not now."""
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        return Doubt(f"its log is gone: {PurePath(gone[0]).name}{more}")
    missing = _missing_stream(names)
    return Doubt(f"one of the backend's two logs is not read: {missing}") if missing else None


def _missing_stream(names: Sequence[str]) -> str | None:
    """The other log of a backend that writes two, where only one is read; several may have logs of one name."""
    logs = Counter(PurePath(name).name for name in names)
    for name in sorted(logs):
        match = _STREAMS.fullmatch(name)
        if match is None:
            continue
        others = [f"{match[1]}{stream}{match[3]}" for stream in _OTHER[match[2]]]
        if sum(logs[other] for other in others) < logs[name]:
            return others[0]
    return None


def standing(earlier: Doubt | None, new: Doubt | None, now: int) -> Doubt | None:
    """The doubt that there is now: the new one, or an earlier one that is not old yet."""
    young = [one for one in (new, earlier) if one and one.at is not None and now - one.at < STANDS]
    return young[0] if young else None


def not_read(lines: int, at: int | None = None) -> Doubt:
    """Lines that may tell of a failure of any phone."""
    return Doubt(
        f"{_counted(lines, 'line')} with the library's words behind a prefix or in a form that is not known", at
    )


def silence(seen: int, unread: int, now: int) -> Doubt | None:
    """Nothing was recognized lately. ``seen``: when the last line was written that was."""
    if seen != NO_TIME and now - seen < STANDS:
        return None
    if unread:
        return not_read(unread)
    if seen == NO_TIME:
        return Doubt("its logs are read, and no line in them is known to be the backend's or its library's")
    age = aged(timedelta(milliseconds=now - seen))
    return Doubt(f"nothing of the backend or its library was logged for {age}")


def _of_sender(rows: Open, otherwise: int, *, certain: bool) -> Doubt | None:
    """What is open of one sender; what counts for a phone is none where it is certain which."""
    kinds = [
        (rows.undetermined, "of which only the other log says why"),
        (rows.console, "of which only libsignal's log tells, as the other one is not read"),
        (rows.nameless, "without an id for a reason that no counter knows"),
        ([] if certain else rows.counted + rows.other, "of this phone or of another"),
    ]
    for times, words in kinds:
        if times:
            at = max(times)
            return Doubt(f"{_counted(len(times), 'failed message')} {words}", otherwise if at == NO_TIME else at)
    return None


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
