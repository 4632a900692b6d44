"""Commands from the database: heard of by notification, looked for now and then, and handed to whom they concern."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from wa_sessions.db import commands
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.errors import DatabaseError, WaSessionsError
from wa_sessions.worker import log
from wa_sessions.worker.repository import TRY_AGAIN
from wa_sessions.worker.session import Command

LOOK_EVERY = 60.0  # seconds between looks for commands of which no notification came
TRY_AGAIN_AFTER = 1.0  # seconds


class CommandQueue:
    """What operators ask of this worker.

    ``give`` takes a command of a phone, or says that the worker does not run it. ``lost`` is called when the database
    goes: the connection that hears of commands is the first to know.
    """

    def __init__(
        self, database: Database, worker_id: UUID, give: Callable[[int, Command], bool], lost: Callable[[], None]
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._give = give
        self._lost = lost
        self._heard = asyncio.Event()
        self._link: Connection | None = None
        self._descriptor: int | None = None  # of the link, which does not tell once it is lost

    async def listen(self) -> None:
        """Hear of commands on a connection of its own. Raises DatabaseError."""
        if self._link is None:
            conn = await asyncio.to_thread(self._connect)
            self._descriptor = conn.fileno()
            asyncio.get_running_loop().add_reader(self._descriptor, self._read, conn)
        self._heard.set()

    def close(self) -> None:
        """Hear of nothing any more."""
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        if self._link is not None:
            self._link.close()
        self._link = self._descriptor = None

    async def run(self) -> None:
        """Hand over what comes, until cancelled."""
        while True:
            try:
                await asyncio.wait_for(self._heard.wait(), LOOK_EVERY)
            except TimeoutError:
                self._heard.set()
            self._heard.clear()
            try:
                for found in await asyncio.to_thread(self._take):
                    command = Command(found.id, found.verb, found.actor, found.arguments)
                    if not self._give(found.phone_id, command):
                        await asyncio.to_thread(self._refuse, command)
            except TRY_AGAIN as error:
                log.warn(f"commands were not taken: {error}; it is tried again", event="commands_not_taken")
                asyncio.get_running_loop().call_later(TRY_AGAIN_AFTER, self._heard.set)
            except DatabaseError:
                self._lost()

    def _connect(self) -> Connection:
        """On a thread, which goes on if nobody waits for it any more: ``close`` finds the connection all the same."""
        self._link = conn = self._database.dedicated()
        try:
            commands.listen(conn)
        except DatabaseError:
            self._link = None
            conn.close()
            raise
        return conn

    def _read(self, conn: Connection) -> None:
        try:
            if commands.heard(conn, self._worker_id):
                self._heard.set()
        except DatabaseError:
            self.close()
            self._lost()

    def _take(self) -> list[commands.Command]:
        with self._database.transaction() as conn:
            return commands.take(conn, self._worker_id)

    def _refuse(self, command: Command) -> None:
        error = WaSessionsError("this worker does not run the phone any more: look with wa-sessions stats")
        with self._database.transaction() as conn:
            commands.finish(conn, command.id, error=str(error), exit_code=int(error.exit_code))
