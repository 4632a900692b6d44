"""Deletes what is older than the history is kept, once a day, while sessions run."""

import asyncio
from datetime import timedelta

from wa_sessions.db import pruning
from wa_sessions.db.gateway import Database
from wa_sessions.errors import WaSessionsError
from wa_sessions.wording import counted
from wa_sessions.worker import log

FIRST_AFTER = 300.0
"""Seconds after the start of a worker: one that is restarted again and again has other things to do."""

INTERVAL = 86_400.0
"""Seconds between two prunings."""


async def prune_daily(database: Database, keep: timedelta) -> None:
    """Until cancelled; ``keep`` of 0 keeps all. What fails is logged, and tried again the next day."""
    if not keep:
        return
    await asyncio.sleep(FIRST_AFTER)
    while True:
        try:
            gone = await _pruned(database, keep)
        except WaSessionsError as error:
            log.warn(f"the history was not pruned: {error}", event="not_pruned")
        else:
            if gone:
                log.info(f"history pruned: {counted(gone, 'row')}", event="pruned", rows=gone)
        await asyncio.sleep(INTERVAL)


async def _pruned(database: Database, keep: timedelta) -> int:
    """How many rows went, in short steps, each on a thread: a shutdown waits for none of them for long."""
    gone, steps = 0, pruning.steps(database, keep)
    while step := await asyncio.to_thread(next, steps, None):
        gone += step[1]
    return gone
