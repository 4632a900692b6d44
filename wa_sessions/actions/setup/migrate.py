"""The schema that wa-sessions keeps for itself: how far it is, and bringing it up to date."""

from dataclasses import dataclass

from wa_sessions.actions.connection import Opened
from wa_sessions.db import migrate


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """A database and its schema ``wa_sessions`` (``current`` 0: absent). ``database`` has its password masked."""

    database: str
    source: str
    embedded: bool
    backend_tables: tuple[str, ...]
    current: int
    latest: int
    pending: tuple[str, ...]


def status(opened: Opened) -> SchemaStatus:
    """How far the schema is; nothing is changed."""
    with opened.database.transaction() as conn:
        found = migrate.status(conn)
    target, backend = opened.database.target, opened.backend
    tables = ([backend.auth.name] if backend.auth else []) + (["OrganizationPhone"] if backend.has_phones else [])
    return SchemaStatus(
        target.masked, target.source, target.embedded, tuple(tables), found.current, found.latest, found.pending
    )


def upgrade(opened: Opened) -> list[str]:
    """Apply what is pending; returns the names. Raises PermissionMissing."""
    with opened.database.transaction() as conn:
        return migrate.upgrade(conn)
