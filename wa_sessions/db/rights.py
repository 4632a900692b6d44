"""Whether the database role may do what a command is about to do, asked before anything is touched."""

from collections.abc import Collection, Iterable

from wa_sessions.db import migrate, whatsmeow
from wa_sessions.db.backend import PHONES, Backend
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import PermissionMissing

_SQL = queries("rights")
_OWN = {
    "operation": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "operation_phone": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "quarantine": ("SELECT", "INSERT"),
    "event": ("SELECT", "INSERT"),
    "lease": ("SELECT", "INSERT", "UPDATE"),
    "health": ("SELECT", "INSERT", "UPDATE"),
}

Right = tuple[str, str]


def require(
    conn: Connection,
    backend: Backend,
    stores: Collection[str],
    *,
    keys: Iterable[str] = (),
    phones: Iterable[str] = (),
) -> None:
    """Raise PermissionMissing, naming every right that is missing, or SchemaMissing.

    ``stores`` are those that are touched (``baileys``, ``neonize``), ``keys`` the rights on their tables (``DELETE``,
    ``INSERT``), ``phones`` those on the table of phones.
    """
    lacking = _missing(conn, list(_backend_rights(backend, stores, list(keys), phones)))
    if "neonize" in stores:
        lacking += _store_rights(conn, list(keys))
    titles = {backend.phones.as_string(): f'"{PHONES}"'}
    if backend.auth:
        titles[backend.auth.identifier.as_string()] = f'"{backend.auth.name}"'
    missing = [_said(titles.get(table, table), privilege) for table, privilege in lacking]
    usage = conn.execute(_SQL.schema_usage, {"schema": "wa_sessions"}).fetchone()
    schema = usage is not None and (not usage["usable"] or migrate.status(conn).current > 0)
    if schema:
        missing += _own_rights(conn, usable=bool(usage and usage["usable"]))
    role = conn.execute(_SQL.role).fetchone() or {"name": "?", "may_create": False}
    if not schema and (missing or not role["may_create"]):
        owner = "" if role["may_create"] else ", by a role that may CREATE in this database"
        missing.append(f"use the schema wa_sessions, which is missing: wa-sessions db upgrade makes it{owner}")
    if missing:
        raise PermissionMissing(
            f"nothing was changed: the database role {role['name']} may not {', nor '.join(missing)}"
        )
    migrate.require_current(conn)


def _backend_rights(
    backend: Backend, stores: Collection[str], keys: list[str], phones: Iterable[str]
) -> Iterable[Right]:
    if "baileys" in stores and backend.auth:
        yield from ((backend.auth.identifier.as_string(), privilege) for privilege in keys)
    yield from ((backend.phones.as_string(), privilege) for privilege in phones)


def _store_rights(conn: Connection, keys: list[str]) -> list[Right]:
    usage = conn.execute(_SQL.schema_usage, {"schema": whatsmeow.SCHEMA}).fetchone()
    if usage is None:
        return []
    if not usage["usable"]:
        return [(f"schema {whatsmeow.SCHEMA}", "USAGE")]
    tables = [f"{whatsmeow.SCHEMA}.{table.name}" for table in whatsmeow.existing_tables(conn)]
    lacking = _missing(conn, [(table, privilege) for table in tables for privilege in keys])
    return [(f"the tables of {whatsmeow.SCHEMA}", privilege) for privilege in dict.fromkeys(p for _, p in lacking)]


def _own_rights(conn: Connection, *, usable: bool) -> list[str]:
    if not usable:
        return ["use the schema wa_sessions: GRANT USAGE on it, and on its tables SELECT, INSERT, UPDATE, DELETE"]
    wanted = [(f"wa_sessions.{table}", privilege) for table, rights in _OWN.items() for privilege in rights]
    lacking = _missing(conn, wanted)
    return ["write the tables of wa_sessions: GRANT SELECT, INSERT, UPDATE, DELETE on them"] if lacking else []


def _missing(conn: Connection, wanted: list[Right]) -> list[Right]:
    if not wanted:
        return []
    tables, privileges = zip(*wanted, strict=True)
    rows = conn.execute(_SQL.missing, {"tables": list(tables), "privileges": list(privileges)})
    return [(row["table"], row["privilege"]) for row in rows]


def _said(table: str, privilege: str) -> str:
    preposition = {"DELETE": " from", "INSERT": " into", "USAGE": " of"}.get(privilege, "")
    return f"{privilege}{preposition} {table}"
