"""Durations and counters, in English."""

from wa_sessions.wording.phrases import Template

NUMBERS: dict[str, Template] = {
    "seconds": "{n} s",
    "minutes": "{n} min",
    "hours": "{n} h",
    "days": "{n} days",
    "error_count": "{kind} {count} of {limit}",
}
