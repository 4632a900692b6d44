"""What a run of ``logs --record`` wrote, and what it leaves open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wa_sessions.logs.scan_result import ScanResult


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run wrote: ``entries`` of the history, by kind, of how many phones.

    ``doubts``: the phones of which the logs leave open how they are, by reason. ``failing``: those of which messages
    failed again that count towards no limit, by reason. ``lost``: logs that were truncated with something in them that
    may not have been read. ``strangers``: numbers (and phone ids, with ``#``) that lines name and no row has.
    """

    found: list[ScanResult]
    observed: int
    entries: dict[str, int]
    lost: list[str]
    doubts: Mapping[str, Sequence[str]]
    failing: Mapping[str, Sequence[str]]
    strangers: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values: how many phones, which entries, which are in doubt, which logs, which numbers."""
        return {
            "phones": self.observed,
            "entries": self.entries,
            "doubts": _by_reason(self.doubts),
            "failing": _by_reason(self.failing),
            "lost": self.lost,
            "not_in_database": list(self.strangers),
        }


def _by_reason(phones_of: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [{"reason": reason, "phones": list(numbers)} for reason, numbers in phones_of.items()]
