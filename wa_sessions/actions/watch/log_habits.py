"""Which phones are silent in logs that name phones, by how often lines named each of them until now."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from wa_sessions.actions.watch.log_names import Heard, Names
from wa_sessions.db import log_reading
from wa_sessions.db.gateway import Connection
from wa_sessions.db.log_reading import LogWatch
from wa_sessions.db.phones import Phone
from wa_sessions.health.habit import Habit, heard, silence, unheard
from wa_sessions.health.reconnect import UP_STATUSES
from wa_sessions.wording.silences import silent

_A_MINUTE = timedelta(minutes=1)


def learn(
    conn: Connection,
    watched: Sequence[Phone],
    names: Names,
    watches: Mapping[int, LogWatch],
    now: datetime,
    *,
    cut: bool,
) -> dict[int, str]:
    """Take in whom lines named, and tell why a phone's silence leaves open how it is, by phone id.

    ``cut``: lines that were written since the last run may be lost.
    """
    minute, before = round(now.timestamp()) // 60, log_reading.habits(conn)
    habits: dict[int, Habit] = {}
    for phone in watched:
        mine = names.of(phone)
        missed = _missed(watches.get(phone.id), now) if cut or mine.untimed else 0
        habit = _habit(phone, before.get(phone.id), mine, minute, missed)
        if habit is not None:
            habits[phone.id] = habit
    log_reading.save_habits(conn, {id_: habit for id_, habit in habits.items() if habit != before.get(id_)})
    frequent = {id_ for id_, habit in habits.items() if habit.is_frequent}
    silences = {
        phone.id: silence(habits.get(phone.id), minute, others=bool(frequent - {phone.id})) for phone in watched
    }
    return {id_: silent(found) for id_, found in silences.items() if found}


def _habit(phone: Phone, before: Habit | None, mine: Heard, now: int, missed: int) -> Habit | None:
    """A phone that is not meant to be connected is not silent."""
    if before is not None and missed:
        before = unheard(before, missed, now)
    habit = heard(before, mine.lines, mine.trouble, now)
    if habit is not None and phone.status not in UP_STATUSES:
        return unheard(habit, now - habit.last, now)
    return habit


def _missed(watch: LogWatch | None, now: datetime) -> int:
    """Minutes since the last run."""
    return max(0, (now - watch.read_at) // _A_MINUTE) if watch else 0
