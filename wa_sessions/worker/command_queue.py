"""Commands from the database: heard of by notification, looked for now and then, and handed to whom they concern."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from uuid import UUID

from wa_sessions.db import commands
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.errors import StoreAway, WaSessionsError
from wa_sessions.worker import log
from wa_sessions.worker.repository import TRY_AGAIN
from wa_sessions.worker.session import Command

LOOK_EVERY = 10.0
"""Seconds between looks for commands of which no notification came: who asked waits 30 s for the answer."""

TRY_AGAIN_AFTER = 1.0  # seconds
GIVEN_KEPT = 1_000  # commands that are known not to be handed over again


class CommandQueue:
    """What operators ask of this worker.

    ``give`` takes a command of a phone, or says that the worker does not run it. ``lost`` is called when the database
    goes: the connection that hears of commands is the first to know. ``fleet_changed``: when phones may be free.
    """

    def __init__(
        self,
        database: Database,
        worker_id: UUID,
        give: Callable[[int, Command], bool],
        lost: Callable[[], None],
        fleet_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._give = give
        self._lost = lost
        self._fleet_changed = fleet_changed
        self._heard = asyncio.Event()
        self._given: deque[int] = deque(maxlen=GIVEN_KEPT)
        self._in_doubt = False  # whether something may have been taken and not handed over
        self._over = False
        self._link: Connection | None = None
        self._descriptor: int | None = None  # of the link, which does not tell once it is lost

    async def listen(self) -> None:
        """Hear of commands on a connection of its own. Raises StoreAway."""
        if self._link is None:
            conn = await asyncio.to_thread(self._connect)
            if self._over:
                return
            self._descriptor = conn.fileno()
            asyncio.get_running_loop().add_reader(self._descriptor, self._read, conn)
            self._fleet_changed()
        self._heard.set()

    def end(self) -> None:
        """Hear of nothing any more."""
        self._over = True
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        if self._link is not None:
            self._link.close()
        self._link = self._descriptor = None

    async def run(self) -> None:
        """Hand over what comes, until cancelled."""
        while True:
            heard = await self._notified()
            self._heard.clear()
            try:
                if await self._hand_over() and not heard:
                    self._deaf()
            except TRY_AGAIN as error:
                self._in_doubt = True
                log.warn(f"commands were not taken: {error}; it is tried again", event="commands_not_taken")
                asyncio.get_running_loop().call_later(TRY_AGAIN_AFTER, self._heard.set)
            except StoreAway:
                self._in_doubt = True
                self._deaf()

    async def _notified(self) -> bool:
        """Whether a notification came; False when it is time to look without one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await self._heard.wait()
        return self._heard.is_set()

    def _deaf(self) -> None:
        """The link has told nothing of what it should have: whatever lies between may have forgotten it."""
        self._close()
        self._lost()

    async def _hand_over(self) -> int:
        """How many there were. Whom a command concerns gets it before any is refused: a refusal may fail."""
        nobodys: list[Command] = []
        taken = await asyncio.to_thread(self._take)
        for found in taken:
            command = Command(found.id, found.verb, found.actor, found.arguments)
            if self._give(found.phone_id, command):
                self._given.append(found.id)
            else:
                nobodys.append(command)
        for command in nobodys:
            await asyncio.to_thread(self._refuse, command)
        self._in_doubt = False
        return len(taken)

    def _connect(self) -> Connection:
        """On a thread, which goes on though nobody waits for it any more."""
        conn = self._database.dedicated()
        with contextlib.ExitStack() as failing:
            failing.callback(conn.close)
            commands.listen(conn)
            if not self._over:
                self._link = conn
                failing.pop_all()
        return conn

    def _read(self, conn: Connection) -> None:
        try:
            heard = commands.heard(conn, self._worker_id)
            if heard.request:
                self._heard.set()
            if heard.fleet:
                self._fleet_changed()
        except StoreAway:
            self._deaf()

    def _take(self) -> list[commands.Command]:
        """What was asked since; after a loss also what was taken and never handed over."""
        with self._database.transaction() as conn:
            taken = commands.take(conn, self._worker_id)
            if not self._in_doubt:
                return taken
            return [one for one in commands.unanswered(conn, self._worker_id) if one.id not in self._given]

    def _refuse(self, command: Command) -> None:
        error = WaSessionsError("this worker does not run the phone any more: look with wa-sessions stats")
        with self._database.transaction() as conn:
            commands.finish(conn, command.id, error=str(error), exit_code=int(error.exit_code))
