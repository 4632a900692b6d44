"""Whether the database role may do what a command is about to do, asked before anything is touched."""

from collections.abc import Collection, Iterable, Iterator

from wa_sessions.db import backend as tables
from wa_sessions.db import migrate
from wa_sessions.db.backend import PHONES, Backend, Rights
from wa_sessions.db.gateway import Connection
from wa_sessions.db.sql import queries
from wa_sessions.errors import PermissionMissing
from wa_sessions.keys.whatsmeow_tables import TABLES

OURS, STORE = "wa_sessions", "whatsmeow"
_SQL = queries("rights")
_OWN = {
    "operation": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "operation_phone": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "quarantine": ("SELECT", "INSERT"),
    "event": ("SELECT", "INSERT"),
    "lease": ("SELECT", "INSERT", "UPDATE"),
    "health": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "message": ("SELECT", "DELETE"),
}


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
    ``INSERT``), ``phones`` those on the table of phones. What was missing when the backend was looked for is looked for
    again: it may have been granted, or made, since.
    """
    on_keys, on_phones = tuple(keys), tuple(phones)
    missing = _missing(backend, stores, on_keys, on_phones)
    there = _is_there(backend)
    if missing or not there:
        backend = tables.detect(conn)
        missing, there = _missing(backend, stores, on_keys, on_phones), _is_there(backend)
    if missing or not there:
        _refuse(conn, missing, there=there)
    migrate.require_current(conn, present=there)


def _refuse(conn: Connection, missing: list[str], *, there: bool) -> None:
    """Raise PermissionMissing, unless the schema alone is missing and this role could make it."""
    role = conn.execute(_SQL.role).fetchone() or {"name": "?", "may_create": False}
    if not there and (missing or not role["may_create"]):
        owner = "" if role["may_create"] else ", by a role that may CREATE in this database"
        missing.append(f"use the schema wa_sessions, which is missing: wa-sessions db upgrade makes it{owner}")
    if missing:
        raise PermissionMissing(
            f"nothing was changed: the database role {role['name']} may not {', nor '.join(missing)}"
        )


def _is_there(backend: Backend) -> bool:
    """Whether our schema is made."""
    return OURS in backend.rights.unusable or (OURS, "migration") in backend.rights.of_tables


def _missing(backend: Backend, stores: Collection[str], keys: tuple[str, ...], phones: tuple[str, ...]) -> list[str]:
    return [
        *_backend_rights(backend, stores, keys, phones),
        *(_store_rights(backend, keys) if "neonize" in stores else ()),
        *_own_rights(backend),
    ]


def _backend_rights(
    backend: Backend, stores: Collection[str], keys: tuple[str, ...], phones: tuple[str, ...]
) -> Iterator[str]:
    rights, auth = backend.rights, backend.auth
    if "baileys" in stores and auth:
        yield from (_said(f'"{auth.name}"', right) for right in _lacking(rights, auth.schema, auth.name, keys))
    yield from (_said(f'"{PHONES}"', right) for right in _lacking(rights, backend.phone_schema, PHONES, phones))


def _store_rights(backend: Backend, keys: tuple[str, ...]) -> list[str]:
    rights = backend.rights
    if STORE in rights.unusable:
        return [_said(f"schema {STORE}", "USAGE")]
    lacking = {right for table in TABLES for right in _lacking(rights, STORE, table.name, keys)}
    return [_said(f"the tables of {STORE}", right) for right in keys if right in lacking]


def _own_rights(backend: Backend) -> list[str]:
    if OURS in backend.rights.unusable:
        return ["use the schema wa_sessions: GRANT USAGE on it, and on its tables SELECT, INSERT, UPDATE, DELETE"]
    if any(_lacking(backend.rights, OURS, table, rights) for table, rights in _OWN.items()):
        return ["write the tables of wa_sessions: GRANT SELECT, INSERT, UPDATE, DELETE on them"]
    return []


def _lacking(rights: Rights, schema: str, table: str, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted rights that are missing; none for a table that is not there."""
    present = rights.of_tables.get((schema, table))
    return [] if present is None else [right for right in wanted if right not in present]


def _said(table: str, privilege: str) -> str:
    preposition = {"DELETE": " from", "INSERT": " into", "USAGE": " of"}.get(privilege, "")
    return f"{privilege}{preposition} {table}"
