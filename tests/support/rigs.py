"""One worker over a real Postgres, which fails as it does in life; only hosts are stand-ins."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from support.fleets import until
from support.outages import demoted, outage
from support.stand_in_hosts import StandInHandlers, StandInHosts

from wa_sessions.db import backend, commands, phones
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.phones import Phone
from wa_sessions.errors import OwnedByAnother
from wa_sessions.health.classify import Cause, Encryption
from wa_sessions.health.model import Limits
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.lease_times import LeaseTimes
from wa_sessions.worker.session import Settings
from wa_sessions.worker.supervisor import Supervisor, WorkerOptions

NUMBER, OTHER = "77051234567", "77057654321"
DEVICE = f"{NUMBER}:1@s.whatsapp.net"


class Rig:
    """One worker in this event loop, two phones with keys, and a database that can be taken away."""

    def __init__(self, database: Database, server: EmbeddedServer, limits: Limits) -> None:
        self.database = database
        self._server = server
        self.hosts = StandInHosts()
        with database.transaction() as conn:
            self.backend = backend.detect(conn)
            self.phone, self.other = (phones.add(conn, self.backend, number, 1) for number in (NUMBER, OTHER))
            for number in (NUMBER, OTHER):
                _give_keys(conn, f"{number}:1@s.whatsapp.net")
        self.limits = limits
        self.use(LeaseTimes(2.0))

    def use(self, times: LeaseTimes) -> None:
        """A worker with these times."""
        options = WorkerOptions(Settings(self.limits), times)
        self.worker = Supervisor(self.database, self.backend, options, self.hosts, StandInHandlers())

    # ---------------------------------------------------------------------------------------- what is seen

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self.database.transaction() as conn:
            cursor = conn.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def kinds(self) -> list[str]:
        query = "SELECT kind FROM wa_sessions.event WHERE phone_id = %s ORDER BY id"
        return [row["kind"] for row in self.rows(query, self.phone.id)]

    def has_counted(self, number: int) -> bool:
        return bool(self.health()["bad_decrypt_errors"] == number)

    def has_come_back(self, times: int) -> bool:
        return self.kinds().count("store_back") == times

    def health(self) -> dict[str, Any]:
        return self.rows("SELECT * FROM wa_sessions.health WHERE phone_id = %s", self.phone.id)[0]

    @property
    def client(self) -> int | None:
        return self.hosts.client_of(self.phone.id)

    @property
    def opened(self) -> int:
        return sum(phone_id == self.phone.id for phone_id, _ in self.hosts.opened)

    # ---------------------------------------------------------------------------------------- what happens

    def tell(self, kind: Callable[..., Any], *values: object) -> None:
        assert self.client is not None
        self.hosts.tell(self.client, kind(self.client, *values))

    def unsynced(self) -> None:
        self.tell(protocol.Unsynced, "regular", Cause.BAD_DECRYPT)

    def ask(self, verb: str, given: object = None, **arguments: object) -> int:
        with self.database.transaction() as conn:
            command = commands.ask(conn, self.phone.id, self.worker.worker_id, verb, arguments, "op@host")
            if given is not None:
                conn.execute("UPDATE wa_sessions.command SET arguments = %s WHERE id = %s", (Jsonb(given), command))
            return command

    def answered(self, command_id: int) -> bool:
        return bool(
            self.rows("SELECT 1 FROM wa_sessions.command WHERE id = %s AND finished_at IS NOT NULL", command_id)
        )

    def demoted(self) -> contextlib.AbstractContextManager[None]:
        return demoted(self._server, self.database)

    def outage(self) -> contextlib.AbstractContextManager[None]:
        return outage(self._server, self.database)


def _give_keys(conn: Any, device: str) -> None:
    columns = conn.execute(
        """SELECT column_name AS name, data_type AS type FROM information_schema.columns
           WHERE table_schema = 'whatsmeow' AND table_name = 'whatsmeow_device' AND is_nullable = 'NO'"""
    ).fetchall()
    made = {"bytea": b"\1" * 32, "integer": 1, "bigint": 1, "text": "x", "boolean": False}
    values = {row["name"]: made.get(row["type"], b"\1" * 64) for row in columns} | {"jid": device}
    for name in ("adv_account_sig", "adv_account_sig_key", "adv_device_sig", "identity_key", "noise_key"):
        if name in values:
            values[name] = b"\1" * (64 if name in ("adv_account_sig", "adv_device_sig") else 32)
    if "signed_pre_key_sig" in values:
        values["signed_pre_key_sig"] = b"\1" * 64
    names = SQL(", ").join(map(Identifier, values))
    cells = SQL(", ").join(SQL("%({})s").format(SQL(name)) for name in values)
    conn.execute(SQL("INSERT INTO whatsmeow.whatsmeow_device ({}) VALUES ({})").format(names, cells), values)


async def fail(rig: Rig, over: Callable[[], bool]) -> None:
    """Have the session meet a fault; it is begun again then, or all is ``over``."""
    before = rig.opened
    rig.tell(protocol.Undecrypted, "i\0", "1@lid", "1@lid", False, Cause.OTHER, Encryption.MESSAGE)
    await until(lambda: rig.opened > before or over())


@contextlib.asynccontextmanager
async def running(rig: Rig, *chosen: Phone) -> AsyncIterator[asyncio.Task[None]]:
    """The worker, connected; it is stopped at the end, and must end well."""
    task = asyncio.create_task(rig.worker.run(chosen or [rig.phone, rig.other]))
    await until(lambda: task.done() or rig.client is not None)
    rig.tell(protocol.Connected)
    await until(lambda: "connected" in rig.kinds())
    try:
        yield task
    finally:
        rig.worker.stop()
    with contextlib.suppress(OwnedByAnother):
        await task


def run(scenario: Callable[[Rig], Coroutine[Any, Any, None]], rig: Rig) -> None:
    asyncio.run(scenario(rig))
