"""Numbers of things, durations and counters, in English."""

NUMBERS = {
    "error_count": "{kind} {count} of {limit}",
}
