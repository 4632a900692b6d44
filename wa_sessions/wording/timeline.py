"""A phone's history in words: a sentence for an event, and one for a run of events that are alike."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.timeline import CONNECTION, MESSAGES, TimelineEntry, runs
from wa_sessions.wording.english import ENGLISH
from wa_sessions.wording.phrases import Language, Phrase, say
from wa_sessions.wording.sentences import sentence

_TABLE = "timeline"


@dataclass(frozen=True, slots=True)
class TimelineLine:
    """One line of a timeline: an event, or ``times`` of them from ``at`` to ``until``."""

    at: datetime
    until: datetime
    text: str
    times: int = 1
    undo: str | None = None


def timeline_lines(entries: Iterable[TimelineEntry], language: Language = ENGLISH) -> Iterator[TimelineLine]:
    """The entries as lines, in order; of three or more in a row that are alike one line is made."""
    for run in runs(entries):
        yield TimelineLine(run[0].at, run[-1].at, _text(run, language), len(run), run[0].undo)


def _text(run: Sequence[TimelineEntry], language: Language) -> str:
    last = sentence(run[-1].detail, language)
    if len(run) == 1:
        return last
    times = Counter(EventKind(entry.detail.kind) for entry in run)
    if run[0].alike == MESSAGES:
        return _messages(times, language)
    if run[0].alike == CONNECTION:
        return say(Phrase(_TABLE, "unsteady", {"what": _listed(CONNECTION, times, language)}), language)
    return say(Phrase(_TABLE, "many", {"n": len(run), "last": last}), language)


def _messages(times: Counter[EventKind], language: Language) -> str:
    first, *others = [kind for kind in MESSAGES if times[kind]]
    head = _listed([first], times, language)
    return ", ".join([head, *(say(Phrase(_TABLE, f"{kind}.too", {"n": times[kind]}), language) for kind in others)])


def _listed(kinds: Sequence[EventKind], times: Counter[EventKind], language: Language) -> str:
    return ", ".join(say(Phrase(_TABLE, kind, {"n": times[kind]}), language) for kind in kinds if times[kind])
