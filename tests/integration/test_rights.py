"""What a role may not do is named before anything is touched, and what it was granted meanwhile counts."""

import secrets
from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from wa_sessions.actions.connection import Opened
from wa_sessions.db import rights
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target
from wa_sessions.errors import PermissionMissing, SchemaMissing

OURS = (
    "GRANT USAGE ON SCHEMA wa_sessions TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA wa_sessions TO {role}",
)
KEYS, PHONES = 'GRANT SELECT, DELETE ON "baileys_auth" TO {role}', 'GRANT UPDATE ON "OrganizationPhone" TO {role}'
STORE = (
    "GRANT USAGE ON SCHEMA whatsmeow TO {role}",
    "GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA whatsmeow TO {role}",
)


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    name = f"role_{secrets.token_hex(4)}"
    grant(database, name, "CREATE ROLE {role} LOGIN")
    yield name
    grant(database, name, "DROP OWNED BY {role}", "DROP ROLE {role}")


@pytest.fixture
def opened(database: Database, role: str) -> Iterator[Opened]:
    """The database as that role has it."""
    target = Target(make_conninfo(database.target.conninfo, user=role), None, "test")
    with Database.open(target) as of_role:
        yield Opened(of_role)


def grant(database: Database, role: str, *statements: str) -> None:
    with database.transaction() as conn:
        for statement in ("SET LOCAL search_path = public", *statements):
            conn.execute(SQL(statement).format(role=Identifier(role)))


def require(opened: Opened) -> None:
    backend = opened.backend
    with opened.database.transaction() as conn:
        rights.require(conn, backend, {"baileys", "neonize"}, keys=("SELECT", "DELETE"), phones=("UPDATE",))


@pytest.mark.parametrize(
    ("granted", "said"),
    [
        (
            (),
            (
                'SELECT "baileys_auth", nor DELETE from "baileys_auth", nor UPDATE "OrganizationPhone", nor USAGE of '
                "schema whatsmeow, nor use the schema wa_sessions: GRANT USAGE on it, and on its tables SELECT, "
                "INSERT, UPDATE, DELETE"
            ),
        ),
        ((*OURS, KEYS, *STORE), 'UPDATE "OrganizationPhone"'),
        ((*OURS, PHONES, KEYS), "USAGE of schema whatsmeow"),
        (
            (*OURS, PHONES, KEYS, *STORE, "REVOKE DELETE ON whatsmeow.whatsmeow_sessions FROM {role}"),
            "DELETE from the tables of whatsmeow",
        ),
        *(
            (
                (*OURS, PHONES, KEYS, *STORE, f"REVOKE {right} ON wa_sessions.{table} FROM {{role}}"),
                "write the tables of wa_sessions: GRANT SELECT, INSERT, UPDATE, DELETE on them",
            )
            for right, table in (("INSERT", "quarantine"), ("DELETE", "health"), ("DELETE", "message"))
        ),
    ],
)
def test_every_right_that_is_missing_is_named(
    database: Database, role: str, opened: Opened, granted: tuple[str, ...], said: str
) -> None:
    grant(database, role, *granted)
    with pytest.raises(PermissionMissing) as refused:
        require(opened)
    assert str(refused.value) == f"nothing was changed: the database role {role} may not {said}"


def test_what_was_granted_since_the_database_was_opened_counts(database: Database, role: str, opened: Opened) -> None:
    with pytest.raises(PermissionMissing):
        require(opened)
    grant(database, role, *OURS, KEYS, PHONES, *STORE)
    require(opened)


@pytest.mark.parametrize("may_create", [True, False])
def test_a_schema_that_is_missing_is_made_by_who_may(
    database: Database, role: str, opened: Opened, *, may_create: bool
) -> None:
    grant(database, role, KEYS, PHONES, *STORE, "DROP SCHEMA wa_sessions CASCADE")
    if may_create:
        with database.transaction() as conn:
            name = Identifier(str(conn.info.dbname))
            conn.execute(SQL("GRANT CREATE ON DATABASE {} TO {}").format(name, Identifier(role)))
        with pytest.raises(SchemaMissing, match="has no schema wa_sessions yet: run wa-sessions db upgrade"):
            require(opened)
    else:
        with pytest.raises(PermissionMissing, match="makes it, by a role that may CREATE in this database"):
            require(opened)
