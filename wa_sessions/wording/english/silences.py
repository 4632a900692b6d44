"""That lines of logs name a phone no more, in English."""

from wa_sessions.wording.phrases import Template

SILENCES: dict[str, Template] = {
    "never_named": "no line of the logs names it, though they name other phones all the time",
    "stopped": "its lines stopped {age} ago",
    "longer_than_usual": "its lines stopped {age} ago; at this hour they usually come within {usual}",
}
