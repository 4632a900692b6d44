"""A Node backend's database with real Baileys keys, and commands run on it within this process."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from wa_sessions import cli
from wa_sessions.db.gateway import Database


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        data: dict[str, Any] = json.loads(self.out)
        return data


class Fleet:
    """A database of phones and the commands that operators give."""

    def __init__(self, database: Database, url: str, capture: pytest.CaptureFixture[str]) -> None:
        self.database = database
        self.url = url
        self._capture = capture

    def __call__(self, *arguments: str) -> Answer:
        self._capture.readouterr()
        code = cli.execute([*arguments, "--database-url", self.url])
        shown = self._capture.readouterr()
        return Answer(code, shown.out, shown.err)

    def json(self, *arguments: str) -> dict[str, Any]:
        return self(*arguments, "--json").json

    def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self.database.transaction() as conn:
            done = conn.execute(query.encode(), values or None)
            return done.fetchall() if done.description else []

    def keys(self) -> list[str]:
        """All auth keys, whole, in order, whatever the table's shape is."""
        table = self.auth
        return [
            row["row"] for row in self.sql(f'SELECT to_jsonb(t)::text AS row FROM public."{table}" AS t ORDER BY 1')
        ]

    @property
    def auth(self) -> str:
        """The auth table's name."""
        rows = self.sql(
            "SELECT relname FROM pg_class WHERE relname IN ('BaileysAuth', 'baileys_auth') AND relkind = 'r'"
        )
        return str(rows[0]["relname"])

    def phones(self) -> list[dict[str, Any]]:
        """All phones, but for when they were written last."""
        return self.sql(
            """SELECT to_jsonb(p) - 'updatedAt' AS row FROM public."OrganizationPhone" AS p ORDER BY p.id"""
        )

    def everything(self) -> tuple[object, ...]:
        """All that a command could change."""
        own = ("operation", "operation_phone", "quarantine", "event", "health", "lease")
        counts = [self.sql(f"SELECT count(*) AS n FROM wa_sessions.{table}") for table in own]
        return self.keys(), self.phones(), counts

    def quarantined(self, operation: str) -> int:
        return int(
            self.sql("SELECT count(*) AS n FROM wa_sessions.quarantine WHERE operation_id = %s", operation)[0]["n"]
        )
