"""PURE: what one session has met of a database that may well answer everybody else."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoreTrouble:
    """Why the session cannot write, and how often it has tried of late.

    ``reason``: the error of its own last write or look; none where the worker found that nobody is answered.
    ``told``: the reason that stands in the log. ``retry_at``: it does not come back before. ``since``: the first loss
    that the history does not have. ``back_at``: when it came back last.
    """

    reason: str | None = None
    told: str | None = None
    retry_at: datetime | None = None
    since: datetime | None = None
    back_at: datetime | None = None
