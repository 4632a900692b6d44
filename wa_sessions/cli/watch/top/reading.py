"""What the view knows: the last answer of the database, and whether the next one is late."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wa_sessions.actions.watch.top import Row
from wa_sessions.errors import WaSessionsError

LOOK_EVERY = 2.0  # seconds between an answer and the next question
LATE = 4.0  # seconds without an answer that are told of


@dataclass(slots=True)
class Reading:
    """The fleet as it was when the database answered last. ``at`` is None before the first answer."""

    rows: list[Row] = field(default_factory=list)
    at: datetime | None = None
    trouble: WaSessionsError | None = None
    _asked: float | None = None

    def asked(self) -> None:
        """A question is on its way."""
        self._asked = time.monotonic()

    def answered(self, rows: list[Row]) -> None:
        """The fleet is known anew."""
        self.rows, self.at, self.trouble, self._asked = rows, datetime.now(UTC), None, None

    def failed(self, error: WaSessionsError) -> None:
        """There was no answer."""
        self.trouble, self._asked = error, None

    def row(self, phone_id: int | None) -> Row | None:
        """One phone."""
        return next((row for row in self.rows if row.stats.phone_id == phone_id), None)

    @property
    def alarm(self) -> str | None:
        """Why what is shown is not of now; None where it is."""
        shown = f"shown is {self.at:%H:%M:%S} UTC" if self.at else "nothing is known yet"
        waited = time.monotonic() - self._asked if self._asked is not None else 0.0
        if waited >= LATE:
            return f"no answer from the database for {waited:.0f} s; {shown}"
        return f"no database; {shown}: {self.trouble}" if self.trouble else None
