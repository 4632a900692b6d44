"""Numbers of things and counters, as phrases."""

from wa_sessions.health.limits import ErrorCount
from wa_sessions.wording.phrases import Phrase

_TABLE = "numbers"


def error_count(found: ErrorCount) -> Phrase:
    """A counter and its limit."""
    return Phrase(_TABLE, "error_count", {"kind": found.kind.label, "count": found.count, "limit": found.limit})
