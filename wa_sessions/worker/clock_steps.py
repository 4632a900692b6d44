"""PURE: a clock that steps back makes no pause longer than it was meant to be."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from wa_sessions.health.reconnect import State
from wa_sessions.worker import connection, linking
from wa_sessions.worker.session import Session

_JITTER = 1.0  # seconds, the most that ``connection.pause`` adds
_STORE_PAUSE = timedelta(seconds=connection.LONGEST_STORE_PAUSE + _JITTER)
_LONGEST: Mapping[State, timedelta] = {
    State.UNREACHABLE: timedelta(seconds=connection.LONGEST_PAUSE + _JITTER),
    State.CRASHED: connection.SET_ASIDE_FOR,
    State.WAITING_FOR_STORE: _STORE_PAUSE,
}
"""The longest pause of each state. A ban is not among them: WhatsApp has named its end."""


def capped(session: Session, now: datetime) -> Session:
    """The session with nothing in its past that is yet to come, and nothing due later than it can have been planned."""
    trouble, settings = session.trouble, session.settings
    window = settings.pairing_window if session.state is State.PAIRING else _LONGEST.get(session.state)
    times: dict[str, Any] = {
        "looked_at": _not_after(session.looked_at, now),
        "versions_at": _not_after(session.versions_at, now),
        "connected_at": _not_after(session.connected_at, now),
        "down_since": _not_after(session.down_since, now),
        "store_lost_at": _not_after(session.store_lost_at, now),
        "deadline": _not_after(session.deadline, now + max(settings.answer_timeout, linking.UNLINK_TIMEOUT)),
        "round_at": _not_after(session.round_at, now + timedelta(seconds=linking.LONGEST_PAUSE + _JITTER)),
        "retry_at": session.retry_at if window is None else _not_after(session.retry_at, now + window),
        "trouble": replace(
            trouble,
            retry_at=_not_after(trouble.retry_at, now + _STORE_PAUSE),
            since=_not_after(trouble.since, now),
            back_at=_not_after(trouble.back_at, now),
        ),
    }
    changed = {name: time for name, time in times.items() if time != getattr(session, name)}
    return replace(session, **changed) if changed else session


def _not_after(time: datetime | None, latest: datetime) -> datetime | None:
    return None if time is None else min(time, latest)
