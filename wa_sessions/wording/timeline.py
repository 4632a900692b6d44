"""The history in words: a sentence for an entry, and one for a run of entries that are alike."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from wa_sessions.wording.numbers import counted
from wa_sessions.wording.sentences import Detail, sentence

FEWEST = 3  # so many entries in a row that are alike are told as one
LONGEST_PAUSE = timedelta(hours=1)
"""Entries further apart than that are told apart."""

_MESSAGES = ("message_pending", "message_recovered", "message_lost")
_CONNECTION = ("disconnected", "stream_error", "connected", "no_answer", "answers_again")
_ALONE = ("unreachable", "crashed", "pairing_failed", "handler_failed", "handler_slow", "handler_dead")
_RUNS = (
    dict.fromkeys(_MESSAGES, "messages") | dict.fromkeys(_CONNECTION, "connection") | {kind: kind for kind in _ALONE}
)


@dataclass(frozen=True, slots=True)
class Happened:
    """An entry of one phone's history. ``undo`` is the operation that ``restore`` can undo, if there is one."""

    at: datetime
    kind: str
    detail: Detail
    undo: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story: an entry, or ``times`` of them from ``at`` to ``until``."""

    at: datetime
    until: datetime
    text: str
    times: int = 1
    undo: str | None = None


def undo(kind: str, operation: str | None) -> str | None:
    """The operation that an entry began and that can be undone; one that it ended, or only names, cannot."""
    return None if kind in ("restored", "unlinked") else operation


def story(entries: Iterable[Happened]) -> Iterator[Line]:
    """The entries as lines, in order; of three or more in a row that are alike one line is made."""
    run: list[Happened] = []
    for entry in entries:
        if run and not _goes_on(run[-1], entry):
            yield from _lines(run)
            run = []
        run.append(entry)
    yield from _lines(run)


def _goes_on(before: Happened, entry: Happened) -> bool:
    near = entry.at - before.at <= LONGEST_PAUSE and entry.at.date() == before.at.date()
    run = _RUNS.get(entry.kind)
    return near and run is not None and run == _RUNS.get(before.kind) and not (entry.undo or before.undo)


def _lines(run: Sequence[Happened]) -> Iterator[Line]:
    if len(run) < FEWEST:
        yield from (Line(one.at, one.at, sentence(one.kind, one.detail), undo=one.undo) for one in run)
        return
    times = Counter(entry.kind for entry in run)
    group = _RUNS[run[0].kind]
    if group == "messages":
        text = _messages(times)
    elif group == "connection":
        text = _connection(times)
    else:
        text = f"{len(run)} times, at last: {sentence(run[-1].kind, run[-1].detail)}"
    yield Line(run[0].at, run[-1].at, text, len(run))


def _messages(times: Mapping[str, int]) -> str:
    pending, recovered, lost = (times.get(kind, 0) for kind in _MESSAGES)
    told = ((pending, "did not decrypt at first"), (recovered, "recovered"), (lost, "lost"))
    (first, what), *others = [one for one in told if one[0]]
    return ", ".join([f"{counted(first, 'message')} {what}", *(f"{number} {word}" for number, word in others)])


def _connection(times: Mapping[str, int]) -> str:
    words = ("connection lost", "ended by WhatsApp", "connected again", "no answer to pings", "answers again")
    told = [
        f"{word} {counted(times[kind], 'time')}" for kind, word in zip(_CONNECTION, words, strict=True) if kind in times
    ]
    return f"the connection is unsteady: {', '.join(told)}"
