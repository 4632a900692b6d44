"""The service that looks at the fleet, while there is nothing to be seen."""

import asyncio
from typing import Any
from uuid import uuid4

from wa_sessions.worker.fleet import Scope
from wa_sessions.worker.fleet_watch import Chosen, FleetWatch
from wa_sessions.worker.lease_times import LeaseTimes


class Sessions:
    worker_id = uuid4()


class Guard:
    """Of a database that is away."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def answers(self) -> bool:
        self.asked += 1
        assert self.asked < 100, "it looks again and again, without a pause"
        return False


def test_what_changes_while_the_database_is_away_takes_the_loop_from_nobody() -> None:
    """A phone that is lost in an outage is a change; the loop, which alone could see its end, was never left again."""

    async def scenario() -> None:
        guard, nothing = Guard(), Any
        parts: tuple[Any, ...] = (nothing, guard, Sessions())
        watch = FleetWatch(Chosen(Scope()), LeaseTimes(), *parts)
        watch.changed()
        looking = asyncio.create_task(watch.run())
        await asyncio.sleep(0.5)
        watch.changed()
        await asyncio.sleep(0.5)
        assert not looking.done()
        looking.cancel()

    asyncio.run(scenario())
