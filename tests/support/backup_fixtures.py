"""Backups in tests: what a database holds, and the command as it is called."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier
from support.store import everything

from wa_sessions import cli
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.move.encryption import identities, make_key
from wa_sessions.db import backend
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.keys.whatsmeow_tables import TABLES


@dataclass(frozen=True)
class Key:
    """An age key in a file."""

    file: Path
    recipient: str

    @property
    def identities(self) -> list[Any]:
        return identities(self.file)


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        return dict(json.loads(self.out))


def new_key(folder: Path, name: str = "key.txt") -> Key:
    return Key(folder / name, make_key(folder / name))


def opened(database: Database) -> Opened:
    """As an action gets it, the backend's tables as they are now."""
    with database.transaction() as conn:
        return Opened(database, backend.detect(conn))


def caller(database_url: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    """Runs ``wa-sessions`` in this process."""

    def call(command: str, *words: object) -> Called:
        code = cli.execute([command, "--database-url", database_url, *map(str, words)])
        shown = capsys.readouterr()
        return Called(code, shown.out, shown.err)

    return call


def auth_keys(conn: Connection) -> list[tuple[Any, ...]]:
    """Every auth key of the backend."""
    found = backend.detect(conn).auth
    assert found
    rows = conn.execute(SQL('SELECT * FROM {} ORDER BY "organizationId", "phoneJid", "key"').format(found.identifier))
    return [tuple(row.values()) for row in rows]


def phone_rows(conn: Connection) -> list[tuple[Any, ...]]:
    """Every phone, without the moment of its last change."""
    rows = conn.execute('SELECT * FROM public."OrganizationPhone" ORDER BY id').fetchall()
    return [tuple(value for name, value in row.items() if name != "updatedAt") for row in rows]


def all_keys(database: Database) -> tuple[Any, ...]:
    """Both key stores and the phones, byte for byte."""
    with database.transaction() as conn:
        return auth_keys(conn), everything(conn), phone_rows(conn)


def lose_keys(database: Database, number: str | None = None) -> None:
    """What no operator should do: keys are deleted for good."""
    with database.transaction() as conn:
        found = backend.detect(conn).auth
        assert found
        statement = SQL('DELETE FROM {} WHERE %(number)s::text IS NULL OR "phoneJid" = %(number)s')
        conn.execute(statement.format(found.identifier), {"number": number})
        for table in TABLES:
            owner, name = Identifier(table.owner), Identifier("whatsmeow", table.name)
            statement = SQL(
                "DELETE FROM {} WHERE %(number)s::text IS NULL"
                " OR split_part(split_part({}, '@', 1), ':', 1) = %(number)s"
            )
            conn.execute(statement.format(name, owner), {"number": number})
