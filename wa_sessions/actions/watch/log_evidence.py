"""PURE: whether logs that were read tell how a phone is, from what was recognized in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from wa_sessions.db.log_reading import LogWatch
from wa_sessions.logs.doubts import Doubt, Doubts, doubts, not_read, silence, standing
from wa_sessions.logs.report import unread as not_understood
from wa_sessions.logs.scan_result import ScanResult
from wa_sessions.logs.times import NO_TIME


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run saw: when the newest line was written that was recognized (ms), and how many lines were not.

    ``missing``: a log that the backend writes too, or wrote, and that is not read, and why.
    """

    seen: int
    unread: int
    doubts: Doubts
    missing: Doubt | None
    now: int

    @classmethod
    def of(
        cls,
        found: Sequence[ScanResult],
        whose: Mapping[bytes, frozenset[str]],
        untimed: Sequence[datetime],
        now: datetime,
        missing: Doubt | None,
    ) -> Self:
        """``untimed``: when the lines of each file were written that have no time."""
        seen = [
            milliseconds(moment) if one.seen == NO_TIME and one.events else min(one.seen, milliseconds(now))
            for one, moment in zip(found, untimed, strict=True)
        ]
        unread = sum(lines for _, lines, _ in not_understood(found))
        otherwise = milliseconds(min(untimed, default=now))
        open_ = doubts(found, whose, otherwise)
        if unread and open_.everybody is None:
            open_ = replace(open_, everybody=not_read(unread, milliseconds(now)))
        return cls(max(seen, default=NO_TIME), unread, open_, missing, milliseconds(now))

    def of_phone(
        self, number: str, earlier: LogWatch | None, silent: str | None, *, counts: bool
    ) -> tuple[Doubt | None, datetime | None]:
        """Why the logs do not tell how a phone is, if they do not; and when the newest recognized line was written.

        ``silent``: what its own silence says. ``counts``: the backend counts its errors by itself, whatever the
        library's lines leave open.
        """
        seen = max(self.seen, milliseconds(earlier.seen_at) if earlier and earlier.seen_at else NO_TIME)
        doubt = None
        if not counts:
            doubt = standing(_earlier(earlier), self.doubts.phones.get(number) or self.doubts.everybody, self.now)
        doubt = doubt or self.missing or silence(seen, self.unread, self.now)
        return doubt or (Doubt(silent) if silent else None), moment(seen)


def milliseconds(at: datetime) -> int:
    """ms since 1970."""
    return round(at.timestamp() * 1000)


def moment(time: int | None) -> datetime | None:
    """The time of a line, if it is known."""
    return None if time is None or time == NO_TIME else datetime.fromtimestamp(time / 1000, UTC)


def _earlier(watch: LogWatch | None) -> Doubt | None:
    if watch is None or watch.doubt is None or watch.doubt_at is None:
        return None
    return Doubt(watch.doubt, milliseconds(watch.doubt_at))
