"""Times that people can read."""

from datetime import UTC, datetime, timedelta

_JUST_NOW = timedelta(seconds=2)
_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "m"), (timedelta(seconds=1), "s"))


def when(moment: datetime | None, now: datetime) -> str:
    """A moment as seen from ``now``, both with a zone; days and clock times in UTC, as everywhere.

    >>> now = datetime(2026, 1, 15, 18, 0, tzinfo=UTC)
    >>> [when(now - timedelta(**ago), now) for ago in ({"seconds": 40}, {"minutes": 3}, {"hours": 2}, {"days": 30})]
    ['40 s ago', '3 min ago', 'today 16:00 UTC', '16 Dec 2025']
    >>> when(now + timedelta(minutes=3), now)
    'in 3 min'
    """
    text = in_column(moment, now)
    return f"{text} UTC" if ":" in text else text


def in_column(moment: datetime | None, now: datetime) -> str:
    """The same where the zone stands at the head of the table.

    >>> in_column(datetime(2026, 1, 15, 16, 0, tzinfo=UTC), datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
    'today 16:00'
    """
    if moment is None:
        return "never"
    distance = abs(now - moment)
    if distance < _JUST_NOW:
        return "just now"
    if distance < timedelta(hours=1):
        seconds = int(distance.total_seconds())
        near = f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
        return f"{near} ago" if moment < now else f"in {near}"
    return _on_a_day(moment.astimezone(UTC), now.astimezone(UTC))


def due(moment: datetime | None, now: datetime) -> str:
    """When something happens next, as seen from ``now``; what is overdue happens now.

    >>> now = datetime(2026, 1, 15, 18, 0, tzinfo=UTC)
    >>> [due(now + timedelta(seconds=seconds), now) for seconds in (-60, 1, 40)]
    ['now', 'now', 'in 40 s']
    """
    return "now" if moment is None or moment - now < _JUST_NOW else when(moment, now)


def short(distance: timedelta) -> str:
    """How long, in one number and one letter.

    >>> [short(timedelta(seconds=seconds)) for seconds in (0, 59, 60, 7_199, 200_000)]
    ['0s', '59s', '1m', '1h', '2d']
    """
    return next((f"{distance // unit}{letter}" for unit, letter in _UNITS if distance >= unit), "0s")


def day(moment: datetime) -> str:
    """A moment in its own zone, for a headline.

    >>> day(datetime(2026, 1, 5, 8, 30, tzinfo=UTC))
    '5 Jan 2026 08:30 UTC'
    """
    return f"{moment.day} {moment:%b %Y %H:%M %Z}"


def iso(moment: datetime | None) -> str | None:
    """A moment for programs: ISO 8601 in UTC, to the millisecond.

    >>> iso(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
    '2026-01-15T18:00:00.000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def _on_a_day(moment: datetime, now: datetime) -> str:
    if moment.date() == now.date():
        return f"today {moment:%H:%M}"
    if moment.year == now.year:
        return f"{moment.day} {moment:%b %H:%M}"
    return f"{moment.day} {moment:%b %Y}"
