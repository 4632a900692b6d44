"""The installed command as the operator of a Node backend types it, and that backend's database."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.terminal import Ended, Terminal

from wa_sessions.db.gateway import Database

OWN_TABLES = ("health", "event", "alert", "operation", "operation_phone", "quarantine", "lease", "command")


class Night:
    """Commands run as processes of their own, without a terminal unless it is asked for."""

    def __init__(self, database: Database, url: str) -> None:
        self.url = url
        self.terminal = Terminal({"WA_SESSIONS_DATABASE_URL": url})
        self._database = database

    def __call__(self, *arguments: str, **environment: str) -> Ended:
        return self.terminal(*arguments, **environment)

    def json(self, *arguments: str) -> dict[str, Any]:
        return self(*arguments, "--json").json

    def each(self, *commands: tuple[str, ...], **environment: str) -> list[Ended]:
        """Commands of which none needs the others, two at a time."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda arguments: self(*arguments, **environment), commands))

    def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self._database.transaction() as conn:
            done = conn.execute(query.encode(), values or None)
            return done.fetchall() if done.description else []

    def everything(self) -> str:
        """What stands in all tables that a command could change, as one word."""
        tables = ['public."OrganizationPhone"', "public.baileys_auth", *(f"wa_sessions.{name}" for name in OWN_TABLES)]
        rows = [self.sql(f"SELECT to_jsonb(t)::text AS row FROM {table} AS t ORDER BY 1") for table in tables]
        return hashlib.sha256(repr(rows).encode()).hexdigest()
